"""One step's transaction, whole: tried until it is through, told once it is.

A commit whose answer was lost may have happened; the journal says whether it did.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from msgspec import structs

from twelvefold.core.events import (
    KINDS,
    Entry,
    Event,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    Usage,
    encode,
)
from twelvefold.core.ids import RunId
from twelvefold.core.ports import (
    Append,
    IdempotentRequest,
    Lease,
    Listener,
    RunStatus,
    StepTransaction,
)
from twelvefold.core.thread import Thread
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.engine.shield import run_uninterrupted
from twelvefold.errors import StaleRun
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
NOTHING_SPENT = Usage()
CallOutcome = ToolSucceeded | ToolFailed | OutcomeUnknown
"""What a call has come to."""
Body = Callable[[StepTransaction], Awaitable[Sequence[Event]]]
"""What a step does inside its transaction; it returns the entries that were announced."""


@dataclass(slots=True)
class Unrecorded:
    """What this process knows of a run and no commit has recorded yet.

    `usage` of replies that were received; `outcome` of a call with an effect outside the database.
    """

    usage: Usage = NOTHING_SPENT
    outcome: CallOutcome | None = None


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run in this process's hands: what has happened, and the right to go on.

    `claimed`, until the first commit: another process may have been about it before, and may not
    know yet that it has lost it. `cancel_asked`: it was taken up to be ended. `attempts`: how often
    it was taken up since its last entry, this time included; 0 where it was started here.
    `unrecorded` is shared by all later values of the run.
    """

    run: RunId
    thread: Thread
    held: HeldLease
    status: RunStatus = "running"
    claimed: bool = False
    cancel_asked: bool = False
    attempts: int = 0
    unrecorded: Unrecorded = field(default_factory=Unrecorded)

    def unrecorded_total(self) -> Usage | None:
        """What the run has cost by now, if the journal lacks some of it; else None."""
        usage = self.unrecorded.usage
        return self.thread.usage + usage if usage != NOTHING_SPENT else None

    @property
    def lease(self) -> Lease:
        return self.held.lease


async def write(
    services: Services,
    driven: HeldRun,
    listener: Listener,
    events: Sequence[Event],
    status: RunStatus = "running",
    *,
    error: str = "",
    timeout_s: float | None = math.inf,
    request: IdempotentRequest | None = None,
) -> HeldRun:
    """Append entries that are known already, and what they make of the run.

    Raises as `append` does, StoreUnavailable when the database is away for longer than
    `patience_s`, and DuplicateRow if `request` was made before.
    """

    async def body(_: StepTransaction) -> Sequence[Event]:
        return events

    replies = [event for event in events if isinstance(event, ModelReplied)]
    change = replace(
        _change(services, driven, len(events), replies, status),
        error=error,
        request=request,
        principal=driven.thread.principal,
        closes_deltas=driven.thread.options.stream and not replies and _is_the_end(events),
    )
    return await _appended(services, driven, listener, change, body, timeout_s)


def _is_the_end(events: Sequence[Event]) -> bool:
    return any(isinstance(event, RunFinished) for event in events)


async def append(
    services: Services,
    driven: HeldRun,
    listener: Listener,
    adds: int,
    body: Body,
    lead: Sequence[ModelReplied] = (),
) -> HeldRun:
    """Run a step's body in its transaction, commit, and tell the listener; the run goes on.

    `lead` is the reply among the entries, if there is one. Retries while the database is away or
    asks for it; the run's deadline ends that. Raises StaleRun, LeaseLost, CancelAsked, StoreFailed,
    TooLarge and what the body raises; nothing is written then.
    """
    change = _change(services, driven, adds, lead)
    return await _appended(services, driven, listener, change, body, math.inf)


def _change(
    services: Services,
    driven: HeldRun,
    adds: int,
    replies: Sequence[ModelReplied],
    status: RunStatus = "running",
) -> Append:
    """So many entries, these replies among them."""
    has_cost = bool(replies) or status != "running"
    return Append(
        driven.lease,
        driven.thread.head,
        adds,
        status,
        usage=driven.thread.usage + driven.unrecorded.usage if has_cost else None,
        first_delta=sum(reply.first_delta for reply in replies),
        lease_s=services.limits.lease_s,
        size=driven.thread.size,
    )


