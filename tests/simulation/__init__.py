"""Deterministic simulation: real engine and workers, simulated time, servers and faults."""
