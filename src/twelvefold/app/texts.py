"""Messages as text, and text as messages, in the format of the Responses API."""

from collections.abc import Iterable, Sequence

from twelvefold.core import Entry, Item, ModelReplied, abbreviate
from twelvefold.errors import RequestError


def user_message(text: str) -> Item:
    """Return a user message. Raises RequestError if it is no text, or empty."""
    if not isinstance(text, str):
        raise RequestError(f"the message is {abbreviate(text)}; pass a text")
    if not text.strip():
        raise RequestError("the message is empty; pass a text")
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def item_text(item: Item) -> str:
    """Return the text of a message item, refusals included.

    Source: the content parts of a message in the Responses API; content may be plain text.
    """
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def messages_text(items: Iterable[Item]) -> str:
    """Return the text of all messages among the items."""
    messages = (item_text(item) for item in items if item.get("type", "message") == "message")
    return "\n".join(text for text in messages if text)


def last_answer(entries: Sequence[Entry]) -> str:
    """Return the text of the model's last reply among the entries of a run.

    "" if the text is no valid output.
    """
    for entry in reversed(entries):
        if isinstance(entry.event, ModelReplied):
            return "" if entry.event.problems else messages_text(entry.event.items)
    return ""
