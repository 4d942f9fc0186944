"""What waits in the outbox, as the operator sees it: never what a letter says."""

from typing import Any, Literal

from twelvefold.core.ports import OutboxMessage

LetterState = Literal["waiting", "sent", "dead"]


def state_of(letter: OutboxMessage) -> LetterState:
    """Where a letter is. "dead": nobody tries it again unless told."""
    if letter.sent_at_us is not None:
        return "sent"
    return "waiting" if letter.dead_at_us is None else "dead"


def facts(letter: OutboxMessage) -> dict[str, Any]:
    """All that is known of a letter but its text. Times are microseconds since 1970."""
    return {
        "id": letter.id,
        "state": state_of(letter),
        "kind": letter.kind,
        "thread": f"conv_{letter.thread}" if letter.thread else "",
        "to": str(letter.body.get("to", "")),
        "subject": str(letter.body.get("subject", "")),
        "attempts": letter.attempts,
        "due_at_us": letter.due_at_us,
        "sent_at_us": letter.sent_at_us,
        "dead_at_us": letter.dead_at_us,
        "error": letter.error,
    }
