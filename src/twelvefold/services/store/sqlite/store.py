"""The journal on SQLite: the embedded default for a first try, and the double in tests.

One thread holds the connection that writes, another the one for our own reads, a third the one that
tools read by; a transaction has its connection to itself from the first statement to the last. In
memory there is one for all.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from twelvefold.core.ports import Append
from twelvefold.services.store.sql.base import key_of
from twelvefold.services.store.sql.runs import SQLStore, usage_text, wall_clock_us
from twelvefold.services.store.sqlite import MEMORY
from twelvefold.services.store.sqlite.connection import SQLiteConnection, SQLiteFile, reset
from twelvefold.services.store.transaction import Connection

WORDS = {
    "now_us": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "body_bytes": "CAST(body AS BLOB) AS body",
    "lock": "",
    "share": "",
    "at_most": "",  # nobody is held up by a row
    "skip_locked": "",
    "straight_join": "CROSS JOIN",  # by which SQLite, too, keeps the order
    "by_queue": "INDEXED BY runs_queue",
    "by_lease": "INDEXED BY runs_leases",
    "by_deleted": "INDEXED BY threads_deleted",
    "by_key": "",
    "by_origin": "",
    "by_thread": "",
}
OLDEST = (3, 38)


class SQLiteStore(SQLStore):
    """Obeys `twelvefold.core.ports.Store`. `:memory:` is the in-memory store of the tests."""

    def __init__(self, path: str, now_us: Callable[[], int] = wall_clock_us) -> None:
        super().__init__("sqlite.sql", WORDS, now_us)
        self._writer = self._reader = self._tool_reader = SQLiteFile(path)
        self._writing = self._reads = self._tool_reads = asyncio.Lock()
        if path != MEMORY:
            # A tool may read for long, and our own reads do not wait for it.
            self._reader, self._tool_reader = SQLiteFile(path), SQLiteFile(path)
            self._reads, self._tool_reads = asyncio.Lock(), asyncio.Lock()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[SQLiteConnection]:
        async with self._writing:
            db = SQLiteConnection(self._writer)
            try:
                # By a write lock: a reader that turns writer could not be made to wait.
                await db.begin("BEGIN IMMEDIATE")
                yield db
                await db.commit()
            finally:
                db.leave()

    def _reading(self) -> AbstractAsyncContextManager[SQLiteConnection]:
        return _read_transaction(self._reader, self._reads)

    def _read_only(self) -> AbstractAsyncContextManager[SQLiteConnection]:
        return _read_transaction(self._tool_reader, self._tool_reads)

    async def _fence(self, db: Connection, change: Append) -> None:
        await super()._fence(db, change)
        if change.usage:
            values = {"usage": usage_text(change.usage), **key_of(change.lease.run)}
            await db.execute(self._sql["spend"], values)

    async def check(self) -> list[str]:
        if sqlite3.sqlite_version_info >= OLDEST:
            return []
        oldest = ".".join(str(number) for number in OLDEST)
        return [f"the SQLite library is {sqlite3.sqlite_version}: {oldest} or newer is needed"]

    async def run_script(self, script: str) -> None:
        async with self._writing:
            try:
                await self._writer.call(lambda raw: raw.executescript(script))
            finally:
                self._writer.queue(reset)

    async def close(self) -> None:
        for file in {self._writer, self._reader, self._tool_reader}:
            await file.close()


@asynccontextmanager
async def _read_transaction(
    file: SQLiteFile, lock: asyncio.Lock
) -> AsyncIterator[SQLiteConnection]:
    async with lock:
        db = SQLiteConnection(file, may_write=False)
        try:
            await db.begin("PRAGMA query_only = ON", "BEGIN")
            yield db
        finally:
            db.leave()
