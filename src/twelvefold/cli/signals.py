"""The end of a process that serves: the first signal asks for it, the second is it."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def signals_to(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set the event; a second one ends the process at once, which is safe."""
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        log.info("signal", signal=number.name)
        for one in ENDING:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)
        stop.set()

    for number in ENDING:
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)
