"""The transactions of a run's steps.

A transaction is retried until it is committed, then reported to the listener. A COMMIT whose answer
was lost may have happened; the journal shows whether it did.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

from msgspec import structs

from twelvefold.core import (
    OVER,
    Append,
    ApprovalAsked,
    Entry,
    Event,
    IdempotentRequest,
    Listener,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    RunId,
    RunStatus,
    StepTransaction,
    Usage,
    WaitCondition,
    WaitEnded,
    encode,
)
from twelvefold.core.answers import question_of
from twelvefold.core.children import runs_to_cancel
from twelvefold.core.ports.run_records import NO_CONDITION
from twelvefold.engine.held_run import NO_USAGE, HeldRun, apply_entries, held_trace
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.new_children import NewChild, notify_started, start_children
from twelvefold.engine.services import Services
from twelvefold.engine.traces import decision_of
from twelvefold.engine.uninterrupted import run_uninterrupted
from twelvefold.engine.waiting_calls import needs_person
from twelvefold.errors import StaleRun

Body = Callable[[StepTransaction], Awaitable[Sequence[Event]]]
"""The work of a step inside its transaction; it returns as many entries as were announced."""


async def write(
    services: Services,
    held: HeldRun,
    listener: Listener,
    events: Sequence[Event],
    status: RunStatus = "running",
    *,
    error: str = "",
    timeout_s: float | None = math.inf,
    request: IdempotentRequest | None = None,
    wait: WaitCondition = NO_CONDITION,
    children: Sequence[NewChild] = (),
    asks: bool = False,
) -> HeldRun:
    """Append entries that are known already, and set the status of the run that follows from them.

    `children` are started in the same commit. `asks`: a run below this one needs a person, so the
    commit wakes the parent; it does so as well if this run waits for a person. Children whose
    result no call needs any more are cancelled: their cancel request is in the same commit.

    Raises as `append` does, StoreUnavailable when the database is unavailable for longer than
    `timeout_s` (None: as `Timings` says), and DuplicateRow if `request` was made before.
    """

    async def body(tx: StepTransaction) -> Sequence[Event]:
        if children:
            start_children(tx, children)
        return events

    replies = [event for event in events if isinstance(event, ModelReplied)]
    change = structs.replace(
        _build_append(services, held, len(events), replies, status, _usage_of_children(events)),
        cancels=runs_to_cancel(held.thread, events, status) if held.thread.parent_calls else (),
        error=error,
        request=request,
        wait=wait,
        asks=status == "waiting" and (asks or _needs_person(held, events)),
        closes_deltas=held.thread.options.stream and not replies and _ends_run(events),
        closes_questions=_ends_run(events) and any(map(question_of, held.thread.pending)),
    )
    held = await _append(services, held, listener, change, body, timeout_s)
    if children:
        notify_started(services, children)
    return structs.replace(held, cancelled=change.cancels) if change.cancels else held


def _needs_person(held: HeldRun, events: Sequence[Event]) -> bool:
    """Return whether a run that another one has started needs a person after these entries."""
    if not held.thread.parent:
        return False
    asked = any(isinstance(event, ApprovalAsked | OutcomeUnknown) for event in events)
    return asked or any(map(needs_person, held.thread.pending))


def _usage_of_children(events: Iterable[Event]) -> Usage:
    return sum((one.usage for one in events if isinstance(one, WaitEnded)), NO_USAGE)


def _ends_run(events: Sequence[Event]) -> bool:
    return any(isinstance(event, RunFinished) for event in events)


async def append(
    services: Services,
    held: HeldRun,
    listener: Listener,
    adds: int,
    body: Body,
    replies: Sequence[ModelReplied] = (),
) -> HeldRun:
    """Run a step's body in its transaction, commit, and notify the listener.

    `adds` is how many entries the body returns, `replies` those of them that are the model's.
    Retries while the database is unavailable or requests a retry; the run's deadline ends that.
    Raises StaleRun, LeaseLost, CancelAsked, StoreFailed, TooLarge and what the body raises; nothing
    is written then.
    """
    change = _build_append(services, held, adds, replies)
    return await _append(services, held, listener, change, body, math.inf)


def _build_append(
    services: Services,
    held: HeldRun,
    adds: int,
    replies: Sequence[ModelReplied],
    status: RunStatus = "running",
    of_children: Usage = NO_USAGE,
) -> Append:
    trace = held_trace(services, held)
    has_cost = bool(replies) or status != "running" or of_children != NO_USAGE
    return Append(
        held.lease,
        held.thread.head,
        adds,
        status,
        usage=held.thread.usage + held.unrecorded.usage + of_children if has_cost else None,
        first_delta=sum(reply.first_delta for reply in replies),
        lease_s=services.limits.lease_s,
        size=held.thread.size,
        parent=RunId.parse(held.thread.parent) if held.thread.parent else None,
        principal=held.thread.principal,
        workflow=held.thread.workflow,
        traced=bool(trace.is_sampled if trace else decision_of(held.thread)),
    )


async def catch_up(services: Services, held: HeldRun, listener: Listener) -> HeldRun:
    """Return the run as the journal has it: a step that was interrupted may have been committed."""
    record = await services.retry(lambda: services.store.load(held.run.thread), math.inf)
    missed = [
        entry
        for entry in record.entries
        if entry.position > held.thread.head and entry.run == held.run.ordinal
    ]
    total = held.unrecorded_total()
    if trace := held_trace(services, held):
        trace.record(missed)
    current = apply_entries(held, missed, listener)
    # The commit that recorded the reply also recorded the usage that was unrecorded before it.
    has_reply = any(isinstance(entry.event, ModelReplied) for entry in missed)
    return _with_usage(current, total) if has_reply and total else current


async def _append(
    services: Services,
    held: HeldRun,
    listener: Listener,
    change: Append,
    body: Body,
    timeout_s: float | None,
) -> HeldRun:
    tried: list[Sequence[Event]] = []
    trace = held_trace(services, held)
    entries = await services.retry(
        lambda: _commit_once(services, held.held_lease, change, body, tried), timeout_s
    )
    held.unrecorded.outcome = None
    current = apply_entries(held, entries, listener)
    if trace:
        trace.record(entries)
        if change.status != "running":
            trace.rest(change.head + change.adds)
    _notify_parent(services, held, change)
    current = structs.replace(current, status=change.status, claimed=False)
    return current if change.usage is None else _with_usage(current, change.usage)


def _notify_parent(services: Services, held: HeldRun, change: Append) -> None:
    """Notify workers of the parent of a run, which the commit has queued."""
    ancestry = held.thread.ancestry
    if ancestry is not None and (change.status in OVER or change.asks):
        services.wake_ups.run_queued(ancestry.workflow)


def _with_usage(held: HeldRun, usage: Usage) -> HeldRun:
    """Return the run once its row has this usage, which may exceed that of its entries."""
    held.unrecorded.usage = NO_USAGE
    return structs.replace(held, thread=structs.replace(held.thread, usage=usage))


async def _commit_once(
    services: Services,
    lease: HeldLease,
    change: Append,
    body: Body,
    tried: list[Sequence[Event]],
) -> Sequence[Entry]:
    """Try the transaction once. Returns the entries of an earlier try if that was committed."""
    earlier = tuple(tried)
    try:
        return await run_uninterrupted(
            _run_transaction(services, lease, change, body, tried), services.exit_limit
        )
    except StaleRun:
        entries = await _find_committed(services, change, earlier)
        if not entries:
            raise
        return entries


async def _run_transaction(
    services: Services,
    lease: HeldLease,
    change: Append,
    body: Body,
    tried: list[Sequence[Event]],
) -> Sequence[Entry]:
    """Run the transaction. Adds to `tried` what it may have committed, whatever the answer is."""
    try:
        async with services.store.append(change) as tx:
            lease.step = tx
            events = await body(tx)
            entries = await tx.record(events)
            tried.append(events)
    finally:
        lease.step = None
    if tx.mails:
        services.wake_ups.mail_queued()
    for workflow in tx.signalled:
        services.wake_ups.run_queued(workflow)
    return entries


async def _find_committed(
    services: Services, change: Append, tried: Sequence[Sequence[Event]]
) -> Sequence[Entry]:
    """Return the entries of an earlier try that was interrupted at COMMIT but did commit."""
    if not tried:
        return ()
    record = await services.store.load(change.lease.run.thread)
    entries = [entry for entry in record.entries if entry.position > change.head]
    found = [encode(entry.event) for entry in entries]
    for events in tried:
        # Another process may have appended more after them.
        if found[: len(events)] == [encode(one) for one in events]:
            return entries[: len(events)]
    return ()
