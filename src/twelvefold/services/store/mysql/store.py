"""The store on MySQL 8+ and MariaDB 10.6+, through asyncmy.

A transaction has a pooled connection. The store's own reads have connections of their own, on which
each statement is a transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from twelvefold.core import PoolCount
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.connections import (
    READ_CONNECTIONS,
    RESERVED_CONNECTIONS,
    Connections,
    Timeouts,
)
from twelvefold.services.store.mysql.errors import parse_error
from twelvefold.services.store.mysql.fair_semaphore import FairSemaphore
from twelvefold.services.store.mysql.hosts import HostSelector
from twelvefold.services.store.mysql.server import VARIABLES, find_problems
from twelvefold.services.store.sql.base import wall_clock_us
from twelvefold.services.store.sql.store import SQLStore
from twelvefold.services.store.sql_text import split_script

WORDS = {
    # NOW(6) in a session in UTC: no hour is repeated.
    "now_us": "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
    "body_bytes": "CAST(body AS BINARY) AS body",
    "lock": "FOR UPDATE",
    "at_most": "LIMIT 1000",
    "nowait": "FOR UPDATE NOWAIT",
    # In the order as written: MySQL may otherwise begin with all threads.
    "straight_join": "STRAIGHT_JOIN",
    "by_queue": "FORCE INDEX (runs_queue)",
    "by_lease": "FORCE INDEX (runs_leases)",
    "by_due": "FORCE INDEX (runs_due)",
    "by_created": "FORCE INDEX (runs_created)",
    "by_status": "FORCE INDEX (runs_by_status)",
    "by_workflow": "FORCE INDEX (runs_by_workflow)",
    "by_principal": "FORCE INDEX (runs_by_principal)",
    "by_deleted": "FORCE INDEX (threads_deleted)",
    "by_uncounted": "FORCE INDEX (runs_uncounted)",
    "by_key": "FORCE INDEX (PRIMARY)",
    "by_origin": "FORCE INDEX (threads_forked_from)",
    "by_parent": "FORCE INDEX (threads_parent)",
    "by_person": "FORCE INDEX (questions_of_person)",
    "by_thread": "FORCE INDEX (outbox_thread)",
}
TABLES = ("threads", "runs", "events", "deltas", "outbox", "idempotency_keys", "api_keys")
TIMEOUTS = Timeouts()
ROW_LOCKED = {1205, 3572}
"""The errors of a statement with NOWAIT, in MariaDB and in MySQL."""


class MySQLStore(SQLStore):
    """Implements `twelvefold.core.ports.Store`.

    `connect` are the driver's arguments; `hosts` finds those of the server that takes writes if
    there are several.
    """

    def __init__(
        self,
        connect: Mapping[str, Any],
        pool_size: int,
        now_us: Callable[[], int] = wall_clock_us,
        timeouts: Timeouts = TIMEOUTS,
        hosts: HostSelector | None = None,
    ) -> None:
        super().__init__("mysql", WORDS, now_us)
        self._timeouts = timeouts
        self._connections = Connections(connect, pool_size, timeouts, hosts)
        # Tools may hold their connections for long; nothing else waits for these slots.
        self._tool_slots = asyncio.Semaphore(pool_size)
        self._renewal_slots = asyncio.Semaphore(RESERVED_CONNECTIONS)
        # A task in a pool's own queue cannot be cancelled while another makes a connection, so
        # tasks wait here instead.
        self._read_slots = FairSemaphore(READ_CONNECTIONS)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connections, None, self._timeouts)

    def _tool_transaction(self) -> "_Transaction":
        return _Transaction(self._connections, self._tool_slots, self._timeouts)

    @asynccontextmanager
    async def _renewal_connection(self) -> AsyncIterator[MySQLConnection]:
        async with self._renewal_slots:
            db = await self._connections.take(self._connections.renewals)
            try:
                yield db
            finally:
                self._connections.give_back(db, self._connections.renewals)

    @asynccontextmanager
    async def _read_connection(self) -> AsyncIterator[MySQLConnection]:
        read_s = self._timeouts.read_s
        try:
            async with asyncio.timeout(read_s), self._read_slots:
                db = await self._connections.take(self._connections.reads)
                try:
                    yield db
                finally:
                    self._connections.give_back(db, self._connections.reads)
        except TimeoutError as error:
            raise self._connections.no_answer(read_s) from error

    @asynccontextmanager
    async def _tool_read_connection(self) -> AsyncIterator[MySQLConnection]:
        async with self._tool_transaction() as db:
            db.may_write = False
            yield db

    def pool_counts(self) -> list[PoolCount]:
        return self._connections.pool_counts()

    def _is_row_locked(self, error: StoreUnavailable) -> bool:
        return error.__cause__ is not None and parse_error(error.__cause__)[0] in ROW_LOCKED

    async def check(self) -> list[str]:
        names = ", ".join(f"'{name}'" for name in VARIABLES)
        tables = ", ".join(f"'{table}'" for table in TABLES)
        async with self._read_connection() as db:
            rows = await db.fetch(f"SHOW VARIABLES WHERE Variable_name IN ({names})", {})
            others = await db.fetch(
                "SELECT table_name AS name FROM information_schema.tables WHERE engine <> 'InnoDB' "  # noqa: S608 - constants of this module
                f"AND table_schema = DATABASE() AND table_name IN ({tables})",
                {},
            )
        variables = {row["Variable_name"]: row["Value"] for row in rows}
        return list(find_problems(variables, [row["name"] for row in others]))

    async def run_script(self, script: str) -> None:
        async with self._transaction() as db:
            # The script may SET variables of the session: no later user gets the connection.
            db.is_tainted = True
            for statement in split_script(script):
                await db.run(statement)

    async def close(self) -> None:
        await self._connections.close()


class _Transaction:
    """Commits when the body ends and rolls back if it raises; aborts if it is cancelled.

    A class: a generator costs a tenth of what a step's transaction does.
    """

    def __init__(
        self, connections: Connections, slots: asyncio.Semaphore | None, timeouts: Timeouts
    ) -> None:
        self._connections = connections
        self._slots = slots
        self._timeouts = timeouts

    async def __aenter__(self) -> MySQLConnection:
        if self._slots is not None:
            await self._take_slot(self._slots)
        try:
            self._db = await self._connections.take(self._connections.transactions)
        except BaseException:
            self._free_slot()
            raise
        return self._db

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self._db.commit()
            elif issubclass(kind, asyncio.CancelledError | GeneratorExit):
                self._db.abort()
            else:
                await self._db.rollback()
        finally:
            self._connections.give_back(self._db, self._connections.transactions)
            self._free_slot()

    async def _take_slot(self, slots: asyncio.Semaphore) -> None:
        """Wait for a slot of the tools. Raises StoreUnavailable."""
        if not slots.locked():
            await slots.acquire()
            return
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                await slots.acquire()
        except TimeoutError as error:
            raise self._timeouts.no_connection() from error

    def _free_slot(self) -> None:
        if self._slots is not None:
            self._slots.release()
