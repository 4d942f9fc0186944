"""An app while it is open: its services, and what its calls do with them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from twelvefold.app.drives import Drives, Follower
from twelvefold.app.operations import Operations
from twelvefold.app.questions import Question, read_questions
from twelvefold.app.requests import Turn, check_principal, check_texts, repeated_run, run_request
from twelvefold.app.run import Run, WaitingKind, read_run
from twelvefold.app.stream import NoEvents
from twelvefold.app.task_context import TaskContext
from twelvefold.boot import open_mailer
from twelvefold.config import Settings
from twelvefold.core import CallId, RunId, RunRecord, Settlement, abbreviate
from twelvefold.core.answers import encode_value
from twelvefold.engine import (
    ExitLimit,
    HeldRun,
    RunRequest,
    Services,
    answer,
    answer_question,
    cancel,
    enqueue_run,
    run_uninterrupted,
    send_signal,
    settle,
    start_run,
)
from twelvefold.errors import (
    Conflict,
    ConversationTooLarge,
    NotFound,
    Repeated,
    RequestError,
    TooLate,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

T = TypeVar("T")
NO_EVENTS = NoEvents()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a call that waits for approval; `call` "": the first one that waits.

    `call` is the id of a call, or "run:call": calls of two runs may have the same id.

    `arguments` replace those of the model.
    """

    approved: bool
    by: str = ""
    reason: str = ""
    call: str = ""
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a person found out about a call whose outcome is unknown."""

    outcome: Settlement
    by: str = ""
    result: str = ""
    call: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """An answer to a question of a tool. `principal` None: an operator, who answers for anyone."""

    value: Any
    by: str = ""
    principal: str | None = None
    call: str = ""


Given = Answer | Settled | Value
_KINDS: dict[type, WaitingKind] = {Answer: "approval", Settled: "outcome", Value: "question"}


@dataclass(frozen=True)
class Session:
    """The services of an open app, its calls in progress, and the runs that it drives."""

    settings: Settings
    services: Services
    operations: Operations
    drives: Drives
    _service: "list[TaskContext[ASGIApp]]" = field(default_factory=list)

    async def service(self) -> "ASGIApp":
        """Return the HTTP service, opened with the first call. Raises SettingsError."""
        from twelvefold.app.asgi import open_mounted  # it imports Starlette and all of `web`

        if not self._service:
            context = open_mounted(self.services, self.settings)
            self._service.append(TaskContext(context, name="twelvefold service"))
        return await self._service[0].value()

    async def close(self) -> None:
        """Drain the service, end the calls in progress and give their runs back."""
        try:
            for context in self._service:
                await context.close()
        finally:
            self.services.exit_limit.begin(0)
            await self.operations.close()

    async def work(self, *, until_idle: bool) -> None:
        """Drive queued runs and send mail, until cancelled or idle."""
        from twelvefold.worker.process import make_worker

        # The worker begins the limit when it stops, which does not end the other runs of the app.
        services, stop = replace(self.services, exit_limit=ExitLimit()), asyncio.Event()
        async with open_mailer(self.settings) as mailer:
            worker = make_worker(services, self.settings, mailer, until_idle=until_idle)
            working = asyncio.get_running_loop().create_task(worker.run(stop), name="worker")
            try:
                await asyncio.wait([working])
            except asyncio.CancelledError:
                stop.set()
                await run_uninterrupted(working, services.exit_limit)
                raise
            working.result()

    # --- starting -------------------------------------------------------------------------------

    async def start(self, turn: Turn) -> Run[Any]:
        """Write a run for any process to claim, unless the same request was made before."""
        request = await run_request(self.services, turn)
        try:
            run, _ = await _start_once(enqueue_run, self.services, request)
        except Repeated as repeated:
            run = repeated_run(repeated, request)
        return await read_run(self.services, run)

    async def run(self, turn: Turn) -> Run[Any]:
        """Write a run and drive it until it is over or waits."""
        begun = await self.begin(turn)
        return await self.drive(begun, NO_EVENTS)

    async def begin(self, turn: Turn) -> HeldRun | RunId:
        """Write a run and hold its lease; return the id of the run of the same request, if any."""
        await self.drives.prepare()
        request = await run_request(self.services, turn)
        try:
            return await _start_once(start_run, self.services, request)
        except Repeated as repeated:
            return repeated_run(repeated, request)

    async def drive(self, begun: HeldRun | RunId, follower: Follower) -> Run[Any]:
        """Drive or follow a run until it is over or waits."""
        if isinstance(begun, RunId):
            return await self.drives.follow(begun, follower)
        return await self.drives.drive(begun, follower)

    async def began(self, run: RunId) -> int:
        """Return the position before the first entry of a run."""
        return (await self.services.retry(lambda: self.services.store.run(run))).began - 1

    # --- a run that exists ----------------------------------------------------------------------

    async def find(self, id: str, principal: str | None) -> RunRecord:
        """Return a run. Raises NotFound, also if it is not the principal's."""
        check_principal(principal)
        run = RunId.parse(id)
        record = await self.services.retry(lambda: self.services.store.run(run))
        if principal not in (None, record.principal):
            raise NotFound(f"no run {run}")
        return record

    async def read(self, id: str, principal: str | None) -> Run[Any]:
        """Return a run as its journal has it."""
        check_principal(principal)
        return await read_run(self.services, RunId.parse(id), principal)

    async def questions(
        self, principal: str, *, limit: int, after: Question | None, newest_first: bool
    ) -> list[Question]:
        """Return the questions that wait for a principal."""
        return await read_questions(
            self.services, principal, limit=limit, after=after, newest_first=newest_first
        )

    async def cancel(self, id: str, principal: str | None) -> Run[Any]:
        """Cancel a run, whichever process drives it."""
        record = await self.find(id, principal)
        await cancel(self.services, record.run)
        await self.drives.stop(record.run)
        return await read_run(self.services, record.run)

    async def resume(
        self, id: str, principal: str | None, given: Given | None, follower: Follower
    ) -> Run[Any]:
        """Answer what the run waits for, then drive it until it is over or waits again."""
        record, wakes = await self._find_to_answer(id, principal, given), True
        if given is not None:
            self._check_served(record)
            # A run below is driven with this one, which waits for it.
            wakes = await self._write(record, given, claims=True) != record.run
        elif record.status == "waiting" and not await self._may_go_on(record):
            return await read_run(self.services, record.run)
        return await self.drives.follow(record.run, follower, wakes=wakes)

    async def _may_go_on(self, record: RunRecord) -> bool:
        """Return whether time or an event may have ended what a run waits for."""
        run = await read_run(self.services, record.run)
        return any(one.kind not in ("approval", "outcome") for one in run.waiting)

    async def write(self, id: str, principal: str | None, given: Given) -> Run[Any]:
        """Answer what the run waits for, and leave the rest of it to any process."""
        record = await self._find_to_answer(id, principal, given)
        await self._write(record, given, claims=False)
        return await read_run(self.services, record.run)

    async def _find_to_answer(
        self, id: str, principal: str | None, given: Given | None
    ) -> RunRecord:
        """Return a run that is answered; a question may be for another principal than the run's."""
        check_principal(principal)
        if given is not None:
            _check(given)
        return await self.find(id, None if isinstance(given, Value) else principal)

    async def _write(self, record: RunRecord, given: Given, *, claims: bool) -> RunId:
        """Write an answer; return the run that has the call."""
        id = given.call.rpartition(":")[2]
        by, call = _person(given) or record.principal, CallId(id) if id else None
        services, run = self.services, await self._run_to_answer(record, given)
        match given:
            case Answer(approved, _, reason, _, arguments):
                text = "" if arguments is None else encode_value(dict(arguments), "arguments")
                await answer(
                    services,
                    run,
                    approved=approved,
                    by=by,
                    reason=reason,
                    call=call,
                    claims=claims,
                    arguments=text,
                )
            case Settled(outcome, _, result):
                await settle(
                    services, run, settled=outcome, by=by, result=result, call=call, claims=claims
                )
            case Value(value, _, principal):
                await answer_question(
                    services, run, value, by=by, principal=principal, call=call, claims=claims
                )
        return run

    async def _run_to_answer(self, record: RunRecord, given: Given) -> RunId:
        """Return the run with the call that waits: this one, or one that it has started.

        Raises TooLate if the call names another run.
        """
        kind, (run, _, call) = _KINDS[type(given)], given.call.rpartition(":")
        for one in (await read_run(self.services, record.run)).waiting:
            if one.kind == kind and call in ("", one.call) and run in ("", one.run):
                return RunId.parse(one.run)
        if run:
            raise TooLate(f"run {run} has no call {call} that waits for this below {record.run}")
        return record.run  # it raises TooLate there

    async def signal(self, key: str, payload: Any, workflow: str, principal: str, by: str) -> bool:
        """Send an event to the runs of a workflow and principal."""
        sender = by or principal
        return await send_signal(
            self.services, key, payload, workflow=workflow, principal=principal, sender=sender
        )

    def _check_served(self, record: RunRecord) -> None:
        """Raise RequestError, before anything is written, if this app cannot continue the run."""
        if record.workflow not in self.services.workflows:
            raise RequestError(
                f"the run belongs to workflow {record.workflow!r}, which this app does not have"
            )


