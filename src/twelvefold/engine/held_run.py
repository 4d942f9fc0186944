"""A run that this process holds: its lease, its thread, and the log lines of its entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from msgspec import structs

from twelvefold.core import (
    KINDS,
    Entry,
    Event,
    Lease,
    Listener,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    RunId,
    RunStarted,
    RunStatus,
    Thread,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitStarted,
    encode,
    size_of,
)
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.services import Services
from twelvefold.engine.traces import HeldTrace
from twelvefold.observe import metrics
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
NO_USAGE = Usage()
Timed = TypeVar("Timed", bound=ModelReplied | ToolSucceeded | ToolFailed | WaitStarted)
CallOutcome = ToolSucceeded | ToolFailed | OutcomeUnknown | WaitStarted
"""The result of a call, as an event; its result may come later."""


@dataclass(slots=True)
class Unrecorded:
    """The facts about a run in this process that no commit has recorded yet.

    `usage` of replies that were received; `outcome` of a call with an effect outside the database.
    `model_calls` counts the model calls under budgets; with `has_lost_call` one of them may have
    been interrupted, and is not charged yet.
    `trace` has the spans of the run, where traces are on.
    """

    usage: Usage = NO_USAGE
    outcome: CallOutcome | None = None
    model_calls: int = 0
    has_lost_call: bool = False
    trace: HeldTrace | None = None


class HeldRun(msgspec.Struct, frozen=True):
    """A run whose lease this process holds.

    `claimed`: it was taken from the queue and this process has committed nothing yet, so a process
    that held it before may not know that its lease is lost. `cancel_asked`: it was claimed to be
    cancelled. `attempts`: how often it was claimed since its last entry, this time included; 0 if
    it was started here. `unrecorded` is shared by all later values of the run. `drive_until` is
    when the drive must end, by `Services.monotonic`. `cancelled` are the children for which the
    last commit has requested a cancel.
    """

    run: RunId
    thread: Thread
    held_lease: HeldLease
    status: RunStatus = "running"
    claimed: bool = False
    cancel_asked: bool = False
    attempts: int = 0
    unrecorded: Unrecorded = msgspec.field(default_factory=Unrecorded)
    drive_until: float = 0.0
    cancelled: tuple[RunId, ...] = ()

    def unrecorded_total(self) -> Usage | None:
        """Return the usage of the whole run if the journal lacks some of it, else None."""
        usage = self.unrecorded.usage
        return self.thread.usage + usage if usage != NO_USAGE else None

    @property
    def lease(self) -> Lease:
        return self.held_lease.lease


def held_trace(services: Services, held: HeldRun) -> HeldTrace | None:
    """Return the spans of a run that this process holds; None where traces are off."""
    if services.traces is None:
        return None
    if held.unrecorded.trace is None:
        held.unrecorded.trace = services.traces.hold(held.run, held.thread)
    return held.unrecorded.trace


def apply_entries(
    held: HeldRun, entries: Sequence[Entry], listener: Listener | None = None
) -> HeldRun:
    """Return the run after these entries of the journal; log them and notify the listener."""
    _log_entries(held.run, entries)
    if listener:
        for entry in entries:
            listener.recorded(entry)
    thread = held.thread.after(*entries)
    if metrics.active is not None:
        metrics.active.recorded(thread.workflow, [entry.event for entry in entries])
    return structs.replace(held, thread=thread)


def with_duration(services: Services, event: Timed, began: float) -> Timed:
    """Return the entry with the time since `began`, by `Services.monotonic`.

    Unchanged until it is known that no older release reads the journal.
    """
    if not services.gate.was_open:
        return event
    return structs.replace(event, took_us=round((services.monotonic() - began) * 1_000_000))


def entry_of(held: HeldRun, replied: ModelReplied) -> Entry:
    """Return a reply as the journal will have it, but for its time."""
    _, _, body = encode(replied)
    return Entry(held.thread.head + 1, held.run.ordinal, replied, size_of(body))


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_LOG_NAMES = {kind: _snake_case(name) for (name, _), kind in KINDS.items()}


def _log_entries(run: RunId, entries: Sequence[Entry]) -> None:
    """Log entries of a run, each under the name of its event."""
    if not log.is_enabled("info"):
        return
    for entry in entries:
        name, fields = _LOG_NAMES[type(entry.event)], _log_fields(entry.event)
        log.info(name, run=str(run), position=entry.position, **fields)


def _log_fields(event: Event) -> dict[str, object]:
    """Return the log fields of an entry, without any prompt, argument, reply or result."""
    match event:
        case RunStarted(workflow=workflow):
            return {"workflow": workflow}
        case ModelReplied(usage=usage, model=model, problems=problems):
            fields: dict[str, object] = {
                "model": model,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
            }
            return fields | {"problems": len(problems)} if problems else fields
        case ToolFailed(failure="unknown_tool"):
            return {"failure": "unknown_tool"}  # the name is text that the model wrote
        case ToolFailed(tool=tool, failure=failure):
            return {"tool": tool, "failure": failure}
        case RunFinished(status=status, reason=reason):
            return {"status": status, "reason": reason}
        case _:
            tool = getattr(event, "tool", "")
            return {"tool": tool} if tool else {}
