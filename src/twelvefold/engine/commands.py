"""What entry points may ask for: start a run, take one up, fork, answer, settle, cancel."""

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar, assert_never, cast

from msgspec import structs

from twelvefold.core.budget import Limits, conversation_full
from twelvefold.core.decide import in_doubt
from twelvefold.core.events import (
    DEFAULT_OPTIONS,
    ApprovalAnswered,
    Entry,
    Event,
    Item,
    OutcomeSettled,
    OutcomeUnknown,
    RequestOptions,
    RunFinished,
    RunStarted,
    Settlement,
    ToolFailed,
    ToolSucceeded,
    decode,
    encode,
    size_of,
)
from twelvefold.core.failures import full_sentence
from twelvefold.core.ids import CallId, LeaseToken, RunId, ThreadId
from twelvefold.core.ports import (
    OVER,
    IdempotentRequest,
    Lease,
    NewRun,
    NullListener,
    Principal,
    RunStatus,
)
from twelvefold.core.thread import Call, CallState, Thread, fold
from twelvefold.engine.commit import HeldRun, tell, write
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.engine.shield import run_uninterrupted
from twelvefold.engine.step_under_way import reason_of, reason_of_thread
from twelvefold.errors import (
    CancelAsked,
    Conflict,
    ConversationTooLarge,
    DuplicateRow,
    NotFound,
    RequestError,
    ServiceFault,
    StaleRun,
    StoreRefused,
    StoreUnavailable,
    TooLate,
)

INPUT_BYTES = 4 * 1024 * 1024
"""The most that one turn may say; well under the 16 MiB that a MySQL statement may have."""
RUN_ENTRIES = 3
"""The fewest entries of a run that answers: its start, a reply, its end."""
"""How long a command waits for a database that is away for a moment."""
Said = TypeVar("Said", bound=Event)


async def start_run(
    services: Services,
    *,
    workflow: str,
    principal: Principal,
    items: Sequence[Item],
    thread: ThreadId | None = None,
    options: RequestOptions = DEFAULT_OPTIONS,
    background: bool = False,
    request: IdempotentRequest | None = None,
    behind: int = 0,
    fork: bool = False,
) -> HeldRun:
    """Write a new run, on a new thread or behind the last run of one, and hold its lease.

    `behind` is the position that the thread has to be at, 0 for any; with `fork` the run goes on
    from there on a thread of its own, wherever that one is. Raises RequestError for items
    that cannot be kept or a workflow that is not there, ConversationTooLarge, NotFound for a thread
    that is not the principal's, Conflict if its last run is not over or it has moved on, Repeated
    if the request was made before.
    """
    started, size = _started(services, workflow, principal, items, options)
    before = await _before(services, workflow, principal, thread, behind, fork)
    check_room(before.head, before.size, size, services.limits, entries=RUN_ENTRIES)
    new = _new_run(services, started, before, thread, background, request, fork)
    held = services.hold(Lease(new.run, new.token), services.monotonic())
    entry, _ = await retry_unavailable(
        lambda: services.store.start(new, started, services.limits.lease_s)
    )
    return tell(HeldRun(new.run, before, held), NullListener(), [entry])


async def enqueue_run(
    services: Services,
    *,
    workflow: str,
    principal: Principal,
    items: Sequence[Item],
    thread: ThreadId | None = None,
    options: RequestOptions = DEFAULT_OPTIONS,
    background: bool = True,
    request: IdempotentRequest | None = None,
    behind: int = 0,
    fork: bool = False,
) -> tuple[RunId, Entry]:
    """Write a new run for any process to take; returns its first entry, too.

    Raises as `start_run` does.
    """
    started, size = _started(services, workflow, principal, items, options)
    before = await _before(services, workflow, principal, thread, behind, fork)
    check_room(before.head, before.size, size, services.limits, entries=RUN_ENTRIES)
    new = _new_run(services, started, before, thread, background, request, fork)
    entry, _ = await retry_unavailable(lambda: services.store.start(new, started, None))
    held = services.hold(Lease(new.run, new.token), -math.inf)  # nobody's yet
    tell(HeldRun(new.run, before, held), NullListener(), [entry])
    return new.run, entry


