"""Ports for servers whose port has to be known before they start; others use port 0."""

import random
import socket

FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below Linux's default `ip_local_port_range`: no connection and no port 0 gets one of these."""
ATTEMPTS = 50


def free_port() -> int:
    """Return a port of 127.0.0.1 that is not in use now. Raises OSError if it finds none."""
    for _ in range(ATTEMPTS):
        # Seeded by the system, as tests that run beside each other share a seed.
        port = random.SystemRandom().randint(FIRST_PORT, LAST_PORT)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise OSError(f"{ATTEMPTS} random ports between {FIRST_PORT} and {LAST_PORT} are in use")
