"""`App`: workflows in an asyncio program."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from twelvefold.app.drives import Drives
from twelvefold.app.opening import open_checked_services, workflows_by_name
from twelvefold.app.operations import Operations
from twelvefold.app.questions import Question
from twelvefold.app.requests import LOCAL, UNSET, Input, Turn, TurnOptions, name_of
from twelvefold.app.run import Output, Run
from twelvefold.app.session import NO_EVENTS, Answer, Given, Session, Settled, Value
from twelvefold.app.stream import EventSource, Progress, RunBegan, RunEvent, last_event
from twelvefold.app.task_context import CLOSED_EARLY, TaskContext
from twelvefold.boot import read_environment
from twelvefold.config import Settings
from twelvefold.core import Model, RunId, Settlement, Workflow
from twelvefold.engine import HeldRun
from twelvefold.errors import AppClosed

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class App:
    """Workflows in an asyncio program: a script, a web server, a notebook or a test.

    `workflows` are served instead of those of WORKFLOWS. `settings`: those of the environment
    unless given; `.env` is read by the commands only. `model` replaces the default
    model, `models` those of MODELS that have the same names; they are not closed. `resources`
    replace those of the workflows, by type. The three are for tests.
    Several apps may be open in one process.

    An embedded database is migrated and seeded when the app opens. A server is checked only:
    `twelvefold migrate` migrates it. Opening raises SettingsError or StoreUnavailable.

    Closing ends the calls in progress with AppClosed. The runs that they drove are given back: any
    process continues them.

    Example:

        import asyncio

        from examples.shopping import workflow
        from twelvefold import App, Settings

        async def main() -> None:
            async with App([workflow], settings=Settings(database_url="sqlite:///shop.db")) as app:
                run = await app.run(workflow, "Put milk on the list", principal="ann")
                print(run.status, run.text)

        asyncio.run(main())
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
        self._workflows = workflows_by_name(workflows)
        self._settings = settings
        self._model = model
        self._models = models
        self._resources = resources
        self._context: TaskContext[Session] | None = None
        self._session: Session | None = None
        self._has_asgi = False

    # --- opening --------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Open the app; `async with` does it. Any task may close it again."""
        if self._context is not None:
            raise AppClosed("the app is open already; close it first")
        context = self._context = TaskContext(self._open_session(), name="twelvefold app")
        try:
            session = await context.value()
        except BaseException:
            if self._context is context:
                self._context = None
            await context.close()
            raise
        if self._context is not context:
            raise AppClosed(CLOSED_EARLY)
        self._session = session
        return self

    async def close(self) -> None:
        """End the calls in progress, give their runs back and close the services."""
        context, self._context, self._session = self._context, None, None
        if context is not None:
            await context.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def _open_session(self) -> AsyncIterator[Session]:
        settings = self._settings or Settings.from_environ(read_environment())
        async with open_checked_services(
            settings,
            workflows=self._workflows or None,
            model=self._model,
            models=self._models,
            resources=self._resources,
        ) as services:
            session = Session(settings, services, Operations(), Drives(services))
            try:
                if self._has_asgi:
                    await session.service()  # an error of the settings is raised now
                yield session
            finally:
                await session.close()

    @property
    def session(self) -> Session:
        """The opened parts: settings and services. Raises AppClosed."""
        if self._session is None:
            raise AppClosed("the app is not open; use `async with` or `await app.open()`")
        return self._session

    # --- starting runs --------------------------------------------------------------------------

    @overload
    async def run(
        self, workflow: Workflow[Output], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Output]: ...
    @overload
    async def run(
        self, workflow: str, input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Any]: ...
    async def run(
        self, workflow: str | Workflow[Any], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Any]:
        """Run one turn of a workflow until it is over or waits; return the run.

        `input` is the user's message, or items in the format of the Responses API; `TurnOptions`
        describes the options.

        If another process takes the run over, this one waits for it. If a service fails, the run
        is returned as "queued", with the error: a worker, or `resume`, continues it. Cancelling
        the task gives the run back in the same way. Raises RequestError for an unknown workflow or
        an invalid input, NotFound, Conflict if the conversation's last run is not over,
        StoreUnavailable and AppClosed.
        """
        turn = self._turn(workflow, input, options)
        return await self.session.operations.run(self.session.run(turn))

    @overload
    async def start(
        self, workflow: Workflow[Output], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Output]: ...
    @overload
    async def start(
        self, workflow: str, input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Any]: ...
    async def start(
        self, workflow: str | Workflow[Any], input: Input, **options: Unpack[TurnOptions]
    ) -> Run[Any]:
        """Queue one turn for a worker and return at once; arguments and errors as in `run`."""
        turn = self._turn(workflow, input, options)
        return await self.session.operations.run(self.session.start(turn))

    @overload
    def stream(
        self, workflow: Workflow[Output], input: Input, **options: Unpack[TurnOptions]
    ) -> AsyncGenerator[RunEvent[Output], None]: ...
    @overload
    def stream(
        self, workflow: str, input: Input, **options: Unpack[TurnOptions]
    ) -> AsyncGenerator[RunEvent[Any], None]: ...
    async def stream(
        self, workflow: str | Workflow[Any], input: Input, **options: Unpack[TurnOptions]
    ) -> AsyncGenerator[RunEvent[Any], None]:
        """Run one turn and yield its events; the last one has the run.

        Arguments and errors as in `run`. Leaving the loop early gives the run back, as cancelling
        does; `contextlib.aclosing` does so at once.
        """
        turn = replace(self._turn(workflow, input, options), stream=True)
        session, events = self.session, asyncio.Queue[Progress | None]()
        driving = session.operations.start(_drive_with_events(session, turn, events))
        driving.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield last_event(await session.operations.join(driving))
        finally:
            await session.operations.end(driving)

    def _turn(self, workflow: str | Workflow[Any], input: Input, options: TurnOptions) -> Turn:
        if unknown := options.keys() - TurnOptions.__annotations__:
            known = ", ".join(TurnOptions.__annotations__)
            raise TypeError(f"there is no option {min(unknown)!r}; there are {known}")
        return Turn(self._name(workflow), input, **options)

    def _name(self, workflow: str | Workflow[Any]) -> str:
        return name_of(self.session.services, workflow)

    # --- runs that exist ------------------------------------------------------------------------

    async def get(self, run: str, *, principal: str | None = None) -> Run[Any]:
        """Return a run by its id. Raises NotFound, also for a run of another `principal`.

        `principal`, here and below, is the user on whose behalf the program asks. Without it the
        run may be anyone's.
        """
        return await self.session.operations.run(self.session.read(run, principal))

    async def resume(
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
        """Continue a run until it is over or waits, and return it.

        `approve` and `answer` first answer what waits, as the methods of these names do, in the
        name of `by`. Without them the run is continued if any process may do so, followed if
        another process drives it, and returned as it is if it is over or still waits. Raises
        NotFound, TooLate if no call waits, RequestError if the app has no such workflow.
        """
        given: Given | None = None
        if approve is not None:
            given = Answer(approve, by, reason, arguments=arguments)
        elif answer is not UNSET:
            given = Value(answer, by, principal)
        work = self.session.resume(run, principal, given, NO_EVENTS)
        return await self.session.operations.run(work)

    async def approve(
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
        """Approve or deny a call, and leave the rest of the run to any process.

        `by` is recorded, by default the run's principal. `arguments` replace those of the model.
        `call` "": the first call that waits; an id, or "run:call" with the `run` of a `Waiting`,
        since calls of two runs may have the same id. Raises NotFound, TooLate if no such call
        waits, RequestError for arguments that the tool does not take, and Conflict if another
        process holds the run.
        """
        given = Answer(approved, by, reason, call, arguments)
        return await self.session.operations.run(self.session.write(run, principal, given))

    async def answer(
        self, run: str, value: Any, *, by: str = "", call: str = "", principal: str | None = None
    ) -> Run[Any]:
        """Answer a question of a tool, and leave the rest of the run to any process.

        `value` is a JSON value of the type that the question asks for. `principal` must be the
        person whom the question names; without it the program may answer for anyone. `by` is
        recorded, by default that person, or the run's principal. The run that is returned has all
        texts of its principal: it is not for another person who answers. Raises InvalidAnswer,
        after which the run still waits, NotFound, TooLate if no such question waits, and Conflict
        if another process holds the run.
        """
        given = Value(value, by, principal, call)
        return await self.session.operations.run(self.session.write(run, principal, given))

    async def questions(
        self,
        *,
        principal: str = LOCAL,
        limit: int = 100,
        after: Question | None = None,
        newest_first: bool = True,
    ) -> list[Question]:
        """Return the questions that wait for a principal, also those of other principals' runs.

        At most `limit` of them, 1 to 10000: those after the question `after`, which may have been
        answered since. Raises NotFound if that was never asked of the principal.
        """
        work = self.session.questions(
            principal, limit=limit, after=after, newest_first=newest_first
        )
        return await self.session.operations.run(work)

    async def signal(
        self,
        key: str,
        payload: Any = None,
        *,
        workflow: str | Workflow[Any],
        principal: str = LOCAL,
        by: str = "",
    ) -> bool:
        """Send an event, with a JSON value, to the runs of a workflow and a principal.

        Runs that wait for it continue in any process; a run that waits for it later gets it at
        once. Returns False, without a change, if the event was sent before: the first delivery
        counts. `by` is recorded, by default the principal. Raises RequestError.
        """
        work = self.session.signal(key, payload, self._name(workflow), principal, by)
        return await self.session.operations.run(work)

    async def settle(
        self,
        run: str,
        outcome: Settlement,
        *,
        by: str = "",
        result: str = "",
        call: str = "",
        principal: str | None = None,
    ) -> Run[Any]:
        """Record the outcome of a call that is unknown, and leave the rest to any process.

        `outcome`: "done", with the `result` that the model reads; "retry", to run the call again;
        or "failed". Raises as `approve` does.
        """
        given = Settled(outcome, by, result, call)
        return await self.session.operations.run(self.session.write(run, principal, given))

    async def cancel(self, run: str, *, principal: str | None = None) -> Run[Any]:
        """Cancel a run, whichever process drives it; a run that is over stays as it is.

        Raises NotFound, and StepUnderWay if a step's transaction takes too long.
        """
        return await self.session.operations.run(self.session.cancel(run, principal))

    # --- processes ------------------------------------------------------------------------------

    async def work(self, *, until_idle: bool = False) -> None:
        """Be a worker: drive queued runs and send mail until the task is cancelled.

        Then, or when the app closes, the runs may take GRACE_S to the end of their step; they are
        given back. `until_idle`: return when no run can be claimed, none is driven and no mail is
        due. The limits are those of the settings, such as MAX_RUNS.
        """
        await self.session.operations.run(self.session.work(until_idle=until_idle))

    def asgi(self) -> "ASGIApp":
        """Return the API and the page as an ASGI app, for a path of another app or for a server.

        The app must be open while requests arrive. Starlette and FastAPI run no lifespan of a
        mounted app, so open the app in the lifespan of theirs. A server that runs the returned app
        itself opens and closes it. API keys, limits and the worker in this process are as in
        `twelvefold web`; connections are the server's.
        """
        from twelvefold.app.asgi import AppASGI  # it imports Starlette and all of `web`

        self._has_asgi = True
        return AppASGI(self._serve, self._open_for_lifespan)

    async def _serve(self) -> "ASGIApp":
        return await self.session.service()

    async def _open_for_lifespan(self) -> Callable[[], Awaitable[None]]:
        if self._session is not None:
            return _leave_open
        await self.open()
        return self.close


async def _leave_open() -> None:
    """Do nothing: the app was opened by its owner, who closes it."""


async def _drive_with_events(
    session: Session, turn: Turn, events: "asyncio.Queue[Progress | None]"
) -> Run[Any]:
    begun = await session.begin(turn)
    run = begun if isinstance(begun, RunId) else begun.run
    events.put_nowait(RunBegan(str(run), f"conv_{run.thread}"))
    position = begun.thread.head if isinstance(begun, HeldRun) else await session.began(run)
    return await session.drive(begun, EventSource(run, position, events.put_nowait))
