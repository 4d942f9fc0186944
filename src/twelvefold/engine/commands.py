"""What entry points may ask for: start a run, take one up, answer, settle, cancel."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal, assert_never

from twelvefold.core.decide import in_doubt
from twelvefold.core.events import (
    ApprovalAnswered,
    Event,
    Item,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    Settlement,
    ToolFailed,
    ToolSucceeded,
    decode,
    encode,
)
from twelvefold.core.ids import CallId, LeaseToken, RunId, ThreadId
from twelvefold.core.ports import OVER, Lease, NewRun, Principal, RunStatus, Silence, ThreadRecord
from twelvefold.core.thread import Call, CallState, Thread, fold
from twelvefold.engine.append import Driven, tell, write
from twelvefold.engine.lease import unbroken
from twelvefold.engine.patience import patiently
from twelvefold.engine.services import Services
from twelvefold.errors import (
    CancelAsked,
    Conflict,
    NotFound,
    RequestError,
    ServiceFault,
    StoreRefused,
)

INPUT_BYTES = 4 * 1024 * 1024
"""The most that one turn may say; well under the 16 MiB that a MySQL statement may have."""
PATIENCE_S = 5.0
"""How long a command waits for a database that is away for a moment."""


async def start_run(
    services: Services,
    *,
    workflow: str,
    principal: Principal,
    items: Sequence[Item],
    thread: ThreadId | None = None,
) -> Driven:
    """Write a new run, on a new thread or behind the last run of one, and hold its lease.

    Raises RequestError for items that cannot be kept or a workflow that is not there, NotFound
    for a thread that is not the principal's, Conflict if its last run is not over.
    """
    if workflow not in services.workflows:
        known = ", ".join(services.workflows)
        raise RequestError(f"no workflow {workflow!r}; there are {known}")
    started = _kept(RunStarted(tuple(items), principal.id, workflow, services.release))
    before = await _thread_to_go_on(services, workflow, principal, thread) if thread else Thread()
    run = RunId(thread or services.ids.thread(), before.run + 1)
    lease = Lease(run, LeaseToken(secrets.token_hex(8)))
    new = NewRun(run, lease.token, before.head, principal.id, workflow, services.release)
    entry, _ = await patiently(
        lambda: services.store.start(new, started, services.limits.lease_s), PATIENCE_S
    )
    return tell(Driven(run, before, lease), Silence(), [entry])


async def take(services: Services, run: RunId) -> Driven:
    """Take up a run that is not over and that nobody holds.

    Raises NotFound, or Conflict if it is over or held.
    """
    claimed = await patiently(
        lambda: services.store.claim(run, services.limits.lease_s), PATIENCE_S
    )
    if claimed is None:
        record = await patiently(lambda: services.store.run(run), PATIENCE_S)
        why = f"is {record.status}" if record.status in OVER else "is held by another process"
        raise Conflict(f"run {run} {why}")
    lease, interrupted = claimed
    try:
        loaded = await patiently(lambda: services.store.load(run.thread), PATIENCE_S)
    except BaseException:
        await _give_back(services, lease, interrupted)
        raise
    return Driven(run, fold(loaded.entries, interrupted=interrupted), lease)


async def answer(
    services: Services,
    run: RunId,
    *,
    approved: bool,
    by: str,
    reason: str = "",
    call: CallId | None = None,
) -> None:
    """Write down what a person says to a call that waits for approval; the run can then go on.

    Raises NotFound, or Conflict if no such call waits.
    """

    def events(waiting: Call) -> tuple[Event, ...]:
        answered = ApprovalAnswered(waiting.id, approved, by, reason)
        if approved:
            return (answered,)
        message = f"Error: not allowed by {by}" + (f": {reason}" if reason else "")
        return answered, ToolFailed(waiting.id, waiting.tool, "denied", message)

    await _say(services, run, call, "asked", events)


async def settle(
    services: Services,
    run: RunId,
    *,
    settled: Settlement,
    by: str,
    result: str = "",
    call: CallId | None = None,
) -> None:
    """Write down what a person found out about a call whose outcome was unknown.

    `result` is what the model reads of a call that is "done". Raises NotFound, or Conflict if
    there is no such call.
    """

    def events(unknown: Call) -> tuple[Event, ...]:
        told = OutcomeSettled(unknown.id, settled, by, result)
        match settled:
            case "retry":
                return (told,)
            case "done":
                return told, ToolSucceeded(unknown.id, unknown.tool, result)
            case "failed":
                message = (
                    f"Error: the call failed: {result}" if result else "Error: the call failed"
                )
                return told, ToolFailed(unknown.id, unknown.tool, "settled", message)
            case _:
                assert_never(settled)

    await _say(services, run, call, "unknown", events)


async def cancel(services: Services, run: RunId) -> RunStatus:
    """Ask for a run's end; returns "running" while the process that has it is not there yet.

    After this nothing more is committed for the run but its end. Raises NotFound.
    """
    try:
        if await patiently(lambda: services.store.ask_cancel(run), PATIENCE_S):
            async with _held(services, run) as driven:
                ended = _cancelled(services, driven.thread)
                return (await _written(services, driven, ended, "cancelled")).status
    except Conflict:
        pass
    return (await patiently(lambda: services.store.run(run), PATIENCE_S)).status


def _cancelled(services: Services, thread: Thread) -> tuple[Event, ...]:
    """The end of a run; the journal keeps that a call may have happened, and nobody is asked."""
    workflow = services.workflows.get(thread.workflow)
    call = in_doubt(thread, workflow, services.limits) if workflow and thread.interrupted else None
    unknown = (OutcomeUnknown(call.id, call.tool),) if call else ()
    return *unknown, RunFinished("cancelled", "cancelled")


async def _thread_to_go_on(
    services: Services, workflow: str, principal: Principal, thread: ThreadId
) -> Thread:
    record = await patiently(lambda: services.store.load(thread), PATIENCE_S)
    if record.principal != principal.id:
        raise NotFound(f"no thread conv_{thread}")
    if record.workflow != workflow:
        raise RequestError(
            f"thread conv_{thread} is of workflow {record.workflow!r}, not {workflow!r}"
        )
    told = fold(record.entries)
    if told.status == "active" and _is_its_own(record):
        raise Conflict(f"run {RunId(thread, told.run)} of this thread is not over")
    return told


def _is_its_own(record: ThreadRecord) -> bool:
    """Whether the latest entry is the thread's, not of the thread that it was forked from."""
    return record.head > record.forked_at


