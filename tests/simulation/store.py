"""The store of the simulation: the SQL of the real stores, over a simulated server.

It has no threads and does no I/O, so it runs on virtual time as well as on a real event loop.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from types import TracebackType
from typing import Any

from tests.simulation.database import new_database
from tests.simulation.network import Direct, Link, Network, Sent
from tests.simulation.server import LOCK_WAIT_S, LOCKED, Session, SimulatedServer
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store.connection import (
    NO_ANSWER,
    TRANSACTION_LOST,
    TRANSACTION_OVER,
    Connection,
    DriverResult,
    Reply,
)
from twelvefold.services.store.mysql import errors as mysql_errors
from twelvefold.services.store.mysql.store import TIMEOUTS
from twelvefold.services.store.sql.queue import build_waiting_runs
from twelvefold.services.store.sql.steps import LONG_STEP_S
from twelvefold.services.store.sql.store import SQLStore
from twelvefold.services.store.sql_text import Dialect
from twelvefold.services.store.sqlite import connection as sqlite
from twelvefold.services.store.sqlite import errors as sqlite_errors
from twelvefold.services.store.sqlite.connection import adapt_named, adapt_ordered

WORDS = {
    "now_us": "now_us()",
    "body_bytes": "CAST(body AS BLOB) AS body",
    "lock": "/*lock: wait*/",
    "at_most": "",
    "nowait": "/*lock: nowait*/",
    "straight_join": "CROSS JOIN",
    "by_queue": "INDEXED BY runs_queue",
    "by_lease": "INDEXED BY runs_leases",
    "by_due": "INDEXED BY runs_due",
    "by_created": "INDEXED BY runs_created",
    "by_status": "INDEXED BY runs_by_status",
    "by_workflow": "INDEXED BY runs_by_workflow",
    "by_principal": "INDEXED BY runs_by_principal",
    "by_deleted": "INDEXED BY threads_deleted",
    "by_uncounted": "INDEXED BY runs_uncounted",
    "by_key": "",
    "by_origin": "",
    "by_parent": "",
    "by_person": "INDEXED BY questions_of_person",
    "by_thread": "",
}


def translate_error(error: BaseException) -> StoreUnavailable | StoreRefused:
    """The driver's error as the real stores have it."""
    if isinstance(error, StoreUnavailable | StoreRefused):
        return error
    if isinstance(error, sqlite3.Error | sqlite3.Warning | OverflowError | UnicodeEncodeError):
        return sqlite_errors.translate_error(error)
    return mysql_errors.translate_error(error)


class SimulatedConnection(Connection):
    """A connection to the simulated server for the length of one transaction."""

    dialect: Dialect = "sqlite"

    def __init__(self, link: Link, names: Mapping[str, str], session: Session) -> None:
        super().__init__()
        self._link = link
        self._names = names
        self._session = session
        self._is_busy = False
        self._is_broken = False

    async def open(self) -> None:
        try:
            await self._link.connect(self._session)
        except Exception as error:
            raise mysql_errors.translate_connect_error(error) from error

    async def execute_many_native(
        self, statement: str, values: Sequence[Sequence[Any]]
    ) -> DriverResult:
        rows = [adapt_ordered(row) for row in values]
        return await self._run(self._part(sqlite.run_many, statement, rows))

    async def rollback(self) -> None:
        """Roll back; a connection that cannot is closed, which has the same effect."""
        server, session = self._link.server, self._session
        self._deferred = []
        if not self._has_sent:
            return
        if self._is_broken or self._is_busy:
            self.abort()
            return
        rollback = Sent("rollback", lambda done: server.rollback(session, done))
        if (await self._ask([rollback])).fault:
            self.abort()

    def abort(self) -> None:
        """Close the connection; the server undoes what was not committed."""
        self._link.close(self._session)

    def leave(self) -> None:
        """Send nothing more."""
        self._end = StoreRefused(TRANSACTION_OVER)
        self.abort()

    @property
    def _is_running(self) -> bool:
        return self._is_busy

    def _bind(self, statement: str, values: Mapping[str, Any]) -> Sent:
        return self._part(sqlite.run_statement, statement, adapt_named(values))

    def _bind_native(self, statement: str, values: Sequence[Any]) -> Sent:
        return self._part(sqlite.run_statement, statement, adapt_ordered(values))

    def _part(self, work: Callable[..., DriverResult], statement: str, values: Any) -> Sent:
        server, session = self._link.server, self._session
        name = self._names.get(statement) or _name_of(statement)
        return Sent(name, lambda done: server.execute(session, done, work, statement, values))

    async def _send(self, parts: Sequence[Sent], *, commits: bool = False) -> Reply:
        server, session = self._link.server, self._session
        commit = Sent("commit", lambda done: server.commit(session, done))
        return await self._ask([*parts, commit] if commits else parts)

    async def _ask(self, parts: Sequence[Sent]) -> Reply:
        self._is_busy = True
        try:
            results, error = await self._link.ask(self._session, parts)
        except BaseException:
            # Cancelled, say: the answer is still to come.
            self.abort()
            self._end = StoreFailed(NO_ANSWER)
            raise
        finally:
            self._is_busy = False
        return Reply(results, self._noted(error) if error else None)

    def _noted(self, error: BaseException) -> StoreUnavailable | StoreRefused:
        fault = translate_error(error)
        fault.__cause__ = error
        if isinstance(fault, StoreUnavailable):
            self._end, self._is_broken = fault, True
        elif self._session.is_lost:
            self._end, self._is_broken = StoreUnavailable(TRANSACTION_LOST), True
        return fault