def _person(given: Given) -> str:
    """Return who answers, "" if the caller does not name anyone."""
    if isinstance(given, Value):
        return given.by or given.principal or ""
    return given.by


def _check(given: Given) -> None:
    """Raise RequestError for a value of another type."""
    check_texts(by=given.by, call=given.call)
    match given:
        case Answer(approved=approved, reason=reason, arguments=arguments):
            check_texts(reason=reason)
            if not isinstance(approved, bool):
                raise RequestError(f"the approval is {abbreviate(approved)}; pass True or False")
            if not isinstance(arguments, Mapping | None):
                raise RequestError(f"arguments is {abbreviate(arguments)}; pass a mapping")
        case Settled(result=result):
            check_texts(result=result)
        case Value():
            pass


async def _start_once(
    start: Callable[[Services, RunRequest], Awaitable[T]], services: Services, request: RunRequest
) -> T:
    """Start a run. Raises Repeated also if its first start keeps it from starting again."""
    key = request.key
    try:
        return await _or_on_fork(start, services, request)
    except Repeated:
        raise
    except (Conflict, ConversationTooLarge) as error:
        # The run of this request may be the one that is not over, or that has filled the thread.
        if key is None:
            raise
        principal, find = request.principal.id, services.store.find_request
        if found := await services.retry(lambda: find(principal, key.key)):
            raise Repeated(str(found[0]), found[1]) from error
        raise


async def _or_on_fork(
    start: Callable[[Services, RunRequest], Awaitable[T]], services: Services, request: RunRequest
) -> T:
    """Start a run; on a fork of the thread if another run has followed the previous one."""
    try:
        return await start(services, request)
    except Repeated:
        raise
    except Conflict:
        if not request.position:
            raise
    return await start(services, replace(request, fork=True))
