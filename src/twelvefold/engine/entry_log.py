"""The log lines of journal entries."""

from collections.abc import Sequence

from twelvefold.core import (
    KINDS,
    Entry,
    Event,
    ModelReplied,
    RunFinished,
    RunId,
    RunStarted,
    ToolFailed,
)
from twelvefold.observe.log import get_logger

log = get_logger(__name__)


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_LOG_NAMES = {kind: _snake_case(name) for (name, _), kind in KINDS.items()}


def log_entries(run: RunId, entries: Sequence[Entry]) -> None:
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
