"""How fast this machine is now, so that a busy machine is not taken for a fault.

A check waits for processes to start and for answers. Its limits are for a quiet machine and are
multiplied by the pace, which is measured when the checks begin.
"""

import time

PROBE_S = 0.05
"""CPU seconds that a measurement takes."""
SLOWEST = 8.0
BUSY = 2.0
"""From this pace on a check that runs out of time has shown nothing."""
_pace = 1.0


def measure_pace() -> float:
    """How many seconds this process waits for one second of CPU; 1 on a quiet machine."""
    began, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < PROBE_S:
        pass
    return min(max((time.perf_counter() - began) / PROBE_S, 1.0), SLOWEST)


def set_pace(pace: float) -> None:
    """Multiply all limits of this process's checks from now on."""
    global _pace
    _pace = pace


def scaled(seconds: float) -> float:
    """A limit for this machine."""
    return seconds * _pace


def is_busy() -> bool:
    """Whether the machine has, or had at the beginning, no time for the checks."""
    return max(_pace, measure_pace()) >= BUSY
