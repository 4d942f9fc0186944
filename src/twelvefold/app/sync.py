"""`SyncApp`: the methods of `App` for code that does not await: a script, a Django view."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from twelvefold.app.app import App
from twelvefold.app.loop_thread import LoopThread
from twelvefold.app.operations import CLOSED
from twelvefold.app.questions import Question
from twelvefold.app.requests import LOCAL, UNSET, Input, TurnOptions
from twelvefold.app.run import Output, Run
from twelvefold.app.stream import RunEvent
from twelvefold.config import Settings
from twelvefold.core import Model, Settlement, Workflow
from twelvefold.errors import AppClosed

T = TypeVar("T")
RUNNING_POLL_S = 0.01


class SyncApp:
    """`App` without `await`: its event loop is in a thread of its own.

    Several threads may call it. It opens with the first call of each process, so that it may be
    made at import and before a server forks; `with` closes it. After `close` its methods raise
    AppClosed. A coroutine that calls it blocks its own event loop, which only a notebook allows.

    Example:

        from examples.shopping import workflow
        from twelvefold import Settings, SyncApp

        with SyncApp([workflow], settings=Settings(database_url="sqlite:///shop.db")) as app:
            run = app.run(workflow, "Put milk on the list", principal="ann")
            print(run.status, run.text)
    """

    def __init__(
        self,
        workflows: Sequence[Workflow[Any]] = (),
        *,
        settings: Settings | None = None,
        model: Model | None = None,
        models: Mapping[str, Model] | None = None,
        resources: Mapping[type, object] | None = None,
    ) -> None:
        """Raises WorkflowError unless these are workflows of different names."""
        App(workflows)  # raises now, not with the first call
        self._make_app = lambda: App(
            workflows, settings=settings, model=model, models=models, resources=resources
        )
        self._thread: LoopThread[App] | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def open(self) -> Self:
        """Open the app now instead of with the first call. Raises as opening an `App` does."""
        self._call(_nothing)
        return self

    def close(self) -> None:
        """End the calls in progress, give their runs back, close the services, end the thread."""
        self._check_fork()
        with self._lock:
            self._is_closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- the methods of App ---------------------------------------------------------------------

    @overload
    def run(
        self, workflow: Workflow[Output], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Output]: ...
    @overload
    def run(self, workflow: str, input: Input, **options: Unpack[TurnOptions]) -> Run[Any]: ...
    def run(
        self, workflow: str | Workflow[Any], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Any]:
        """Run one turn of a workflow until it is over or waits, as `App.run` does.

        An exception that interrupts the caller, such as KeyboardInterrupt, gives the run back.
        """
        return self._call(lambda app: app.run(workflow, input, **options))

    @overload
    def start(
        self, workflow: Workflow[Output], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Output]: ...
    @overload
    def start(self, workflow: str, input: Input, **options: Unpack[TurnOptions]) -> Run[Any]: ...
    def start(
        self, workflow: str | Workflow[Any], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Any]:
        """Queue one turn for a worker and return at once, as `App.start` does."""
        return self._call(lambda app: app.start(workflow, input, **options))

    @overload
    def stream(
        self, workflow: Workflow[Output], input: Input, **options: Unpack[TurnOptions]
    ) -> Iterator[RunEvent[Output]]: ...
    @overload
    def stream(
        self, workflow: str, input: Input, **options: Unpack[TurnOptions]
    ) -> Iterator[RunEvent[Any]]: ...
    def stream(
        self, workflow: str | Workflow[Any], input: Input, **options: Unpack[TurnOptions]
    ) -> Iterator[RunEvent[Any]]:
        """Run one turn and yield its events, as `App.stream` does.

        Leaving the loop early, or closing the iterator, gives the run back.
        """

        async def open_stream(app: App) -> AsyncGenerator[RunEvent[Any], None]:
            return app.stream(workflow, input, **options)

        events = self._call(open_stream)
        try:
            while (event := self._call(lambda _: anext(events, None))) is not None:
                yield event
        finally:
            with suppress(AppClosed):
                self._call(lambda _: _end(events))

    def get(self, run: str, *, principal: str | None = None) -> Run[Any]:
        """Return a run by its id, as `App.get` does."""
        return self._call(lambda app: app.get(run, principal=principal))

    def resume(
        self,
        run: str,
        *,
        approve: bool | None = None,
        answer: Any = UNSET,
        by: str = "",
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Run[Any]:
        """Continue a run until it is over or waits, as `App.resume` does."""
        return self._call(
            lambda app: app.resume(
                run,
                approve=approve,
                answer=answer,
                by=by,
                reason=reason,
                arguments=arguments,
                principal=principal,
            )
        )

    def approve(
        self,
        run: str,
        *,
        by: str = "",
        approved: bool = True,
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
        call: str = "",
        principal: str | None = None,
    ) -> Run[Any]:
        """Approve or deny a call, as `App.approve` does."""
        return self._call(
            lambda app: app.approve(
                run,
                approved=approved,
                by=by,
                reason=reason,
                arguments=arguments,
                call=call,
                principal=principal,
            )
        )

    def answer(
        self, run: str, value: Any, *, by: str = "", call: str = "", principal: str | None = None
    ) -> Run[Any]:
        """Answer a question of a tool, as `App.answer` does."""
        return self._call(lambda app: app.answer(run, value, by=by, call=call, principal=principal))

    def questions(
        self,
        *,
        principal: str = LOCAL,
        limit: int = 100,
        after: Question | None = None,
        newest_first: bool = True,
    ) -> list[Question]:
        """Return the questions that wait for a principal, as `App.questions` does."""
        return self._call(
            lambda app: app.questions(
                principal=principal, limit=limit, after=after, newest_first=newest_first
            )
        )

    def signal(
        self,
        key: str,
        payload: Any = None,
        *,
        workflow: str | Workflow[Any],
        principal: str = LOCAL,
        by: str = "",
    ) -> bool:
        """Send an event to the runs of a workflow and a principal, as `App.signal` does."""
        return self._call(
            lambda app: app.signal(key, payload, workflow=workflow, principal=principal, by=by)
        )

    def settle(
        self,
        run: str,
        outcome: Settlement,
        *,
        by: str = "",
        result: str = "",
        call: str = "",
        principal: str | None = None,
    ) -> Run[Any]:
        """Record the outcome of a call that is unknown, as `App.settle` does."""
        return self._call(
            lambda app: app.settle(
                run, outcome, by=by, result=result, call=call, principal=principal
            )
        )

    def cancel(self, run: str, *, principal: str | None = None) -> Run[Any]:
        """Cancel a run, as `App.cancel` does."""
        return self._call(lambda app: app.cancel(run, principal=principal))

    def work(self, *, until_idle: bool = False) -> None:
        """Be a worker, as `App.work` is, until idle or interrupted."""
        return self._call(lambda app: app.work(until_idle=until_idle))

    # --- the thread -----------------------------------------------------------------------------

    def _call(self, work: Callable[[App], Awaitable[T]]) -> T:
        self._check_fork()
        try:
            return self._usable_thread().call(work)
        except CancelledError as error:
            raise AppClosed(CLOSED) from error

    def _usable_thread(self) -> LoopThread[App]:
        with self._lock:
            if self._is_closed:
                raise AppClosed("the app is closed")
            if self._thread is None or not self._thread.is_usable:
                self._thread = LoopThread(self._make_app)
            return self._thread

    def _check_fork(self) -> None:
        """Begin anew in a forked process: threads and held locks are not inherited."""
        if self._pid != os.getpid():
            self._pid, self._lock, self._thread = os.getpid(), threading.Lock(), None


async def _end(events: AsyncGenerator[RunEvent[Any], None]) -> None:
    """Close the generator; a caller that was interrupted has left it running."""
    while getattr(events, "ag_running", False):  # noqa: ASYNC110 - it has no event for its end
        await asyncio.sleep(RUNNING_POLL_S)
    await events.aclose()


async def _nothing(app: App) -> None:
    """Do nothing, once the app is open."""
