"""An async context manager that one task enters and leaves, for callers in any task.

A task group or a cancel scope must be left by the task that entered it. The cells of a notebook,
the requests of a server and the start and end of a server are different tasks.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from twelvefold.errors import AppClosed

T = TypeVar("T")
CLOSED_EARLY = "the app was closed before it was open"


class TaskContext(Generic[T]):
    """Holds a context open in a task of its own until `close`."""

    def __init__(self, context: AbstractAsyncContextManager[T], name: str) -> None:
        loop = asyncio.get_running_loop()
        self._context = context
        self._stop = asyncio.Event()
        self._opened: asyncio.Future[T] = loop.create_future()
        self._task = loop.create_task(self._hold(), name=name)

    async def value(self) -> T:
        """Return what the context yields, once it is open.

        Raises the error of opening it, and AppClosed if it was closed before.
        """
        waits: list[asyncio.Future[Any]] = [self._task, self._opened]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if self._opened.done():
            return self._opened.result()
        if not self._task.cancelled():
            self._task.result()
        raise AppClosed(CLOSED_EARLY)

    async def close(self) -> None:
        """Leave the context, also if it is not open yet. Raises the error of leaving it."""
        self._stop.set()
        if not self._opened.done():
            self._task.cancel()
        await asyncio.wait([self._task])
        if self._opened.done() and not self._task.cancelled():
            self._task.result()

    async def _hold(self) -> None:
        async with self._context as value:
            self._opened.set_result(value)
            await self._stop.wait()
