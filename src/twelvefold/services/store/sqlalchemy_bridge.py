"""SQLAlchemy inside a tool's transaction; imported only when a tool uses it.

SQLAlchemy never gets the driver's connection. It gets one that sends each statement through the
store's own, so that it is checked, queued and fenced like any other statement. COMMIT and ROLLBACK
of that connection do nothing: only the step begins and ends its transaction.

`AsyncAdapt_aiosqlite_dbapi`, and what SQLAlchemy's adapters read of a driver, are no public API:
`pyproject.toml` bounds the version, and `tests/services/store/test_sqlalchemy_bridge.py` tells what
breaks.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Self

from sqlalchemy import CursorResult, Executable
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_dbapi
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from twelvefold.core import Row
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable, TwelvefoldError
from twelvefold.services.store.blocking_session import BlockingSession
from twelvefold.services.store.connection import Connection, DriverResult, as_failed
from twelvefold.services.store.sql_text import Dialect, convert_value, strip_end

Reject = Callable[[str, Dialect], None]
_current_driver: ContextVar["_DriverConnection"] = ContextVar("twelvefold_sqlalchemy_driver")


class SQLAlchemyBridge:
    """SQLAlchemy's engine for the store's database: its dialect and its compiled statements."""

    def __init__(self) -> None:
        self._engine: AsyncEngine | None = None

    def prepare(self, dialect: Dialect) -> AsyncEngine:
        """Return the engine; import SQLAlchemy's dialect for it the first time."""
        if self._engine is None:
            self._engine = _make_engine(dialect)
        return self._engine

    async def open(self, connection: Connection, reject: Reject) -> "BridgedTransaction":
        """Open SQLAlchemy on this connection; `reject` raises for statements it may not send.

        Raises StoreUnavailable or StoreFailed: its first queries are not the tool's.
        """
        engine = self.prepare(connection.dialect)
        driver = _DriverConnection(connection)
        token = _current_driver.set(driver)
        try:
            opened = await engine.connect()
            await opened.begin()
        except TwelvefoldError as fault:
            raise as_failed(fault) from fault.__cause__
        except Exception as error:
            raise StoreFailed(f"SQLAlchemy does not know the database: {error}").loggable(
                f"SQLAlchemy does not know the database: {type(error).__name__}"
            ) from error
        finally:
            _current_driver.reset(token)
        # Not earlier: SQLAlchemy first inspects the server with statements that a tool may not use.
        driver.reject = reject
        return BridgedTransaction(opened, driver)


def _make_engine(dialect: Dialect) -> AsyncEngine:
    # Parameters stay out of errors, because an error's text is logged.
    make = partial(
        create_async_engine, poolclass=NullPool, async_creator=_get_driver, hide_parameters=True
    )
    if dialect == "mysql":
        return make("mysql+asyncmy://")
    # The adapter of aiosqlite needs only what `_DriverConnection` has, and of aiosqlite's module
    # only the errors, which are those of sqlite3: aiosqlite itself is not needed.
    module = AsyncAdapt_aiosqlite_dbapi(sqlite3, sqlite3)
    return make("sqlite+aiosqlite://", module=module)


async def _get_driver() -> Any:
    return _current_driver.get()


class BridgedTransaction:
    """SQLAlchemy for the length of one transaction."""

    def __init__(self, connection: AsyncConnection, driver: "_DriverConnection") -> None:
        self._connection = connection
        self._driver = driver
        self._session: SavepointSession | None = None
        self._is_blocking = False

    async def fetch(self, statement: Executable, values: Mapping[str, Any]) -> list[Row]:
        """Return all rows of a Core statement, by the names of its columns."""
        result = await self._execute(statement, values)
        return [dict(row) for row in result.mappings()] if result.returns_rows else []

    async def execute(self, statement: Executable, values: Mapping[str, Any]) -> int:
        """Return the number of rows that a Core statement matched."""
        return (await self._execute(statement, values)).rowcount

    async def _execute(self, statement: Executable, values: Mapping[str, Any]) -> CursorResult[Any]:
        self._driver.raises_store_errors = True
        try:
            return await self._connection.execute(statement, dict(values) or None)
        finally:
            self._driver.raises_store_errors = False

    def session(self) -> "SavepointSession":
        """Return the transaction's one ORM session."""
        if self._session is None:
            self._session = self._open_session(Session)
        return self._session

    def blocking_session(self) -> Session:
        """Return the transaction's one ORM session for the function of `call_blocking`."""
        if self._session is None:
            self._is_blocking = True
            self._session = self._open_session(BlockingSession)
        return self._session.sync_session

    def _open_session(self, kind: type[Session]) -> "SavepointSession":
        return SavepointSession(
            bind=self._connection,
            join_transaction_mode="create_savepoint",
            expire_on_commit=False,
            sync_session_class=kind,
        )

    async def flush(self) -> None:
        """Flush the session."""
        if self._session is not None:
            await self._session.flush()

    async def close(self) -> None:
        """Close the session and the connection; no statement is sent."""
        self._driver.is_over = True
        # A thread that outlives its call may be using the session: then it cannot be closed.
        with suppress(Exception) if self._is_blocking else nullcontext():
            if self._session is not None:
                await self._session.run_sync(Session.close)
            await self._connection.close()


