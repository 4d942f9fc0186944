"""The clock of an event loop, which a test moves instead of waiting."""

import asyncio
from collections.abc import Callable


class LoopClock:
    """Moves the time of the running event loop, with which its timers and timeouts end.

    Services that read another clock are not moved.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        read = loop.time
        self._moved_s = 0.0
        loop.time = lambda: read() + self._moved_s  # type: ignore[method-assign]

    def let_pass(self, time_s: float) -> None:
        """Let so many seconds pass: timers that are due then end in the next turn of the loop."""
        self._moved_s += time_s


async def pass_time_until(is_true: Callable[[], bool], step_s: float = 1.0) -> None:
    """Let time pass in steps until the condition holds."""
    clock = LoopClock()
    while not is_true():
        clock.let_pass(step_s)
        await asyncio.sleep(0)
