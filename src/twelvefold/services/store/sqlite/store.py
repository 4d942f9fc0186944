"""The store on SQLite: the default database of a first try, and of tests.

One thread has the connection that writes, another the one for the store's own reads, a third the
one that tools read from. A transaction has its connection to itself. A database in memory has one
connection for all of them.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from twelvefold.services.store.sql.base import wall_clock_us
from twelvefold.services.store.sql.store import SQLStore
from twelvefold.services.store.sqlite import MEMORY, WORDS
from twelvefold.services.store.sqlite.connection import (
    BUSY_TIMEOUT_S,
    SQLiteConnection,
    SQLiteFile,
    reset,
)

OLDEST_VERSION = (3, 38)


class SQLiteStore(SQLStore):
    """Implements `twelvefold.core.ports.Store`. `:memory:` is a database in memory."""

    def __init__(
        self,
        path: str,
        now_us: Callable[[], int] = wall_clock_us,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        super().__init__("sqlite", WORDS, now_us)
        self._writer = self._reader = self._tool_reader = SQLiteFile(path, busy_timeout_s)
        self._write_lock = self._read_lock = self._tool_read_lock = asyncio.Lock()
        if path != MEMORY:
            # A tool may read for long; the store's own reads do not wait for it.
            self._reader = SQLiteFile(path, busy_timeout_s)
            self._tool_reader = SQLiteFile(path, busy_timeout_s)
            self._read_lock, self._tool_read_lock = asyncio.Lock(), asyncio.Lock()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[SQLiteConnection]:
        async with self._write_lock:
            # Locks at once: SQLite does not wait for the lock when a reader becomes a writer.
            db = SQLiteConnection(self._writer, "BEGIN IMMEDIATE")
            try:
                yield db
                await db.commit()
            finally:
                db.close()

    def _read_connection(self) -> AbstractAsyncContextManager[SQLiteConnection]:
        return _read_transaction(self._reader, self._read_lock)

    def _tool_read_connection(self) -> AbstractAsyncContextManager[SQLiteConnection]:
        return _read_transaction(self._tool_reader, self._tool_read_lock)

    async def check(self) -> list[str]:
        if sqlite3.sqlite_version_info >= OLDEST_VERSION:
            return []
        oldest = ".".join(str(number) for number in OLDEST_VERSION)
        return [f"the SQLite library is {sqlite3.sqlite_version}: {oldest} or newer is needed"]

    async def run_script(self, script: str) -> None:
        async with self._write_lock:
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
        db = SQLiteConnection(file, "PRAGMA query_only = ON", "BEGIN", may_write=False)
        try:
            yield db
        finally:
            db.close()
