"""Measures how late the event loop runs its timers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

INTERVAL_S = 0.5


@asynccontextmanager
async def measured_lag(
    report: Callable[[float], None], interval_s: float = INTERVAL_S
) -> AsyncIterator[None]:
    """Report the lag of the event loop every `interval_s` while the body runs."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def measure(due: float) -> None:
        nonlocal timer
        now = loop.time()
        report(max(0.0, now - due))
        timer = loop.call_at(now + interval_s, measure, now + interval_s)

    due = loop.time() + interval_s
    timer = loop.call_at(due, measure, due)
    try:
        yield
    finally:
        timer.cancel()
