"""A run that this process holds: its lease, and its thread as the journal has it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

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
)
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Lease, Listener, RunStatus
from twelvefold.core.thread import Thread
from twelvefold.engine.lease import HeldLease
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
NO_USAGE = Usage()
CallOutcome = ToolSucceeded | ToolFailed | OutcomeUnknown
"""The result of a call, as an event."""


@dataclass(slots=True)
class Unrecorded:
    """What this process knows of a run and no commit has recorded yet.

    `usage` of replies that were received; `outcome` of a call with an effect outside the database.
    """

    usage: Usage = NO_USAGE
    outcome: CallOutcome | None = None


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run whose lease this process holds.

    `claimed`: it was taken from the queue and this process has committed nothing yet, so a process
    that held it before may not know that its lease is lost. `cancel_asked`: it was claimed to be
    cancelled. `attempts`: how often it was claimed since its last entry, this time included; 0 if
    it was started here. `unrecorded` is shared by all later values of the run.
    """

    run: RunId
    thread: Thread
    held_lease: HeldLease
    status: RunStatus = "running"
    claimed: bool = False
    cancel_asked: bool = False
    attempts: int = 0
    unrecorded: Unrecorded = field(default_factory=Unrecorded)

    def unrecorded_total(self) -> Usage | None:
        """Return the usage of the whole run if the journal lacks some of it, else None."""
        usage = self.unrecorded.usage
        return self.thread.usage + usage if usage != NO_USAGE else None

    @property
    def lease(self) -> Lease:
        return self.held_lease.lease


def apply_entries(held: HeldRun, listener: Listener, entries: Sequence[Entry]) -> HeldRun:
    """Return the run after these entries of the journal; log them and notify the listener."""
    for entry in entries:
        log.info(
            _LOG_NAMES[type(entry.event)],
            run=str(held.run),
            position=entry.position,
            **_log_fields(entry.event),
        )
        listener.recorded(entry)
    return replace(held, thread=held.thread.after(*entries))


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_LOG_NAMES = {kind: _snake_case(name) for (name, _), kind in KINDS.items()}


def _log_fields(event: Event) -> dict[str, object]:
    """Return the log fields of an entry, without any prompt, argument, reply or result."""
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
            return {"failure": "unknown_tool"}  # the name is text that the model wrote
        case ToolFailed(tool=tool, failure=failure):
            return {"tool": tool, "failure": failure}
        case RunFinished(status=status, reason=reason):
            return {"status": status, "reason": reason}
        case _:
            tool = getattr(event, "tool", "")
            return {"tool": tool} if tool else {}
