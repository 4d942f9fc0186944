"""A connection to SQLite, in a thread of its own, for the length of one transaction."""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from twelvefold.errors import ServiceFault, StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store.connection import (
    NO_ANSWER,
    TRANSACTION_LOST,
    TRANSACTION_OVER,
    Connection,
    DriverResult,
    Reply,
)
from twelvefold.services.store.sql_text import Dialect
from twelvefold.services.store.sqlite.errors import (
    is_deferred_constraint,
    is_write_refusal,
    translate_error,
)

Result = TypeVar("Result")
Part = tuple[Callable[..., DriverResult], str, Any]
"""A function that runs a statement, the statement, and its values."""
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


class SQLiteConnection(Connection):
    """A connection to SQLite for the length of one transaction.

    `begin` are the statements that begin it; they go to the thread with the first packet.
    """

    dialect: Dialect = "sqlite"

    def __init__(self, file: SQLiteFile, *begin: str, may_write: bool = True) -> None:
        self._file = file
        self._begin = begin
        self._may_write = may_write
        self._running = 0

    async def execute_many_native(
        self, statement: str, values: Sequence[Sequence[Any]]
    ) -> DriverResult:
        return await self._run((run_many, statement, [adapt_ordered(row) for row in values]))

    async def rollback(self) -> None:
        """Roll back, and begin a transaction in which nothing was written."""
        self._deferred = ()
        if not self._has_sent or self._running:
            return
        self._running += 1
        try:
            with suppress(StoreUnavailable, StoreRefused):
                await self._file.call(_restart)
        finally:
            self._running -= 1

    def close(self) -> None:
        """Roll back what was not committed, and refuse further statements.

        A cancelled statement still runs in its thread; the rollback is queued after it, and before
        the next transaction.
        """
        self._end = StoreRefused(TRANSACTION_OVER)
        with suppress(StoreRefused):
            self._file.queue(reset)

    @property
    def _is_running(self) -> bool:
        return self._running > 0

    def _bind(self, statement: str, values: Mapping[str, Any]) -> Part:
        return run_statement, statement, adapt_named(values)

    def _bind_native(self, statement: str, values: Sequence[Any]) -> Part:
        return run_statement, statement, adapt_ordered(values)

    async def _send(self, parts: Sequence[Part], *, commits: bool = False) -> Reply:
        begin, self._begin = self._begin, ()
        self._running += 1
        try:
            results, error = await self._file.call(_run_packet, begin, parts, commits)
        except asyncio.CancelledError:
            self._end = StoreFailed(NO_ANSWER).loggable()
            raise
        except (StoreUnavailable, StoreRefused) as fault:
            if isinstance(fault, StoreUnavailable):
                self._end = fault
            return Reply((), fault)
        finally:
            self._running -= 1
        return Reply(results, self._record_error(error) if error else None)

    def _record_error(self, error: Exception) -> StoreUnavailable | StoreRefused:
        """Return the error as the store's, and note whether the transaction is lost with it."""
        if isinstance(error, StoreUnavailable):
            fault: StoreUnavailable | StoreRefused = error
        else:
            fault = translate_error(error)
            fault.__cause__ = error
        if isinstance(fault, StoreUnavailable):
            if not self._may_write and is_write_refusal(error):
                refused = StoreRefused(str(fault))
                refused.__cause__ = error
                return refused
            self._end = fault
        return fault

    def _commit_fault(self, fault: ServiceFault) -> ServiceFault:
        is_of_the_tool = is_deferred_constraint(fault.__cause__)
        return fault if is_of_the_tool else super()._commit_fault(fault)


def _run_packet(
    raw: sqlite3.Connection, begin: Sequence[str], parts: Sequence[Part], commits: bool
) -> tuple[list[DriverResult], Exception | None]:
    """Run the statements up to the first error; return their results, and the error.

    Without a transaction the error is StoreUnavailable: the fence is lost with it.
    """
    results: list[DriverResult] = []
    try:
        for statement in begin:
            raw.execute(statement)
        for run, statement, values in parts:
            _raise_if_rolled_back(raw)
            result = run(raw, statement, values)
            _raise_if_rolled_back(raw)
            results.append(result)
        if commits:
            _raise_if_rolled_back(raw)
            raw.execute("COMMIT")
    except Exception as error:
        return results, error
    return results, None


def _restart(raw: sqlite3.Connection) -> None:
    raw.rollback()
    raw.execute("BEGIN")


def reset(raw: sqlite3.Connection) -> None:
    """Roll back, and allow writes again."""
    raw.rollback()
    raw.execute("PRAGMA query_only = OFF")


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
