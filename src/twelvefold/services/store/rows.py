"""The rows of entries and of new runs.

From its entries a thread has its title, and whether it is listed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from twelvefold.core import (
    Entry,
    Event,
    Item,
    ItemsAdded,
    NewRun,
    RunId,
    RunStarted,
    ThreadId,
    decode,
    encode,
    size_of,
)
from twelvefold.errors import StoreRefused
from twelvefold.services.store.connection import Connection

SECOND_US = 1_000_000
HEAD_START_S = 60
"""How much longer than it did a queued run seems to have waited, for each step of its priority."""
TITLE_CHARS = 80


def encode_event(event: Event) -> tuple[str, int, str]:
    """Return the event as (type, version, body). Raises StoreRefused if its text is not Unicode."""
    try:
        return encode(event)
    except UnicodeEncodeError:
        raise StoreRefused(
            f"a {type(event).__name__} holds half of a surrogate pair, which is no text"
        ) from None


def run_values(new: NewRun, lease_s: float | None) -> dict[str, Any]:
    """Return the parameters of `insert_run`; a run without a lease is queued."""
    return {
        "thread": new.run.thread,
        "ordinal": new.run.ordinal,
        "status": "queued" if lease_s is None else "running",
        "token": "" if lease_s is None else new.token,
        "lease_us": _head_start_us(new) if lease_s is None else int(lease_s * SECOND_US),
        "background": int(new.background),
        "idempotency_key": new.token,
        "release": new.release,
        "workflow": new.workflow,
        "principal": new.principal,
        "began": new.thread_head + 1,
        "key_id": new.key_id or None,
        "priority": new.priority or None,
    }


def _head_start_us(new: NewRun) -> int:
    """Return when a queued run seems to have been queued, as microseconds from now.

    Runs are taken in the order of that time, so one that waits for longer than another one's head
    start goes first: no run starves, and no process has to update waiting runs as they age.
    """
    return -new.priority * HEAD_START_S * SECOND_US


def start_child(
    db: Connection,
    sql: Mapping[str, str],
    parent: RunId,
    new: NewRun,
    started: RunStarted,
    at_us: int,
) -> None:
    """Send the rows of a queued run on a hidden thread of its own with the next statement.

    Raises StoreRefused if its first entry is no text.
    """
    kind, version, body = encode_event(started)
    thread: dict[str, Any] = {"thread": new.run.thread, "size": size_of(body)}
    thread |= {"principal": new.principal, "workflow": new.workflow}
    thread |= {"parent_thread": parent.thread, "parent_run": parent.ordinal}
    db.defer(sql["insert_child_thread"], thread)
    db.defer(sql["insert_run"], run_values(new, None))
    entry: dict[str, Any] = {"thread": new.run.thread, "run": new.run.ordinal, "at_us": at_us}
    entry |= {"position": 1, "type": kind, "version": version, "body": body}
    db.defer(sql["insert_event"], entry)


def new_entry(
    thread: ThreadId, position: int, run: int, event: Event, at_us: int
) -> tuple[Entry, dict[str, Any]]:
    """Return an entry and the parameters of `insert_event`. Raises StoreRefused."""
    kind, version, body = encode_event(event)
    values = {"thread": thread, "position": position, "run": run}
    values |= {"type": kind, "version": version, "body": body, "at_us": at_us}
    return Entry(position, run, event, size_of(body), at_us), values


def entry_of(
    position: int, run: int, type: str, version: int, body: str | bytes, at_us: int
) -> Entry:
    """Return the entry of a row."""
    size = len(body) if isinstance(body, bytes) else size_of(body)
    return Entry(position, run, decode(type, version, body), size, at_us)


def is_listed(first: Event | None) -> bool:
    """Return whether a thread may be listed and opened; `first` is its own first entry.

    False if it began with a turn that was requested with `store: false` outside a conversation, or
    with a run that another one started.
    """
    if not isinstance(first, RunStarted):
        return True
    return not first.parent and (first.options.store or first.options.conversation)


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