class SavepointSession(AsyncSession):
    """An ORM session in a savepoint within the step's transaction.

    `commit()` flushes, and the step commits. `rollback()` undoes what was written since the session
    began or last committed. `close()` commits as the step would: a tool that forgets to commit
    loses nothing.
    """

    async def close(self) -> None:
        if self.in_transaction() and self.is_active:
            await self.commit()
        await super().close()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            await self.rollback()
        await self.close()


class _DriverConnection:
    """The store's connection with the interface of an asynchronous driver's."""

    _connection = None
    """Read by aiosqlite's adapter before it commits or rolls back: None is a closed connection."""

    def __init__(self, connection: Connection) -> None:
        self._store_connection = connection
        self.reject: Reject = _allow_all
        self.raises_store_errors = False
        self.is_over = False

    def cursor(self, *_: object) -> "_DriverCursor":
        return _DriverCursor(self)

    async def execute(
        self, statement: str, rows: Sequence[Sequence[Any]], *, many: bool
    ) -> DriverResult:
        connection = self._store_connection
        if self.is_over and "SAVEPOINT" in statement:
            return _NO_RESULT
        self.reject(statement, connection.dialect)
        statement = strip_end(statement, connection.dialect)
        checked = [[convert_value(str(n), value) for n, value in enumerate(row)] for row in rows]
        try:
            if many:
                return await connection.execute_many_native(statement, checked)
            return await connection.execute_native(statement, checked[0])
        except StoreUnavailable:
            raise
        except StoreRefused as refused:
            # Users of a session expect SQLAlchemy's errors, which it makes of the driver's.
            if self.raises_store_errors or not isinstance(refused.__cause__, Exception):
                raise
            raise refused.__cause__ from None

    async def commit(self) -> None:
        """Do nothing: the step commits."""

    async def rollback(self) -> None:
        """Do nothing: the step rolls back."""

    async def close(self) -> None:
        """Do nothing: the store keeps the connection."""

    ensure_closed = close

    def character_set_name(self) -> None:
        """Return None: SQLAlchemy does not set the character set."""

    async def create_function(self, *_: object, **__: object) -> None:
        """Do nothing: the store's connection has the functions already."""


class _DriverCursor:
    """One statement and its result, with the interface of an asynchronous driver's cursor."""

    arraysize = 1

    def __init__(self, driver: _DriverConnection) -> None:
        self._driver = driver
        self._result = _NO_RESULT
        self._unread: list[Sequence[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None:
        self._unread = []

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        return self._result.description

    @property
    def rowcount(self) -> int:
        return self._result.rowcount

    @property
    def lastrowid(self) -> int:
        return self._result.lastrowid

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        self._set_result(await self._driver.execute(statement, [values], many=False))

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._set_result(await self._driver.execute(statement, rows, many=True))

    def _set_result(self, result: DriverResult) -> None:
        self._result = result
        self._unread = list(result.rows)

    async def fetchall(self) -> Sequence[Sequence[Any]]:
        return await self.fetchmany(len(self._unread))

    async def fetchmany(self, size: int | None = None) -> Sequence[Sequence[Any]]:
        count = self.arraysize if size is None else size
        rows, self._unread = self._unread[:count], self._unread[count:]
        return rows

    async def fetchone(self) -> Sequence[Any] | None:
        return self._unread.pop(0) if self._unread else None

    async def __aiter__(self) -> AsyncIterator[Sequence[Any]]:
        while self._unread:
            yield self._unread.pop(0)


_NO_RESULT = DriverResult((), None, -1, 0)


def _allow_all(statement: str, dialect: Dialect) -> None:
    """Allow the statements by which SQLAlchemy inspects the server."""
