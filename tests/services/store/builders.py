"""Builders of the store's tests: runs, steps and databases."""

import itertools
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import asyncmy

from tests.builders import asked
from twelvefold.core.events import Event
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.ports import Append, IdempotentRequest, Lease, NewRun, Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.mysql.url import connect_arguments

LONG_S = 60.0
FAR_US = 2**62
"""A time after all others."""
_NUMBERS = itertools.count(1)
SCHEMA = """
CREATE TABLE IF NOT EXISTS seats (id INT NOT NULL PRIMARY KEY, taken INT NOT NULL);
CREATE TABLE IF NOT EXISTS notes (
  id INT NOT NULL PRIMARY KEY,
  body LONGTEXT,
  raw LONGBLOB,
  price DECIMAL(12, 2),
  day DATE,
  moment DATETIME(6),
  yes SMALLINT,
  big DECIMAL(65, 0)
);
"""
TABLES = (
    *("threads", "runs", "events", "deltas", "outbox", "idempotency_keys", "api_keys"),
    *("twelvefold_releases", "signals", "signal_waits", "seats", "notes"),
    *("budgets", "budget_periods", "budget_reservations"),
    *("processes", "usage_days", "usage_principals", "usage_details"),
    *("trace_exports", "open_questions"),
)


def new_thread() -> ThreadId:
    """Return an id that sorts after the earlier ones, as real ids do."""
    return ThreadId(f"{next(_NUMBERS):012x}{secrets.token_hex(16)}")


def new_run(
    thread: ThreadId | None = None,
    *,
    ordinal: int = 1,
    head: int = 0,
    token: str = "t1",
    exists: bool = False,
    request: IdempotentRequest | None = None,
) -> NewRun:
    run = RunId(thread or new_thread(), ordinal)
    new = NewRun(run, LeaseToken(token), head, "ann", "academy", "1.0")
    return replace(new, thread_exists=exists, request=request)


async def leased(store: Store, thread: ThreadId | None = None, *, lease_s: float = LONG_S) -> Lease:
    """Start a leased run on a new thread, which has one entry."""
    _, lease = await store.start(new_run(thread), asked(), lease_s)
    assert lease is not None
    return lease


async def queued(store: Store) -> RunId:
    new = new_run()
    await store.start(new, asked(), None)
    return new.run


async def append(store: Store, lease: Lease, head: int, *events: Event, **change: Any) -> None:
    async with store.append(Append(lease, head, len(events), **change)) as tx:
        await tx.record(events)


async def journal(store: Store, thread: ThreadId) -> list[Event]:
    return [entry.event for entry in (await store.load(thread)).entries]


async def rows(store: Store, statement: str, **values: Any) -> list[dict[str, Any]]:
    async with store.read() as db:
        return await db.fetch_all(statement, **values)


async def seats(store: Store) -> dict[int, int]:
    """Return the seats taken, by id."""
    return {row["id"]: row["taken"] for row in await rows(store, "SELECT id, taken FROM seats")}


async def emptied(store: Store) -> None:
    async with store.write() as tx:
        for table in TABLES:
            await tx.execute(f"DELETE FROM {table}")


async def made(url: str) -> None:
    """Migrate a database and give it the tables of these tests."""
    await migrate(url)
    store = await open_store(url)
    await store.run_script(SCHEMA)
    await store.close()


async def on_server(url: str, *statements: str) -> None:
    """Run statements as an operator with a database client."""
    connection = await asyncmy.connect(**connect_arguments(url))
    try:
        async with connection.cursor() as cursor:
            for statement in statements:
                await cursor.execute(statement)
    finally:
        await connection.ensure_closed()


def kinds(faults: Sequence[object]) -> list[type]:
    return sorted((type(fault) for fault in faults), key=lambda kind: kind.__name__)
