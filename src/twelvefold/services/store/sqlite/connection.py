"""Connections to a SQLite file: one thread for each, and one transaction at a time."""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from twelvefold.core import Row
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store.connection import (
    NO_ANSWER,
    STATEMENT_RUNNING,
    TRANSACTION_LOST,
    TRANSACTION_OVER,
    DriverResult,
)
from twelvefold.services.store.sql_text import Dialect, as_rows
from twelvefold.services.store.sqlite.errors import (
    is_deferred_constraint,
    is_write_refusal,
    translate_error,
)

Result = TypeVar("Result")
SETTINGS = (
    "PRAGMA journal_mode = WAL",
    # A commit must survive a loss of power.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
BUSY_TIMEOUT_S = 5.0


class SQLiteFile:
    """One connection to a database, used by one thread only.

    `busy_timeout_s`: how long to wait while another process writes.
    """

    def __init__(self, path: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._raw: sqlite3.Connection | None = None

    async def call(self, work: Callable[..., Result], *args: Any) -> Result:
        """Call a function with the driver's connection as its first argument.

        Raises errors of the store only.
        """
        try:
            return await asyncio.wrap_future(self.queue(work, *args))
        except (StoreUnavailable, StoreRefused):
            raise
        except Exception as error:
            raise translate_error(error) from error

    def queue(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        """Call a function after all that were queued before; return without waiting for it."""
        try:
            return self._thread.submit(lambda: work(self._open(), *args))
        except RuntimeError as error:
            raise StoreRefused("the store is closed").loggable() from error

    async def close(self) -> None:
        await asyncio.wrap_future(self._thread.submit(self._close))
        self._thread.shutdown(wait=False)

    def _open(self) -> sqlite3.Connection:
        if self._raw is None:
            try:
                raw = sqlite3.connect(
                    self._path, timeout=self._busy_timeout_s, isolation_level=None
                )
            except sqlite3.OperationalError as error:
                raise StoreFailed(f"{error}: {self._path} (SQLite)").loggable() from error
            try:
                for setting in SETTINGS:
                    raw.execute(setting)
                raw.create_function("regexp", 2, regexp, deterministic=True)
            except BaseException:
                raw.close()
                raise
            self._raw = raw
        return self._raw

    def _close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None


def regexp(pattern: str, text: str | None) -> bool | None:
    """Implement the operator REGEXP."""
    return None if text is None else re.search(pattern, text) is not None


class SQLiteConnection:
    """Implements `store.connection.Connection` for the length of one transaction."""

    dialect: Dialect = "sqlite"
    write_fence = 0

    def __init__(self, file: SQLiteFile, *, may_write: bool = True) -> None:
        self._file = file
        self._may_write = may_write
        self._end: StoreUnavailable | StoreRefused | None = None
        self._running = 0

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        result = await self._run(run_statement, statement, adapt_named(values))
        return as_rows(result.names, result.rows)

    async def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        return (await self._run(run_statement, statement, adapt_named(values))).rowcount

    async def execute_native(self, statement: str, values: Sequence[Any]) -> DriverResult:
        return await self._run(run_statement, statement, adapt_ordered(values))

    async def execute_many_native(
        self, statement: str, values: Sequence[Sequence[Any]]
    ) -> DriverResult:
        return await self._run(run_many, statement, [adapt_ordered(row) for row in values])

    async def begin(self, *statements: str) -> None:
        await self._file.call(_begin, statements)

    async def commit(self) -> None:
        if self._end:
            raise self._end
        try:
            await self._file.call(_commit)
        except StoreRefused as refused:
            if is_deferred_constraint(refused.__cause__):
                raise
            raise StoreFailed(f"the transaction cannot be ended: {refused}").loggable(
                f"the transaction cannot be ended: {refused.logged}"
            ) from refused

    def raise_if_lost(self) -> None:
        if self._end:
            raise self._end
        if self._running:
            raise StoreRefused(STATEMENT_RUNNING)

    def close(self) -> None:
        """Roll back what was not committed, and refuse further statements.

        A cancelled statement still runs in its thread; the rollback is queued after it, and before
        the next transaction.
        """
        self._end = StoreRefused(TRANSACTION_OVER)
        with suppress(StoreRefused):
            self._file.queue(reset)

    async def _run(self, work: Callable[..., DriverResult], *args: Any) -> DriverResult:
        if self._end:
            raise self._end
        self._running += 1
        try:
            return await self._file.call(_run_inside, work, *args)
        except StoreUnavailable as lost:
            if not self._may_write and is_write_refusal(lost.__cause__):
                raise StoreRefused(str(lost)) from lost.__cause__
            self._end = lost
            raise
        except asyncio.CancelledError:
            self._end = StoreFailed(NO_ANSWER).loggable()
            raise
        finally:
            self._running -= 1


def _begin(raw: sqlite3.Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        raw.execute(statement)


def _commit(raw: sqlite3.Connection) -> None:
    _raise_if_rolled_back(raw)
    raw.execute("COMMIT")


def reset(raw: sqlite3.Connection) -> None:
    """Roll back, and allow writes again."""
    raw.rollback()
    raw.execute("PRAGMA query_only = OFF")


def _run_inside(
    raw: sqlite3.Connection, work: Callable[..., DriverResult], *args: Any
) -> DriverResult:
    """Run a statement. Raises StoreUnavailable without a transaction: the fence is lost with it."""
    _raise_if_rolled_back(raw)
    result = work(raw, *args)
    _raise_if_rolled_back(raw)
    return result


def _raise_if_rolled_back(raw: sqlite3.Connection) -> None:
    if not raw.in_transaction:
        raise StoreUnavailable(TRANSACTION_LOST).loggable()


def run_statement(raw: sqlite3.Connection, statement: str, values: Any) -> DriverResult:
    """Run one statement."""
    cursor = raw.execute(statement, values)
    rows = cursor.fetchall() if cursor.description else ()
    return DriverResult(rows, cursor.description, cursor.rowcount, cursor.lastrowid or 0)


def run_many(raw: sqlite3.Connection, statement: str, values: Any) -> DriverResult:
    """Run one statement once for each row of values."""
    cursor = raw.executemany(statement, values)
    return DriverResult((), None, cursor.rowcount, cursor.lastrowid or 0)


def adapt_named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return named parameters in SQLite's forms."""
    return {name: _adapt(value) for name, value in values.items()}


def adapt_ordered(values: Sequence[Any]) -> list[Any]:
    """Return ordered parameters in SQLite's forms."""
    return [_adapt(value) for value in values]


def _adapt(value: Any) -> Any:
    adapter = _ADAPTERS.get(type(value))
    return adapter(value) if adapter else value


def _to_number(value: Decimal) -> int | float:
    """Return a number: SQLite sorts text after every number."""
    return int(value) if value == value.to_integral_value() else float(value)


def _to_time_text(value: timedelta) -> str:
    """Return the text of a TIME in MySQL."""
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f".{microseconds:06}" if microseconds else ""
    return f"{'-' if value < timedelta() else ''}{text}{fraction}"


_ADAPTERS: dict[type, Callable[[Any], Any]] = {
    Decimal: _to_number,
    datetime: lambda value: value.isoformat(" "),
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _to_time_text,
}
