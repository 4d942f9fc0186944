"""Moves the time of the test's event loop, so that no test waits for a time limit to pass."""

import asyncio
from collections.abc import Callable


class _MovedTime:
    """A clock that is some seconds ahead of another one."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return self._time() + self.ahead_s


def move_loop_time(seconds: float) -> None:
    """Let so many seconds pass at once for the timers of the running event loop."""
    loop = asyncio.get_running_loop()
    moved = loop.time if isinstance(loop.time, _MovedTime) else _MovedTime(loop.time)
    moved.ahead_s += seconds
    loop.time = moved  # type: ignore[method-assign]


async def pass_time_until(is_true: Callable[[], bool], step_s: float = 1.0) -> None:
    """Let time pass in steps until the condition holds."""
    while not is_true():
        move_loop_time(step_s)
        await asyncio.sleep(0)
