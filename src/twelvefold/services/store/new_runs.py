"""The rows of new runs, and a run that another one starts inside the transaction of its step."""

from collections.abc import Mapping
from typing import Any

from twelvefold.core import Event, NewRun, RunId, RunStarted, encode, size_of
from twelvefold.errors import StoreRefused
from twelvefold.services.store.connection import Connection

SECOND_US = 1_000_000
HEAD_START_S = 60
"""How much longer than it did a queued run seems to have waited, for each step of its priority."""


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
