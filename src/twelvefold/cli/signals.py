"""What a signal ends: a process that serves, by the first or the second, or a run, by Ctrl-C."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
ENDING = (signal.SIGTERM, signal.SIGINT)
SOON_S = 0.3
STOPPING = "stopping, once the step in hand is over"


KILL_S = 8.0
"""How long after GRACE_S a process that was told to stop ends like a crash, whatever holds it up: a
tool that blocks the event loop, say. In good order it ends well before."""


def end_by_force(grace_s: float) -> None:
    """End the process some time from now. By the system: a tool may hold up the event loop."""
    signal.setitimer(signal.ITIMER_REAL, grace_s + KILL_S)


@contextmanager
def signals_to(stop: asyncio.Event, grace_s: float) -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT set the event; a second one ends the process at once, which is safe.

    So does the end of `grace_s` and a moment more, if the process is still there.
    What is yielded is to be called once there is anything to end in good order. Before that the
    first signal breaks off the body: it may wait for a service that is away.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    starting = [True]

    def first(number: signal.Signals) -> None:
        log.info("signal", signal=number.name)
        for one in ENDING:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)
        end_by_force(grace_s)
        stop.set()
        if starting and task is not None:
            task.cancel()

    for number in ENDING:
        loop.add_signal_handler(number, first, number)
    try:
        yield starting.clear
    except asyncio.CancelledError:
        if not (starting and stop.is_set()):
            raise
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def interruptible(heard: Callable[[], None]) -> AsyncIterator[list[bool]]:
    """Within this, Ctrl-C cancels the current task; the list is not empty once it did.

    `heard` is called if the task is not over soon then.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    timers: list[asyncio.TimerHandle] = []
    interrupted: list[bool] = []

    def interrupt() -> None:
        interrupted.append(True)
        timers.append(loop.call_later(SOON_S, heard))
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
