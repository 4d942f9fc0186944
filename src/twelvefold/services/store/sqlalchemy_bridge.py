"""SQLAlchemy as a guest in a tool's transaction; imported only when a tool asks for it.

A guest never holds the driver's connection. It gets one that sends each statement through ours,
so that it is checked, queued and fenced like any other, and whose COMMIT and ROLLBACK do nothing:
the step begins and ends its transaction, nobody else does.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Self

from sqlalchemy import CursorResult, Executable
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_dbapi
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from twelvefold.core.ports import Row
from twelvefold.errors import ServiceFault, StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store.parameters import value_for
from twelvefold.services.store.sql_text import Dialect
from twelvefold.services.store.transaction import Answer, Connection, raise_as_failed

Refuse = Callable[[str, Dialect], None]
_joining: ContextVar["_Driver"] = ContextVar("twelvefold_joining")


class SQLAlchemyBridge:
    """SQLAlchemy's knowledge of a database: its dialect, and the statements compiled so far."""

    def __init__(self) -> None:
        self._engine: AsyncEngine | None = None

    def prepare(self, dialect: Dialect) -> None:
        """Import what SQLAlchemy knows of the database, and make its engine."""
        self._engine = self._engine or _engine(dialect)

    async def join(self, connection: Connection, refuse: Refuse) -> "Joined":
        """SQLAlchemy on this connection; `refuse` says which statements it may not send.

        Raises StoreUnavailable or StoreFailed: its first queries are not the tool's.
        """
        if self._engine is None:
            self._engine = _engine(connection.dialect)
        driver = _Driver(connection)
        joining = _joining.set(driver)
        try:
            joined = await self._engine.connect()
            await joined.begin()
        except ServiceFault as fault:
            if isinstance(fault, StoreRefused):
                raise_as_failed(fault)
            raise
        except Exception as error:
            raise StoreFailed(f"SQLAlchemy finds no database that it knows: {error}").loggable(
                f"SQLAlchemy finds no database that it knows: {type(error).__name__}"
            ) from error
        finally:
            _joining.reset(joining)
        # Not before: SQLAlchemy first looks at the server, in ways that a tool may not.
        driver.refuse = refuse
        return Joined(joined, driver)


def _engine(dialect: Dialect) -> AsyncEngine:
    # A fault's text goes to the log, where the values of a statement do not belong.
    make = partial(
        create_async_engine, poolclass=NullPool, async_creator=_driver, hide_parameters=True
    )
    if dialect == "mysql":
        return make("mysql+asyncmy://")
    # The adapter of aiosqlite asks no more of its driver than `_Driver` has, and of its module
    # only the errors, which are sqlite3's own: there is no need for aiosqlite itself.
    module = AsyncAdapt_aiosqlite_dbapi(sqlite3, sqlite3)
    return make("sqlite+aiosqlite://", module=module)


async def _driver() -> Any:
    return _joining.get()


class Joined:
    """SQLAlchemy for the length of one transaction."""

    def __init__(self, connection: AsyncConnection, driver: "_Driver") -> None:
        self._connection = connection
        self._driver = driver
        self._session: StepSession | None = None

    async def fetch(self, statement: Executable, values: Mapping[str, Any]) -> list[Row]:
        """All rows of a Core statement, by the names of its columns."""
        result = await self._execute(statement, values)
        return [dict(row) for row in result.mappings()] if result.returns_rows else []

    async def execute(self, statement: Executable, values: Mapping[str, Any]) -> int:
        """The number of rows that a Core statement matched."""
        return (await self._execute(statement, values)).rowcount

    async def _execute(self, statement: Executable, values: Mapping[str, Any]) -> CursorResult[Any]:
        self._driver.faults_as_ours = True
        try:
            return await self._connection.execute(statement, dict(values) or None)
        finally:
            self._driver.faults_as_ours = False

    def session(self) -> "StepSession":
        """The transaction's one ORM session."""
        if self._session is None:
            self._session = StepSession(
                bind=self._connection,
                join_transaction_mode="create_savepoint",
                expire_on_commit=False,
            )
        return self._session

    async def flush(self) -> None:
        """Send what the session holds back."""
        if self._session is not None:
            await self._session.flush()

    async def leave(self) -> None:
        """Let go of everything, without a word to the server."""
        self._driver.is_over = True
        if self._session is not None:
            await AsyncSession.close(self._session)
        await self._connection.close()


class StepSession(AsyncSession):
    """An ORM session inside the step's transaction, in a savepoint of its own.

    `commit()` writes what is pending, for the step to commit. `rollback()` undoes what was written
    since the session began or was committed last. `close()` keeps what was written, as the step
    would: a tool that forgets to commit loses nothing.
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


class _Driver:
    """Our connection in the shape of an asynchronous driver's."""

    _connection = None
    """What aiosqlite's adapter looks at before it commits or rolls back: nothing is open."""

    def __init__(self, connection: Connection) -> None:
        self._ours = connection
        self.refuse: Refuse = _refuse_nothing
        self.faults_as_ours = False
        self.is_over = False

    def cursor(self, *_: object) -> "_Cursor":
        return _Cursor(self)

    async def ask(self, statement: str, rows: Sequence[Sequence[Any]], *, many: bool) -> Answer:
        if self.is_over and "SAVEPOINT" in statement:
            return _NOTHING
        self.refuse(statement, self._ours.dialect)
        checked = [[value_for(str(n), value) for n, value in enumerate(row)] for row in rows]
        try:
            if many:
                return await self._ours.ask_many(statement, checked)
            return await self._ours.ask(statement, checked[0])
        except StoreUnavailable:
            raise
        except StoreRefused as refused:
            # A session's user expects SQLAlchemy's errors, which it makes of the driver's.
            if self.faults_as_ours or not isinstance(refused.__cause__, Exception):
                raise
            raise refused.__cause__ from None

    async def commit(self) -> None:
        """The step does."""

    async def rollback(self) -> None:
        """The step does."""

    async def close(self) -> None:
        """The pool does."""

    ensure_closed = close

    def character_set_name(self) -> None:
        """Nothing that SQLAlchemy would have to set again."""

    async def create_function(self, *_: object, **__: object) -> None:
        """Ours has them already."""


class _Cursor:
    """One statement and its answer, in the shape of an asynchronous driver's cursor."""

    arraysize = 1

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver
        self._answer = _NOTHING
        self._unread: list[Sequence[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None:
        self._unread = []

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        return self._answer.description

    @property
    def rowcount(self) -> int:
        return self._answer.rowcount

    @property
    def lastrowid(self) -> int:
        return self._answer.lastrowid

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        self._hold(await self._driver.ask(statement, [values], many=False))

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._hold(await self._driver.ask(statement, rows, many=True))

    def _hold(self, answer: Answer) -> None:
        self._answer = answer
        self._unread = list(answer.rows)

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


_NOTHING = Answer((), None, -1, 0)


def _refuse_nothing(statement: str, dialect: Dialect) -> None:
    """Until the guest has looked around."""
