"""The calls of an app that are in progress: closing the app ends them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from twelvefold.errors import AppClosed

T = TypeVar("T")
CLOSED = "the app was closed during the call; a run that it drove is given back"


class Operations:
    """Runs each call in a task of its own, so that `close` can cancel it and await its end.

    Cancelling the caller cancels the call.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`. Raises AppClosed if the app is closed meanwhile."""
        return await self.join(self.start(work))

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task that `join` awaits. Raises AppClosed."""
        if self._is_closed or asyncio.get_running_loop() is not self._loop:
            work.close()
            raise AppClosed("the app is closed, or was opened in another event loop")
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def join(self, task: "asyncio.Task[T]") -> T:
        """Return the result of a task of `start`; cancelling the caller cancels it."""
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._is_closed and caller is not None and not caller.cancelling():
                raise AppClosed(CLOSED) from None
            raise

    async def end(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a task of `start` and await its end; its result is not needed any more."""
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # or asyncio would log that no one has read it

    async def close(self) -> None:
        """Cancel all calls and await them: runs that they drive are given back."""
        self._is_closed = True
        # A task that is cancelled before its first line would not close what it was given.
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait([*self._tasks])
