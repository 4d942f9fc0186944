"""Calls a tool that is a plain function, in a thread, so that it does not block the event loop.

A thread cannot be stopped. After a timeout it continues, and its result is discarded. It never
keeps the process from its exit.
"""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import NoReturn

from twelvefold.observe.log import get_logger

log = get_logger(__name__)


class NotStarted(Exception):
    """The function was not called."""


async def call_in_thread(
    tool: str, function: Callable[[], object], may_start: Callable[[], bool]
) -> object:
    """Call the function in a new thread; return its result or raise its exception.

    `may_start` is called in the thread, right before the function: False raises NotStarted.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Callable[[], object]] = loop.create_future()

    def deliver(outcome: Callable[[], object]) -> None:
        if done.done():
            log.warning("late_result_discarded", tool=tool)
        else:
            done.set_result(outcome)

    def work() -> None:
        if done.done():
            return
        outcome = _call(tool, function) if may_start() else _raise_not_started
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(deliver, outcome)

    # A daemon: a hanging function must not keep the process from its exit, as a pool would.
    run = contextvars.copy_context().run
    Thread(target=run, args=(work,), name=f"tool {tool}", daemon=True).start()
    return (await done)()


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
