"""The transactions of tools that are plain functions.

The thread of the tool waits while the event loop runs its statement, on the connection of the step.
A thread cannot be stopped, so it may go on after its call is over. No statement of it reaches the
database then: neither this transaction nor a later one.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from twelvefold.core import Row, StepTransaction, ToolReadOnly
from twelvefold.errors import StoreRefused

if TYPE_CHECKING:
    from sqlalchemy import Executable
    from sqlalchemy.orm import Session

Result = TypeVar("Result")
CALL_OVER = "the call of the tool is over: its transaction takes no further statement"
ON_THE_LOOP = "a SyncTransaction would block the event loop: use it in the thread of its tool only"


class _StatementRunner:
    """Runs statements on the event loop for other threads, for the length of one call.

    Used as a context manager around the call. At its end a running statement is awaited, or
    cancelled if the call was cancelled.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._is_over = False
        self._waiting: set[Future[Any]] = set()
        self._running: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._is_over = True
        if kind is not None and not issubclass(kind, Exception):
            self._abandon()
        try:
            # A coroutine that is closed, because its event loop has gone, cannot wait.
            if self._running and kind is not GeneratorExit:
                await asyncio.wait(self._running)
        finally:
            self._abandon()

    def wait_for(self, begin: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run the coroutine on the event loop and return its result, or raise its error.

        Called in a thread. Raises StoreRefused after the call of the tool.
        """
        if threading.get_ident() == self._loop_thread:
            raise StoreRefused(ON_THE_LOOP).loggable()
        answer: Future[Result] = Future()
        with self._lock:
            # Under the lock: `__aexit__` sees each statement that is added here, and no thread
            # waits for one that will never begin.
            if self._is_over:
                raise StoreRefused(CALL_OVER).loggable()
            self._waiting.add(answer)
            self._loop.call_soon_threadsafe(self._begin, begin, answer)
        return answer.result()

    def _begin(
        self, begin: Callable[[], Coroutine[Any, Any, Result]], answer: Future[Result]
    ) -> None:
        if self._is_over:
            return
        task = self._loop.create_task(begin())
        self._running.add(task)
        task.add_done_callback(partial(self._deliver, answer))

    def _deliver(self, answer: Future[Result], task: asyncio.Task[Result]) -> None:
        self._running.discard(task)
        self._waiting.discard(answer)
        error = StoreRefused(CALL_OVER) if task.cancelled() else task.exception()
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(task.result())

    def _abandon(self) -> None:
        """Cancel what runs, and let no thread wait for it."""
        for task in self._running:
            task.cancel()
        while self._waiting:
            self._waiting.pop().set_exception(StoreRefused(CALL_OVER).loggable())


class SyncReader(_StatementRunner):
    """Implements `twelvefold.core.ports.SyncReadOnly` over the transaction of a tool that reads."""

    def __init__(self, db: ToolReadOnly) -> None:
        super().__init__()
        self._db = db

    def fetch_one(self, statement: "str | Executable", /, **values: Any) -> Row | None:
        return self.wait_for(partial(self._db.fetch_one, statement, **values))

    def fetch_all(self, statement: "str | Executable", /, **values: Any) -> list[Row]:
        return self.wait_for(partial(self._db.fetch_all, statement, **values))


class SyncWriter(SyncReader):
    """Implements `twelvefold.core.ports.SyncTransaction` over the transaction of a step."""

    def __init__(self, tx: StepTransaction) -> None:
        super().__init__(tx)
        self._tx = tx

    def execute(self, statement: "str | Executable", /, **values: Any) -> int:
        return self.wait_for(partial(self._tx.execute, statement, **values))

    def send_mail(self, to: str, subject: str, text: str, *, html: str = "") -> None:
        self.wait_for(partial(self._tx.send_mail, to, subject, text, html=html))

    def signal(self, workflow: str, principal: str, key: str, payload: Any = None) -> bool:
        return self.wait_for(partial(self._tx.signal, workflow, principal, key, payload))

    def orm_session(self) -> "Session":
        return self.wait_for(self._tx.blocking_session)

    def call(self, function: Callable[[], object]) -> object:
        """Call the tool's function in this thread."""
        return self._tx.call_blocking(function, self.wait_for)
