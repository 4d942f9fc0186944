"""The thread with an event loop: opening, closing, and calls in progress."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import pytest

from twelvefold.app.loop_thread import LoopThread
from twelvefold.engine import Services
from twelvefold.errors import RequestError


class Opened:
    """Opens services, after `may_open` is set, and records what happens."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.begins = threading.Event()
        self.may_open = threading.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Services]:
        self.begins.set()
        await asyncio.to_thread(self.may_open.wait)
        self.events.append("opened")
        yield cast("Any", self)
        await asyncio.sleep(0)
        self.events.append("closed")


async def nothing(services: Services) -> str:
    return "result"


def test_an_error_while_the_services_open_is_raised_to_each_caller() -> None:
    def fails() -> AbstractAsyncContextManager[Services]:
        raise RequestError("cannot open")

    thread = LoopThread(fails)

    for _ in range(2):
        with pytest.raises(RequestError, match="cannot open"):
            thread.call(nothing)
    assert not thread.is_usable
    thread.close()


def test_closing_before_the_services_are_open_closes_them() -> None:
    opened = Opened()
    thread = LoopThread(opened.open)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(thread.close)
        opened.begins.wait()
        opened.may_open.set()
        closing.result()

    assert opened.events == ["opened", "closed"]
    assert not thread.is_usable


def test_closing_cancels_the_calls_before_the_services_close() -> None:
    opened, is_called = Opened(), threading.Event()
    opened.may_open.set()

    async def wait(services: Services) -> None:
        is_called.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            opened.events.append("call ended")

    thread = LoopThread(opened.open)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(thread.call, wait)
        is_called.wait()
        thread.close()
        with pytest.raises(CancelledError):
            call.result()

    assert opened.events == ["opened", "call ended", "closed"]


def test_a_call_after_the_close_is_cancelled() -> None:
    opened = Opened()
    opened.may_open.set()
    thread = LoopThread(opened.open)
    assert (thread.call(nothing), thread.is_usable) == ("result", True)

    thread.close()
    thread.close()

    assert [thread.is_usable] == [False]
    with pytest.raises(CancelledError):
        thread.call(nothing)