async def fork_at(
    services: Services,
    source: RunId | ThreadId,
    position: int,
    *,
    principal: Principal | None = None,
) -> ThreadId:
    """Make a thread that goes on from an entry of another, or of what that was forked from.

    Raises NotFound if there is no such entry, or the thread is not the principal's, if one is
    given.
    """
    thread = source.thread if isinstance(source, RunId) else source
    head = await retry_unavailable(lambda: services.store.thread(thread))
    if principal is not None and head.principal != principal.id:
        raise NotFound(f"no thread conv_{thread}")
    while head.forked_from and position <= head.forked_at:
        origin = head.forked_from
        head = await retry_unavailable(partial(services.store.thread, origin))
    fork = services.ids.thread()
    with suppress(DuplicateRow):  # by a try of ours whose answer was lost
        await retry_unavailable(lambda: services.store.fork(head.id, position, fork))
    return fork


def _started(
    services: Services,
    workflow: str,
    principal: Principal,
    items: Sequence[Item],
    options: RequestOptions,
) -> tuple[RunStarted, int]:
    """A run's first entry, and its length in bytes. Raises RequestError."""
    if workflow not in services.workflows:
        known = ", ".join(services.workflows)
        raise RequestError(f"no workflow {workflow!r}; there are {known}")
    return _kept(RunStarted(tuple(items), principal.id, workflow, services.release, options))


def check_room(
    entries_before: int, size_before: int, size: int, limits: Limits, *, entries: int = 1
) -> None:
    """Raise ConversationTooLarge if a conversation takes no entry of this size and `entries` more.

    `entries_before` and `size_before` are what it holds.
    """
    reason = conversation_full(entries_before + entries - 1, size_before + size, limits)
    if reason is not None:
        raise ConversationTooLarge(full_sentence(reason, limits))


async def _before(
    services: Services,
    workflow: str,
    principal: Principal,
    thread: ThreadId | None,
    behind: int,
    fork: bool,
) -> Thread:
    """What a new run goes on from."""
    if thread is None:
        return Thread()
    record = await retry_unavailable(lambda: services.store.load(thread))
    if record.principal != principal.id:
        raise NotFound(f"no thread conv_{thread}")
    # A conversation that nobody has said anything in yet may be of no workflow.
    if record.workflow not in ("", workflow):
        raise RequestError(
            f"thread conv_{thread} is of workflow {record.workflow!r}, not {workflow!r}"
        )
    if fork:
        return fold([entry for entry in record.entries if entry.position <= behind])
    told = fold(record.entries)
    # What a thread was forked amid is none of its own business.
    if told.status == "active" and record.head > record.forked_at:
        raise Conflict(f"run {RunId(thread, told.run)} of this thread is not over")
    if behind not in (0, told.head):
        raise Conflict(f"thread conv_{thread} is at {told.head}, not at {behind} any more")
    return told


def _new_run(
    services: Services,
    started: RunStarted,
    before: Thread,
    thread: ThreadId | None,
    background: bool,
    request: IdempotentRequest | None,
    fork: bool,
) -> NewRun:
    made = services.ids.thread() if fork or thread is None else thread
    return NewRun(
        RunId(made, before.run + 1),
        _token(),
        before.head,
        started.principal,
        started.workflow,
        services.release,
        background,
        request,
        thread_exists=thread is not None and not fork,
        forked_from=thread if fork else None,
        thread_size=before.size,
    )


def _token() -> LeaseToken:
    return LeaseToken(secrets.token_hex(8))


async def _no_limit(size: int) -> None:
    """Any thread may be loaded."""


