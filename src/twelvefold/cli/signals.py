"""Signal handlers: SIGTERM and SIGINT stop a server process, Ctrl-C cancels a run."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOPPING_NOTICE = "stopping after the current step"
NOTICE_DELAY_S = 0.3
FORCED_EXIT_S = 8.0
"""Seconds after GRACE_S until a stopping process ends as in a crash, for example if a tool blocks
the event loop. A graceful shutdown ends well before."""


def schedule_forced_exit(grace_s: float) -> None:
    """End the process after `grace_s` and a margin, even if a tool blocks the event loop."""
    signal.setitimer(signal.ITIMER_REAL, grace_s + FORCED_EXIT_S)


@contextmanager
def stop_on_signals(stop: asyncio.Event, grace_s: float) -> Iterator[Callable[[], None]]:
    """Set the event at SIGTERM or SIGINT. A second signal ends the process at once, which is safe.

    The process also ends `grace_s` and a margin after the first signal. Yields a function to call
    when the process has started; before that, the first signal cancels the body, which may be
    waiting for an unavailable service.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    starting = [True]

    def on_first_signal(number: signal.Signals) -> None:
        log.info("signal", signal=number.name)
        for one in STOP_SIGNALS:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)
        schedule_forced_exit(grace_s)
        stop.set()
        if starting and task is not None:
            task.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_first_signal, number)
    try:
        yield starting.clear
    except asyncio.CancelledError:
        if not (starting and stop.is_set()):
            raise
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def interruptible(on_delay: Callable[[], None]) -> AsyncIterator[list[bool]]:
    """Cancel the current task at Ctrl-C. Yields a list that is not empty after Ctrl-C.

    Calls `on_delay` if the task takes longer than `NOTICE_DELAY_S` to end.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    timers: list[asyncio.TimerHandle] = []
    interrupted: list[bool] = []

    def interrupt() -> None:
        interrupted.append(True)
        timers.append(loop.call_later(NOTICE_DELAY_S, on_delay))
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        for timer in timers:
            timer.cancel()
        if interrupted and task is not None:
            task.uncancel()
