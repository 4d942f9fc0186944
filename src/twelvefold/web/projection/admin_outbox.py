"""Messages of the outbox as the objects of `/v1/admin`."""

from twelvefold.core import MessageState, OutboxMessage, ThreadId
from twelvefold.web.ids import conversation_id
from twelvefold.web.projection.admin_runs import MICRO
from twelvefold.web.schemas import Json


def admin_message(message: OutboxMessage) -> Json:
    """Return all that is known of a message except its text."""
    return {
        "id": message.id,
        "object": "admin.message",
        "state": _state_of(message),
        "kind": message.kind,
        "thread": conversation_id(ThreadId(message.thread)) if message.thread else None,
        "to": str(message.body.get("to", "")),
        "subject": str(message.body.get("subject", "")),
        "attempts": message.attempts,
        "due_at": message.due_at_us / MICRO,
        "sent_at": _seconds(message.sent_at_us),
        "dead_at": _seconds(message.dead_at_us),
        "error": message.error,
    }


def _state_of(message: OutboxMessage) -> MessageState:
    if message.sent_at_us is not None:
        return "sent"
    if message.dead_at_us is not None:
        return "dead"
    return "failed" if message.error else "due"


def _seconds(at_us: int | None) -> float | None:
    return None if at_us is None else at_us / MICRO
