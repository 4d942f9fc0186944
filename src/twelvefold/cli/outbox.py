"""`twelvefold outbox`: list mail and retry it. Never prints the text of a message."""

from collections.abc import Sequence
from typing import Any, Literal

from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import abbreviate, format_time, print_json, print_list
from twelvefold.core import OutboxMessage

MessageState = Literal["waiting", "sent", "dead"]


@command()
async def list_messages(
    context: CommandContext, *, state: MessageState | None, limit: int, as_json: bool
) -> int:
    """Print the newest messages."""
    messages = await context.services.store.messages(limit=limit, state=state)
    if as_json:
        for message in messages:
            print_json(_message_json(message))
    else:
        heads = ("ID", "STATE", "TO", "SUBJECT", "ATTEMPTS", "SENT OR DUE (UTC)", "ERROR")
        print_list(heads, map(_message_cells, messages), empty="no messages found")
    return DONE


def _message_json(message: OutboxMessage) -> dict[str, Any]:
    """Return all that is known of a message except its text. Times are microseconds since 1970."""
    return {
        "id": message.id,
        "state": _state_of(message),
        "kind": message.kind,
        "thread": f"conv_{message.thread}" if message.thread else "",
        "to": str(message.body.get("to", "")),
        "subject": str(message.body.get("subject", "")),
        "attempts": message.attempts,
        "due_at_us": message.due_at_us,
        "sent_at_us": message.sent_at_us,
        "dead_at_us": message.dead_at_us,
        "error": message.error,
    }


def _message_cells(message: OutboxMessage) -> Sequence[str]:
    fields, state = _message_json(message), _state_of(message)
    at_us = {"sent": message.sent_at_us, "waiting": message.due_at_us, "dead": None}[state]
    return (
        message.id,
        state,
        abbreviate(fields["to"], 40),
        abbreviate(fields["subject"], 40),
        str(message.attempts),
        format_time(at_us),
        abbreviate(message.error, 60),
    )


def _state_of(message: OutboxMessage) -> MessageState:
    """Return a message's state; "dead" means that no worker retries it."""
    if message.sent_at_us is not None:
        return "sent"
    return "waiting" if message.dead_at_us is None else "dead"


@command()
async def retry(context: CommandContext, *, ids: Sequence[str], dead: bool) -> int:
    """Make messages due now, these or all dead ones. A worker sends them."""
    if dead:
        print(f"{await context.services.store.retry_dead()} dead messages are due now")
    for id in ids:
        await context.services.store.retry_message(id)
        print(f"{id} is due now")
    context.services.wake_ups.mail_queued()
    if not context.settings.smtp_url:
        print("SMTP_URL is not set here; a worker with SMTP_URL sends messages that are due")
    return DONE
