"""The end of a process that serves: the first signal asks for it, the second is it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def signals_to(stop: asyncio.Event) -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT set the event; a second one ends the process at once, which is safe.

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
