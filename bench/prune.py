"""How fast `prune` removes threads, beside plain DELETEs of the same rows.

    DATABASE_URL=mysql://… python -m bench.prune [--threads N] [--entries N] [--rounds N]

Each round fills a database of its own twice, with threads of one run and some entries. `prune`
removes one filling; plain DELETEs remove the other: ranges of the primary key of the three tables
that have rows, without a check or a lock before, in transactions of as many threads. The order
alternates. `DATABASE_URL=sqlite://` uses a SQLite file.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from bench.database import prepare, private_database
from bench.table import markdown
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.base import in_batches
from twelvefold.services.store.sql.retention import MAX_ENTRIES, RANGE_SIZE
from twelvefold.services.store.sql.store import SQLStore

MADE_AT_MS = 0x018000000000
"""When the first thread was made; one follows each millisecond."""
PRUNE, PLAIN = "prune", "plain DELETE"
FAR_US = 2**62
"""All threads are older."""
BODY = '{"type":"user_message","text":"' + "x" * 300 + '"}'
FILL_RUNS = (
    "INSERT INTO runs (thread_id, ordinal, status, lease_token, lease_until, background, "
    "cancel_asked, `usage`, error, release_id, created_at, finished_at, workflow, principal, began)"
    " SELECT id, 1, 'completed', '', 0, 1, 0, '{}', '', '1', created_at, created_at, workflow, "
    "principal, 1 FROM threads"
)
FILL_EVENTS = (
    "INSERT INTO events (thread_id, position, run, type, version, body, at_us) "
    "WITH RECURSIVE n (position) AS (SELECT 1 UNION ALL SELECT position + 1 FROM n "
    "WHERE position < :entries) SELECT t.id, n.position, 1, 'user_said', 1, :body, t.created_at "
    "FROM threads t CROSS JOIN n"
)
DELETES = (
    "DELETE FROM events WHERE thread_id BETWEEN :first AND :last",
    "DELETE FROM runs WHERE thread_id BETWEEN :first AND :last",
    "DELETE FROM threads WHERE id BETWEEN :first AND :last",
)
PURGE_WAIT_S = 0.1
PURGE_WAITS = 600
FEW = 100
"""Transactions that a quiet server keeps the old rows of."""


@dataclass(slots=True)
class Measured:
    """Threads a second, a round each, and how long each transaction was open."""

    threads_s: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Filling:
    """So many threads of one run, with so many entries each."""

    threads: int
    entries: int


Remove = Callable[[SQLStore, Filling], Awaitable[None]]


async def bench(url: str, filling: Filling, rounds: int) -> str:
    """Measure, and return a table."""
    found = {PRUNE: Measured(), PLAIN: Measured()}
    ways: dict[str, Remove] = {PRUNE: _prune, PLAIN: _delete}
    store = await open_store(url)
    assert isinstance(store, SQLStore)
    try:
        for number in range(rounds):
            order = list(ways) if number % 2 else list(reversed(ways))
            for name in order:
                await _fill(store, filling)
                await _measure(store, filling, ways[name], found[name])
                _say(f"round {number + 1}, {name}: {found[name].threads_s[-1]:.0f} threads/s")
    finally:
        await store.close()
    return _table(found)


async def _fill(store: Store, filling: Filling) -> None:
    thread = f"'academy', {filling.entries}, 1, '', 1, 'Hello', {filling.entries * len(BODY)}"
    for part in in_batches(range(filling.threads), 500):
        async with store.write() as tx:
            rows = ", ".join(f"(:id{n}, 'p{n % 1000:04}', {thread})" for n in part)
            await tx.execute(
                "INSERT INTO threads (id, principal, workflow, head, created_at, metadata, listed, "
                f"title, size) VALUES {rows}",
                **{f"id{n}": f"{MADE_AT_MS + n:012x}{secrets.token_hex(16)}" for n in part},
            )
    async with store.write() as tx:
        await tx.execute(FILL_RUNS)
    async with store.write() as tx:
        await tx.execute(FILL_EVENTS, entries=filling.entries, body=BODY)


async def _measure(store: SQLStore, filling: Filling, remove: Remove, into: Measured) -> None:
    await _purged(store)
    with _timed(store, into):
        began_at = time.perf_counter()
        await remove(store, filling)
        into.threads_s.append(filling.threads / (time.perf_counter() - began_at))
    async with store.read() as db:
        left = await db.fetch_one("SELECT COUNT(*) AS n FROM events")
    assert left == {"n": 0}


async def _purged(store: SQLStore) -> None:
    """Wait until the server has removed the rows that were deleted before."""
    for _ in range(PURGE_WAITS):
        if await _history(store) <= FEW:
            return
        await asyncio.sleep(PURGE_WAIT_S)


async def _history(store: SQLStore) -> int:
    if store.__class__.__name__ == "SQLiteStore":
        return 0
    async with store.read() as db:
        row = await db.fetch_one(
            "SELECT count AS n FROM information_schema.innodb_metrics "
            "WHERE name = 'trx_rseg_history_len'"
        )
    return int(row["n"]) if row else 0


async def _prune(store: SQLStore, filling: Filling) -> None:
    assert await store.prune(before_us=FAR_US) == filling.threads


async def _delete(store: SQLStore, filling: Filling) -> None:
    below, at_once = "g", min(RANGE_SIZE, MAX_ENTRIES // filling.entries)
    while rows := await _next(store, below, at_once):
        below = rows[-1]["id"]
        async with store._transaction() as db:
            for statement in DELETES:
                await db.execute(statement, {"first": below, "last": rows[0]["id"]})


async def _next(store: SQLStore, below: str, limit: int) -> list[dict[str, Any]]:
    async with store._read_connection() as db:
        statement = "SELECT id FROM threads WHERE id < :below ORDER BY id DESC LIMIT :limit"
        return await db.fetch(statement, {"below": below, "limit": limit})


class _Timed:
    """A transaction of the store that notes how long it was open."""

    def __init__(self, transaction: Any, into: Measured) -> None:
        self._transaction, self._into = transaction, into

    async def __aenter__(self) -> Connection:
        db: Connection = await self._transaction.__aenter__()
        self._began_at = time.perf_counter()
        return db

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transaction.__aexit__(kind, error, trace)
        self._into.took_ms.append(1_000 * (time.perf_counter() - self._began_at))


@contextmanager
def _timed(store: SQLStore, into: Measured) -> Iterator[None]:
    transaction = store._transaction
    vars_of: Any = store
    vars_of._transaction = lambda: _Timed(transaction(), into)
    try:
        yield
    finally:
        del vars_of._transaction


def _table(found: Mapping[str, Measured]) -> str:
    plain = found[PLAIN].threads_s
    rows = []
    for name, one in found.items():
        ratio = statistics.median(a / b for a, b in zip(one.threads_s, plain, strict=True))
        spread = f"{min(one.threads_s):.0f}-{max(one.threads_s):.0f}"
        median = f"{statistics.median(one.threads_s):.0f}"
        rows.append([name, median, spread, f"{ratio:.2f}x", *_of_transactions(one.took_ms)])
    heads = [
        "removed by",
        "threads/s",
        "rounds",
        "of a round",
        "median transaction, ms",
        "p99",
        "longest",
    ]
    return markdown(heads, rows)


def _of_transactions(took_ms: list[float]) -> list[str]:
    in_order = sorted(took_ms)
    chosen = (in_order[len(in_order) // 2], in_order[len(in_order) * 99 // 100], in_order[-1])
    return [f"{one:.0f}" for one in chosen]


@asynccontextmanager
async def _database(server_url: str) -> AsyncIterator[str]:
    if not server_url.startswith("sqlite"):
        async with private_database(server_url, f"bench_{secrets.token_hex(6)}") as url:
            yield url
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        url = f"sqlite:///{folder}/bench.db"
        await prepare(url)
        yield url


async def _bench(server_url: str, filling: Filling, rounds: int) -> str:
    async with _database(server_url) as url:
        return await bench(url, filling, rounds)


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=5_000)
    parser.add_argument("--entries", type=int, default=4, help="of each thread, at most 1000")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "sqlite://")
    filling = Filling(arguments.threads, arguments.entries)
    print(asyncio.run(_bench(url, filling, arguments.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
