"""An event loop in a thread of its own, with services that stay open between calls."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from twelvefold.engine import Services

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines for callers in other threads, one event loop for all of them.

    `open_services` is entered in the loop when the thread starts, and left when it is closed.
    """

    def __init__(self, open_services: Callable[[], AbstractAsyncContextManager[Services]]) -> None:
        self._open_services = open_services
        self._services: Future[Services] = Future()
        self._stop: asyncio.Event | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="twelvefold", daemon=True)
        self._thread.start()

    @property
    def is_of_this_process(self) -> bool:
        """Whether the thread exists in this process; a forked process has no copy of it."""
        return self._pid == os.getpid()

    def call(self, work: Callable[[Services], Awaitable[Result]]) -> Result:
        """Run `work` with the services and return its result, or raise its error."""
        services = self._services.result()
        return asyncio.run_coroutine_threadsafe(_await(work, services), self._loop).result()

    def close(self) -> None:
        """Close the services, and end the thread."""
        if self._stop is not None and self.is_of_this_process:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._services.done():
                raise
            self._services.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self._open_services() as services:
            self._services.set_result(services)
            await self._stop.wait()


async def _await(work: Callable[[Services], Awaitable[Result]], services: Services) -> Result:
    return await work(services)