async def caught_up(services: Services, driven: HeldRun, listener: Listener) -> HeldRun:
    """The run as the journal has it: a step that was cut off may have been committed after all."""
    record = await retry_unavailable(lambda: services.store.load(driven.run.thread), math.inf)
    missed = [
        entry
        for entry in record.entries
        if entry.position > driven.thread.head and entry.run == driven.run.ordinal
    ]
    total = driven.unrecorded_total()
    told = tell(driven, listener, missed)
    # The commit that recorded the reply recorded what had not been recorded before it, too.
    replied = any(isinstance(entry.event, ModelReplied) for entry in missed)
    return _recorded(told, total) if replied and total else told


async def _appended(
    services: Services,
    driven: HeldRun,
    listener: Listener,
    change: Append,
    body: Body,
    timeout_s: float | None,
) -> HeldRun:
    tried: list[Sequence[Event]] = []
    entries = await retry_unavailable(
        lambda: _committed(services, driven.held, change, body, tried),
        timeout_s,
        services.limits.retry_timeout_s,
    )
    driven.unrecorded.outcome = None
    told = replace(tell(driven, listener, entries), status=change.status, claimed=False)
    return told if change.usage is None else _recorded(told, change.usage)


def _recorded(driven: HeldRun, usage: Usage) -> HeldRun:
    """The run once its row has this usage, which may be more than its entries have."""
    driven.unrecorded.usage = NOTHING_SPENT
    return replace(driven, thread=structs.replace(driven.thread, usage=usage))


async def _committed(
    services: Services,
    held: HeldLease,
    change: Append,
    body: Body,
    tried: list[Sequence[Event]],
) -> Sequence[Entry]:
    try:
        return await run_uninterrupted(
            _commit(services, held, change, body, tried), services.exit_limit
        )
    except StaleRun:
        entries = await _went_through(services, change, tried)
        if not entries:
            raise
        return entries


async def _commit(
    services: Services,
    held: HeldLease,
    change: Append,
    body: Body,
    tried: list[Sequence[Event]],
) -> Sequence[Entry]:
    """One try at the transaction; `tried` gets what it may have committed, whatever we hear."""
    try:
        async with services.store.append(change) as tx:
            held.in_step = True
            events = await body(tx)
            entries = await tx.record(events)
            tried.append(events)
    finally:
        held.in_step = False
    return entries


async def _went_through(
    services: Services, change: Append, tried: Sequence[Sequence[Event]]
) -> Sequence[Entry]:
    """The entries of an earlier try that was cut off at its COMMIT, if it was done after all."""
    if not tried:
        return ()
    record = await services.store.load(change.lease.run.thread)
    entries = [entry for entry in record.entries if entry.position > change.head]
    found = [encode(entry.event) for entry in entries]
    for events in tried:
        # Others may have gone on behind them.
        if found[: len(events)] == [encode(one) for one in events]:
            return entries[: len(events)]
    return ()


def tell(driven: HeldRun, listener: Listener, entries: Sequence[Entry]) -> HeldRun:
    """The run once the journal has these too; the log and the listener hear of them."""
    for entry in entries:
        log.info(
            _NAMES[type(entry.event)],
            run=str(driven.run),
            position=entry.position,
            **_facts(entry.event),
        )
        listener.recorded(entry)
    return replace(driven, thread=driven.thread.after(*entries))


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_NAMES = {kind: _snake(name) for (name, _), kind in KINDS.items()}


def _facts(event: Event) -> dict[str, object]:
    """What the log says of an entry: never what was said, asked or answered."""
    match event:
        case RunStarted(workflow=workflow):
            return {"workflow": workflow}
        case ModelReplied(usage=usage, model=model):
            return {
                "model": model,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
            }
        case ToolFailed(failure="unknown_tool"):
            return {"failure": "unknown_tool"}  # the name is the model's own word
        case ToolFailed(tool=tool, failure=failure):
            return {"tool": tool, "failure": failure}
        case RunFinished(status=status, reason=reason):
            return {"status": status, "reason": reason}
        case _:
            tool = getattr(event, "tool", "")
            return {"tool": tool} if tool else {}
