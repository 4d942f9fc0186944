"""An event loop in a thread of its own, with something that stays open between calls."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar, cast

Result = TypeVar("Result")
Opened = TypeVar("Opened")


class LoopThread(Generic[Opened]):
    """Runs coroutines for callers in other threads, one event loop for all of them.

    The context of `open_context` is entered in the loop when the thread starts, and left when it is
    closed; each call gets what it yields.
    """

    def __init__(self, open_context: Callable[[], AbstractAsyncContextManager[Opened]]) -> None:
        self._open_context = open_context
        self._opened: Future[Opened] = Future()
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

        They cannot in a forked process, which has no copy of the thread, when the context could
        not be entered, or after `close`.
        """
        has_failed = self._opened.done() and self._opened.exception() is not None
        is_running = self._is_of_this_process and self._thread.is_alive()
        return is_running and not has_failed and not self._is_closing

    @property
    def _is_of_this_process(self) -> bool:
        return self._pid == os.getpid()

    def call(self, work: Callable[[Opened], Awaitable[Result]]) -> Result:
        """Run `work` with what the context yields; return its result, or raise its error.

        An exception that interrupts the caller, such as KeyboardInterrupt, cancels the work. Raises
        `concurrent.futures.CancelledError` if the thread is closed before the end of it, and the
        error of entering the context if that failed, and RuntimeError if a coroutine of this loop
        calls it: the loop would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("the caller is in the event loop that would have to do the work")
        opened = self._opened.result()
        with self._lock:
            if self._is_closing:
                raise CancelledError
            call = asyncio.run_coroutine_threadsafe(self._await(work, opened), self._loop)
        try:
            return call.result()
        finally:
            call.cancel()  # it does nothing after the end

    def close(self) -> None:
        """Cancel the calls in progress, leave the context, and end the thread."""
        if not self._is_of_this_process:
            return
        with self._lock:
            self._is_closing = True
            with suppress(RuntimeError):  # the loop is closed if the context could not be entered
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    async def _serve(self) -> None:
        async with self._open_context() as opened:
            self._opened.set_result(opened)
            await self._stop.wait()
            await self._cancel_calls()

    async def _cancel_calls(self) -> None:
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def _await(self, work: Callable[[Opened], Awaitable[Result]], opened: Opened) -> Result:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await work(opened)
