"""Calls a tool that is a plain function, in a thread, so that it does not block the event loop.

A thread cannot be stopped. After a timeout it continues, and its result is discarded. It never
keeps the process from its exit.
"""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import NoReturn

from twelvefold.observe.log import get_logger

log = get_logger(__name__)


class NotStarted(Exception):
    """The function was not called."""


class _Start:
    """Whether the function is called: decided once, in the thread or by a cancellation."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._decision: bool | None = None

    def decide(self, may_start: Callable[[], bool]) -> bool:
        """Return the decision, which the first caller makes."""
        with self._lock:
            if self._decision is None:
                self._decision = may_start()
            return self._decision


async def call_in_thread(
    tool: str, function: Callable[[], object], may_start: Callable[[], bool]
) -> object:
    """Call the function in a new thread; return its result or raise its exception.

    `may_start` is called in the thread, right before the function: False raises NotStarted. So does
    a cancellation before the function is called, which then is not called any more.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Callable[[], object]] = loop.create_future()
    start = _Start()

    def deliver(outcome: Callable[[], object]) -> None:
        if not done.done():
            done.set_result(outcome)
        elif outcome is not _raise_not_started:
            log.warning("late_result_discarded", tool=tool)

    def work() -> None:
        outcome = _call(tool, function) if start.decide(may_start) else _raise_not_started
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(deliver, outcome)

    # A daemon: a hanging function must not keep the process from its exit, as a pool would.
    run = contextvars.copy_context().run
    Thread(target=run, args=(work,), name=f"tool {tool}", daemon=True).start()
    try:
        outcome = await done
    except asyncio.CancelledError:
        if start.decide(_never):
            raise
        raise NotStarted from None
    return outcome()


def _never() -> bool:
    return False


def _call(tool: str, function: Callable[[], object]) -> Callable[[], object]:
    """Call the function; return a function that returns its result or raises its exception."""

    def fail() -> NoReturn:
        raise raised

    try:
        result = function()
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"{tool} is no async function, but has returned a coroutine")
    except BaseException as error:
        raised = error
        return fail
    return lambda: result


def _raise_not_started() -> NoReturn:
    raise NotStarted
