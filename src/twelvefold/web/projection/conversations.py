"""The objects of the Conversations API, with the fields that the page needs."""

from twelvefold.core import OVER, LatestRun, ListedThread, ThreadHead
from twelvefold.web.ids import ResponseId, conversation_id
from twelvefold.web.schemas import Json


def conversation_object(head: ThreadHead) -> Json:
    """Return a conversation as the OpenAI API has it."""
    return {
        "id": conversation_id(head.id),
        "object": "conversation",
        "created_at": head.created_at_us // 1_000_000,
        "metadata": dict(head.metadata),
    }


def conversation_row(thread: ListedThread) -> Json:
    """Return a conversation as the list has it."""
    head, latest = thread.head, thread.latest
    source, position = head.forked_from, head.forked_at
    forked = {"id": conversation_id(source), "position": position} if source else None
    response = str(ResponseId(latest.run, latest.responses - 1)) if latest else None
    return conversation_object(head) | {
        "title": thread.title,
        "status": _status(latest) if latest else None,
        "response": response,
        "model": head.workflow or None,
        "forked_from": forked,
    }


def _status(run: LatestRun) -> str:
    """Return the status of a run; if it will be cancelled, "cancelled"."""
    return "cancelled" if run.cancel_asked and run.status not in OVER else run.status
