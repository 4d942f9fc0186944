"""How a conversation is listed: whether it is at all, and under which title."""

from collections.abc import Iterable

from twelvefold.core.events import Event, Item, ItemsAdded, RunStarted

TITLE_CHARS = 80


def is_listed(first: Event | None) -> bool:
    """Whether a thread is listed and opened, by the first entry of its own; None: it has none.

    It is not if it began with a turn that was not to be kept, outside any conversation.
    """
    if not isinstance(first, RunStarted):
        return True
    return first.options.store or first.options.conversation


def title_of(event: Event) -> str:
    """What a user says first in an entry, in one line; "" for an entry without such words."""
    if not isinstance(event, RunStarted | ItemsAdded):
        return ""
    return title_of_items(event.items)


def title_of_items(items: Iterable[Item]) -> str:
    """The text of the first user message that has any, in one line of bounded length."""
    texts = (_text(item) for item in items if item.get("role") == "user")
    text = next(filter(None, texts), "")
    return text if len(text) <= TITLE_CHARS else f"{text[: TITLE_CHARS - 1]}…"


def _text(item: Item) -> str:
    content = item.get("content") or ""
    parts = [content] if isinstance(content, str) else [_text_of(part) for part in content]
    return " ".join(" ".join(parts).split())


def _text_of(part: Item) -> str:
    return str(part.get("text") or "")
