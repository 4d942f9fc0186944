"""Lists of conversations: whether a thread is listed, and its title."""

from collections.abc import Iterable

from twelvefold.core.events import Event, Item, ItemsAdded, RunStarted

TITLE_CHARS = 80


def is_listed(first: Event | None) -> bool:
    """Return whether a thread may be listed and opened; `first` is the first entry of its own.

    False if it began with a turn that was requested with `store: false` outside a conversation.
    """
    if not isinstance(first, RunStarted):
        return True
    return first.options.store or first.options.conversation


def title_of(event: Event) -> str:
    """Return the title that an entry gives its thread; "" if it has no text of a user."""
    if not isinstance(event, RunStarted | ItemsAdded):
        return ""
    return title_of_items(event.items)


def title_of_items(items: Iterable[Item]) -> str:
    """Return the text of the first user message with text, in one line of `TITLE_CHARS` or less."""
    texts = (_text(item) for item in items if item.get("role") == "user")
    text = next(filter(None, texts), "")
    return text if len(text) <= TITLE_CHARS else f"{text[: TITLE_CHARS - 1]}…"


def _text(item: Item) -> str:
    content = item.get("content") or ""
    parts = [content] if isinstance(content, str) else [_text_of(part) for part in content]
    return " ".join(" ".join(parts).split())


def _text_of(part: Item) -> str:
    return str(part.get("text") or "")