def _kept(event: Event) -> Event:
    """What somebody said as the journal will give it back. Raises RequestError if it cannot."""
    try:
        kind, version, body = encode(event)
        kept = decode(kind, version, body)
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise RequestError(f"the input cannot be kept as text: {error}") from error
    except StoreRefused as error:
        raise RequestError(f"the input is no list of items: {error.__cause__}") from error
    size = len(body.encode())
    if size > INPUT_BYTES:
        raise RequestError(f"the input is {size} bytes long; {INPUT_BYTES} is the most")
    return kept


async def _say(
    services: Services,
    run: RunId,
    call: CallId | None,
    state: CallState,
    events: Callable[[Call], tuple[Event, ...]],
) -> None:
    """Append what a person said of a waiting call, and leave the run for anyone to go on with."""
    async with _held(services, run) as driven:
        waiting = [
            one for one in driven.thread.pending if one.state == state and call in (None, one.id)
        ]
        if not waiting:
            wanted = "approval" if state == "asked" else "settling"
            raise Conflict(f"run {run} has no call that waits for {wanted}")
        said = [_kept(event) for event in events(waiting[0])]
        try:
            await _written(services, driven, said, "queued")
        except CancelAsked as error:
            raise Conflict(str(error)) from error


@asynccontextmanager
async def _held(services: Services, run: RunId) -> AsyncIterator[Driven]:
    """A run in this process's hands for one commit; given back as it was if that fails."""
    driven = await take(services, run)
    try:
        yield driven
    except BaseException:
        await _give_back(services, driven.lease, driven.thread.interrupted, driven.thread.waits)
        raise


async def _give_back(
    services: Services, lease: Lease, interrupted: bool, waits: bool = False
) -> None:
    status: Literal["queued", "waiting"] = "waiting" if waits else "queued"
    with suppress(ServiceFault):
        await unbroken(services.store.release(lease, status=status, in_doubt=interrupted))


async def _written(
    services: Services, driven: Driven, events: Sequence[Event], status: RunStatus
) -> Driven:
    return await write(services, driven, Silence(), events, status, patience_s=PATIENCE_S)
