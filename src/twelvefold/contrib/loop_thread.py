"""An event loop in a thread of its own, with services that stay open between calls."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar, cast

from twelvefold.engine import Services

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines for callers in other threads, one event loop for all of them.

    `open_services` is entered in the loop when the thread starts, and left when it is closed.
    """

    def __init__(self, open_services: Callable[[], AbstractAsyncContextManager[Services]]) -> None:
        self._open_services = open_services
        self._services: Future[Services] = Future()
        self._calls: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._lock = threading.Lock()
        self._is_closing = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="twelvefold", daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """Whether calls may succeed.

        They cannot in a forked process, which has no copy of the thread, when the services could
        not be opened, or after `close`.
        """
        has_failed = self._services.done() and self._services.exception() is not None
        is_running = self._is_of_this_process and self._thread.is_alive()
        return is_running and not has_failed and not self._is_closing

    @property
    def _is_of_this_process(self) -> bool:
        return self._pid == os.getpid()

    def call(self, work: Callable[[Services], Awaitable[Result]]) -> Result:
        """Run `work` with the services and return its result, or raise its error.

        Raises `concurrent.futures.CancelledError` if the thread is closed before the end of it, and
        the error of `open_services` if that failed.
        """
        services = self._services.result()
        with self._lock:
            if self._is_closing:
                raise CancelledError
            call = asyncio.run_coroutine_threadsafe(self._await(work, services), self._loop)
        return call.result()

    def close(self) -> None:
        """Cancel the calls in progress, close the services, and end the thread."""
        if not self._is_of_this_process:
            return
        with self._lock:
            self._is_closing = True
            with suppress(RuntimeError):  # the loop is closed if the services could not be opened
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._services.done():
                raise
            self._services.set_exception(error)

    async def _serve(self) -> None:
        async with self._open_services() as services:
            self._services.set_result(services)
            await self._stop.wait()
            await self._cancel_calls()

    async def _cancel_calls(self) -> None:
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def _await(
        self, work: Callable[[Services], Awaitable[Result]], services: Services
    ) -> Result:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await work(services)