def _name_of(statement: str) -> str:
    return "insert_event" if statement.startswith("INSERT INTO events") else "tool"


class SimulatedStore(SQLStore):
    """Obeys `twelvefold.core.ports.Store`."""

    def __init__(self, link: Link) -> None:
        self.__dict__.update(_prototype())
        self._link = link
        self._now_us = link.now_us

    def another(self) -> "SimulatedStore":
        """Return a store of another process on the same server."""
        return SimulatedStore(self._link)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self, LOCK_WAIT_S)

    def _renewal_connection(self) -> "_Transaction":
        return _Transaction(self, LONG_STEP_S)

    def _read_connection(self) -> AbstractAsyncContextManager[SimulatedConnection]:
        return self._in_time()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[SimulatedConnection]:
        try:
            async with asyncio.timeout(TIMEOUTS.read_s), self._tool_read_connection() as db:
                yield db
        except TimeoutError as error:
            raise StoreUnavailable(
                f"the database did not answer within {TIMEOUTS.read_s:g} s"
            ) from error

    @asynccontextmanager
    async def _tool_read_connection(self) -> AsyncIterator[SimulatedConnection]:
        db = self.connection(Session(self, reads=True))
        await db.open()
        try:
            yield db
        finally:
            db.leave()

    def connection(self, session: Session) -> SimulatedConnection:
        return SimulatedConnection(self._link, _names(), session)

    def _is_row_locked(self, error: StoreUnavailable) -> bool:
        return mysql_errors.parse_error(error.__cause__ or error)[0] == LOCKED[0]

    async def check(self) -> list[str]:
        return []

    async def run_script(self, script: str) -> None:
        self._link.server.run_script(script)

    async def close(self) -> None:
        """Every transaction has closed its connection."""


class DirectStore(SimulatedStore):
    """The same server for reads from outside: nothing waits, nothing fails."""

    def __init__(self, server: SimulatedServer) -> None:
        super().__init__(Direct(server))

    def _read_connection(self) -> AbstractAsyncContextManager[SimulatedConnection]:
        return self._tool_read_connection()


class _Transaction:
    """Commits when the body ends, else rolls back; closes the connection when it is cancelled."""

    def __init__(self, store: SimulatedStore, wait_s: float) -> None:
        self._db = store.connection(Session(store, wait_s))

    async def __aenter__(self) -> SimulatedConnection:
        await self._db.open()
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
            self._db.leave()


class _RealTime:
    """The running event loop's time."""

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def later(self, delay_s: float, call: Callable[..., object], *args: Any) -> object:
        return asyncio.get_running_loop().call_later(delay_s, call, *args)


def simulated(schema: str) -> SimulatedStore:
    """A store on a server of its own, without faults, for a real event loop."""
    clock = _RealTime()
    return SimulatedStore(Network(SimulatedServer(clock, new_database(schema)), clock))


class _Prototype(SimulatedStore):
    """Reads the statements from their files, once."""

    def __init__(self) -> None:
        SQLStore.__init__(self, "sqlite", WORDS, lambda: 0)


@cache
def _prototype() -> dict[str, Any]:
    return vars(_Prototype())


@cache
def _names() -> dict[str, str]:
    """Return the names of statements in a schedule, by their text."""
    names = {text: name for name, text in _prototype()["_sql"].items()}
    sql = _prototype()["_sql"]
    search = build_waiting_runs(sql, workflows=1)
    return names | {
        sql["keep_lease"]: "renew",
        sql["renew"]: "end_long_step",
        search: "waiting_runs",
    }