async def take(
    services: Services, run: RunId, hold: Callable[[int], Awaitable[None]] = _no_limit
) -> HeldRun:
    """Take up a run that is not over and that nobody holds.

    `hold` is called with the bytes of its thread before that is loaded; if it raises, the run is
    given back. Raises NotFound, TooLate if it is over, or Conflict if it is held.
    """
    # One token for all tries: the run may be ours already by one whose answer was lost.
    token = _token()
    sent_at = services.monotonic()
    claimed = await retry_unavailable(
        lambda: services.store.claim(run, services.limits.lease_s, token)
    )
    if claimed is None:
        record = await retry_unavailable(lambda: services.store.run(run))
        if record.status in OVER:
            raise TooLate(f"run {run} is over: {record.status}")
        raise Conflict(f"run {run} is held by another process")
    lease, interrupted = claimed.lease, claimed.interrupted
    driven = HeldRun(
        run,
        Thread(interrupted=interrupted),
        services.hold(lease, sent_at),
        claimed=True,
        cancel_asked=claimed.cancel_asked,
        attempts=claimed.attempts,
    )
    try:
        await hold(claimed.thread_size)
        loaded = await retry_unavailable(lambda: services.store.load(run.thread))
    except BaseException:
        await give_back(services, driven)
        raise
    thread = fold(loaded.entries, interrupted=interrupted)
    if claimed.usage.total_tokens > thread.usage.total_tokens:
        thread = structs.replace(thread, usage=claimed.usage)
    return replace(driven, thread=thread)


async def answer(
    services: Services,
    run: RunId,
    *,
    approved: bool,
    by: str,
    reason: str = "",
    call: CallId | None = None,
    options: RequestOptions | None = None,
    background: bool = False,
    request: IdempotentRequest | None = None,
) -> None:
    """Write down what a person says to a call that waits for approval; the run can then go on.

    `options` and `background` are how; None: as it began. Raises NotFound, TooLate if no such call
    waits, or Conflict if the run is held, or the request was made before.
    """

    def events(waiting: Call) -> tuple[Event, ...]:
        answered = ApprovalAnswered(waiting.id, approved, by, reason, options, background)
        if approved:
            return (answered,)
        message = f"Error: not allowed by {by}" + (f": {reason}" if reason else "")
        return answered, ToolFailed(waiting.id, waiting.tool, "denied", message)

    await _say(services, run, call, "asked", events, request)


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

    `result` is what the model reads of a call that is "done". Raises NotFound, or TooLate if
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
    """End a run, whoever holds it; returns what has become of it.

    That is "running" while another one who cancels it is about to write its end. Nothing else is
    committed for it after this. Raises NotFound, and StepUnderWay if a step's transaction takes
    longer than a lock is waited for: cancelling works after the step.
    """
    with suppress(Conflict, StaleRun):
        if await _ask_cancel(services, run):
            async with _held(services, run) as driven:
                ended = _cancelled(services, driven.thread)
                return (await _written(services, driven, ended, "cancelled")).status
    return (await retry_unavailable(lambda: services.store.run(run))).status


async def _ask_cancel(services: Services, run: RunId) -> bool:
    try:
        return await retry_unavailable(lambda: services.store.ask_cancel(run))
    except StoreUnavailable as error:
        raise await reason_of(services, run, error) from error


async def delete_thread(services: Services, thread: ThreadId) -> None:
    """Hide a thread, and ask for the end of what is under way on it.

    Raises NotFound, and StepUnderWay as `cancel` does.
    """
    try:
        await services.store.delete_thread(thread)
    except StoreUnavailable as error:
        raise await reason_of_thread(services, thread, error) from error


async def give_up(services: Services, run: RunId, error: str) -> None:
    """End a run as failed that a service's failure has stopped, for whoever waits for it.

    A call that may have happened is left to a person. Raises NotFound, Conflict if another process
    goes on with the run, or it is over or waits, and CancelAsked if it is to be cancelled.
    """
    async with _held(services, run) as driven:
        if driven.thread.waits:
            raise Conflict(f"run {run} waits for a person")
        call = _doubtful(services, driven.thread)
        if call is None:
            events: tuple[Event, ...] = (RunFinished("failed", "unavailable", error),)
            await _written(services, driven, events, "failed", error=error)
        else:
            await _written(services, driven, (OutcomeUnknown(call.id, call.tool),), "waiting")


