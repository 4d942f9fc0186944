"""What a run did, why it failed and what it waits for, as the objects of `/v1/admin`."""

from collections.abc import Iterable, Sequence

from twelvefold.core import Call, Entry, RunFinished, RunId, RunRecord, ToolFailed, WaitStarted
from twelvefold.core.answers import question_of
from twelvefold.core.timeline import Span
from twelvefold.web.ids import approval_id, conversation_id, question_id
from twelvefold.web.projection.admin_runs import MICRO
from twelvefold.web.schemas import Json

MAX_FAULTS = 5
"""Exceptions of tools that a failed run shows."""


def span_object(span: Span) -> Json:
    """Return one part of a timeline."""
    return {
        "kind": span.kind,
        "name": span.name,
        "started_at": span.started_us / MICRO,
        "ended_at": None if span.ended_us is None else span.ended_us / MICRO,
        "status": span.status,
        "input_tokens": span.input_tokens,
        "output_tokens": span.output_tokens,
        "attempts": span.attempts,
        "call_id": span.call,
        "position": span.position,
    }


def failure_object(record: RunRecord, entries: Iterable[Entry]) -> Json | None:
    """Return why a run failed, with the last exceptions of its tools; None if it did not."""
    if record.status != "failed":
        return None
    reason, faults = "", []
    for entry in entries:
        if isinstance(event := entry.event, RunFinished):
            reason = event.reason
        elif isinstance(event, ToolFailed) and event.error:
            faults.append(_fault(entry, event))
    return {"reason": reason, "error": record.error, "tool_errors": faults[-MAX_FAULTS:]}


def _fault(entry: Entry, failed: ToolFailed) -> Json:
    error = failed.error
    return {
        "tool": failed.tool,
        "call_id": failed.call,
        "position": entry.position,
        "type": error.type if error else "",
        "message": error.message if error else "",
        "file": error.file if error else "",
        "line": error.line if error else 0,
    }


def open_call(run: RunId, workflow: str, principal: str, call: Call, asked_us: int) -> Json:
    """Return a call that waits for a person. `principal` is that of its run."""
    question = question_of(call)
    kind = "question" if question else "approval" if call.state == "asked" else "unknown"
    expires_us = question.until_us if question else call.expires_us
    return {
        "id": _open_id(run, call, question),
        "kind": kind,
        "run": str(run),
        "thread": conversation_id(run.thread),
        "workflow": workflow,
        "principal": principal,
        "person": (question.person if question else "") or principal,
        "call_id": call.id,
        "tool": call.tool,
        "arguments": call.shown_arguments,
        "question": question.question if question else None,
        "schema": question.schema if question else None,
        "asked_at": asked_us / MICRO,
        "expires_at": expires_us / MICRO if expires_us else None,
    }


def _open_id(run: RunId, call: Call, question: WaitStarted | None) -> str | None:
    if question:
        return question_id(run.thread, call.id)
    return approval_id(run.thread, call.id) if call.state == "asked" else None


def actions_of(record: RunRecord, waiting: Sequence[Json], *, is_child: bool) -> list[str]:
    """Return what an operator can do with a run now."""
    is_over = record.finished_at_us is not None
    kinds = {one["kind"] for one in waiting}
    is_last = record.last_position is None
    can = {
        "cancel": not is_over,
        "retry": is_over and record.status != "completed" and is_last and not is_child,
        "resume": "approval" in kinds,
        "answer": "question" in kinds,
        "settle": "unknown" in kinds,
        "fork": not is_child,
    }
    return [action for action, possible in can.items() if possible]
