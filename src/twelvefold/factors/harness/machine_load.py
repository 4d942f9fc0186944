"""Measures how busy the machine is, so that a slow machine is not reported as a fault.

Time limits of the checks hold for a quiet machine. They are multiplied by the slowdown that was
measured before the checks started.
"""

import time
from collections.abc import Callable

PROBE_CPU_S = 0.05
MAX_SLOWDOWN = 8.0
BUSY_SLOWDOWN = 2.0
"""From this slowdown on, a check that runs out of time is inconclusive."""


def measure_slowdown() -> float:
    """Return the elapsed time per CPU time of this process: 1 on a quiet machine."""
    started, cpu_started = time.perf_counter(), time.process_time()
    while time.process_time() - cpu_started < PROBE_CPU_S:
        pass
    elapsed_s = time.perf_counter() - started
    return min(max(elapsed_s / PROBE_CPU_S, 1.0), MAX_SLOWDOWN)


class MachineLoad:
    """The slowdown at the start of the checks and now."""

    def __init__(self, measure: Callable[[], float] = measure_slowdown) -> None:
        self._measure = measure
        self._initial = measure()

    def scaled(self, limit_s: float) -> float:
        """Return the time limit for this machine."""
        return limit_s * self._initial

    def is_busy(self) -> bool:
        return max(self._initial, self._measure()) >= BUSY_SLOWDOWN