def _cancelled(services: Services, thread: Thread) -> tuple[Event, ...]:
    """The end of a run; the journal keeps that a call may have happened, and nobody is asked."""
    call = _doubtful(services, thread)
    unknown = (OutcomeUnknown(call.id, call.tool, final=True),) if call else ()
    return *unknown, RunFinished("cancelled", "cancelled")


def _doubtful(services: Services, thread: Thread) -> Call | None:
    """The call that may have happened, where a process has let go of the run in mid-call."""
    workflow = services.workflows.get(thread.workflow)
    return in_doubt(thread, workflow, services.limits) if workflow and thread.interrupted else None


def _kept(event: Said) -> tuple[Said, int]:
    """What somebody said as the journal will give it back, and its length there in bytes.

    Raises RequestError if the journal cannot keep it.
    """
    try:
        kind, version, body = encode(event)
        kept = cast("Said", decode(kind, version, body))
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise RequestError(f"the input cannot be kept as text: {error}") from error
    except StoreRefused as error:
        raise RequestError(f"the input is no list of items: {error.__cause__}") from error
    size = size_of(body)
    if size > INPUT_BYTES:
        raise RequestError(f"the input is {size} bytes long; {INPUT_BYTES} is the most")
    # The caller's own where it is the same: of a long input no second copy stays.
    return (event if event == kept else kept), size


async def _say(
    services: Services,
    run: RunId,
    call: CallId | None,
    state: CallState,
    events: Callable[[Call], tuple[Event, ...]],
    request: IdempotentRequest | None = None,
) -> None:
    """Append what a person said of a waiting call, and leave the run for anyone to go on with."""
    async with _held(services, run) as driven:
        waiting = [
            one for one in driven.thread.pending if one.state == state and call in (None, one.id)
        ]
        if not waiting:
            raise TooLate(_nothing_waits(run, driven.thread.pending, call, state))
        said = [_kept(event)[0] for event in events(waiting[0])]
        try:
            await _written(services, driven, said, "queued", request=request)
        except (CancelAsked, DuplicateRow, StaleRun) as error:
            raise Conflict(str(error)) from error


def _nothing_waits(
    run: RunId, pending: Iterable[Call], call: CallId | None, state: CallState
) -> str:
    wanted = "approval" if state == "asked" else "settling"
    if waiting := [one.id for one in pending if one.state == state]:
        return f"run {run} has no call {call} that waits for {wanted}; {', '.join(waiting)} does"
    return f"run {run} has no call that waits for {wanted}"


@asynccontextmanager
async def _held(services: Services, run: RunId) -> AsyncIterator[HeldRun]:
    """A run in this process's hands for one commit; given back as it was if that fails."""
    driven = await take(services, run)
    try:
        yield driven
    except BaseException:
        await give_back(services, driven)
        raise


async def give_back(services: Services, driven: HeldRun) -> None:
    """Give a claim back that is not used. If the run was to be cancelled meanwhile, end it.

    Who asked for that found it held, and may have left its end to the holder.
    """
    status: Literal["queued", "waiting"] = "waiting" if driven.thread.waits else "queued"
    release = services.store.release
    with suppress(ServiceFault, RequestError):
        asked = await run_uninterrupted(
            release(driven.lease, status=status, in_doubt=driven.thread.interrupted),
            services.exit_limit,
        )
        # The holder that was told before has tried to end it already.
        if asked and not driven.cancel_asked:
            await cancel(services, driven.run)


async def _written(
    services: Services, driven: HeldRun, events: Sequence[Event], status: RunStatus, **how: Any
) -> HeldRun:
    return await write(services, driven, NullListener(), events, status, timeout_s=None, **how)
