"""A connection to a SQLite file for the length of one transaction, and its errors as ours.

Everything on a file happens in one thread.
"""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from twelvefold.core.ports import Row
from twelvefold.errors import DuplicateRow, StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store.sql_text import Dialect
from twelvefold.services.store.transaction import (
    BUSY,
    MIGRATE,
    NO_ANSWER,
    OVER,
    Answer,
    as_rows,
)

Result = TypeVar("Result")
SETTINGS = (
    "PRAGMA journal_mode = WAL",
    # A commit survives the loss of power: that is what a journal is for.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
BUSY_S = 5.0
"""How long to wait for another process that writes."""
_UNIQUE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}
_TRY_AGAIN = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL),
}
_OWN = {
    *(sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH),
    *(sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE),
}
"""The statement or its values are wrong; all other errors are the database's."""


def fault_of(error: BaseException) -> StoreUnavailable | StoreRefused:
    """The driver's error as the tree has it."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return _without_code(error)
    if code & 0xFF in _TRY_AGAIN:
        return StoreUnavailable(f"the database asks to try again: {error} (SQLite)").loggable()
    if code & 0xFF not in _OWN:
        return StoreFailed(f"the database reports: {error} (SQLite)").loggable()
    return _own(error, code).loggable(f"the database refuses the statement: SQLite error {code}")


def _own(error: BaseException, code: int) -> StoreRefused:
    if "no such table" in str(error):
        return StoreRefused(f"{error} (SQLite); {MIGRATE}")
    return DuplicateRow(str(error)) if code in _UNIQUE else StoreRefused(f"{error} (SQLite)")


def _without_code(error: BaseException) -> StoreUnavailable | StoreRefused:
    """What the module says itself, before or after it has asked the library."""
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError | sqlite3.Warning):
        return StoreRefused(f"{error} (SQLite)")
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return StoreRefused(f"a value does not fit SQLite: {error}")
    failed = f"the database's answer cannot be read: {type(error).__name__}"
    return StoreFailed(f"{failed}: {error}").loggable(failed)


class SQLiteFile:
    """One connection to a database, and the thread that everything on it happens in."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._raw: sqlite3.Connection | None = None

    async def call(self, work: Callable[..., Result], *args: Any) -> Result:
        """Do something with the connection, its first argument. Errors come out as ours."""
        try:
            return await asyncio.wrap_future(self.queue(work, *args))
        except (StoreUnavailable, StoreRefused):
            raise
        except Exception as error:
            raise fault_of(error) from error

    def queue(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        """The same, behind all that was asked before, without waiting for it."""
        try:
            return self._thread.submit(lambda: work(self._opened(), *args))
        except RuntimeError as error:
            raise StoreRefused("the store is closed").loggable() from error

    async def close(self) -> None:
        await asyncio.wrap_future(self._thread.submit(self._closed))
        self._thread.shutdown(wait=False)

    def _opened(self) -> sqlite3.Connection:
        if self._raw is None:
            try:
                raw = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            except sqlite3.OperationalError as error:
                raise StoreFailed(f"{error}: {self._path} (SQLite)").loggable() from error
            try:
                for setting in SETTINGS:
                    raw.execute(setting)
                raw.create_function("regexp", 2, _regexp, deterministic=True)
            except BaseException:
                raw.close()
                raise
            self._raw = raw
        return self._raw

    def _closed(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None


def _regexp(pattern: str, text: str | None) -> bool | None:
    return None if text is None else re.search(pattern, text) is not None


class SQLiteConnection:
    """Obeys `transaction.Connection`: a file for the length of one transaction."""

    dialect: Dialect = "sqlite"
    touch = 0

    def __init__(self, file: SQLiteFile, *, may_write: bool = True) -> None:
        self._file = file
        self._may_write = may_write
        self._over: StoreUnavailable | StoreRefused | None = None
        self._under_way = 0

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        answer = await self._ask(_answer, statement, _by_name(values))
        return as_rows([column[0] for column in answer.description or ()], answer.rows)

    async def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        return (await self._ask(_answer, statement, _by_name(values))).rowcount

    async def ask(self, statement: str, values: Sequence[Any]) -> Answer:
        return await self._ask(_answer, statement, _in_order(values))

    async def ask_many(self, statement: str, values: Sequence[Sequence[Any]]) -> Answer:
        return await self._ask(_answer_to_many, statement, [_in_order(row) for row in values])

    async def begin(self, *statements: str) -> None:
        await self._file.call(_begin, statements)

    async def commit(self) -> None:
        if self._over:
            raise self._over
        try:
            await self._file.call(_commit)
        except StoreRefused as refused:
            if _is_deferred(refused.__cause__):
                raise
            raise StoreFailed(f"the transaction cannot be ended: {refused}").loggable(
                f"the transaction cannot be ended: {refused.logged}"
            ) from refused

    def raise_if_lost(self) -> None:
        if self._over:
            raise self._over
        if self._under_way:
            raise StoreRefused(BUSY)

    def leave(self) -> None:
        """Undo what was not committed, and ask nothing more.

        A cancelled statement still runs in its thread; this comes behind it, and before whatever
        the next transaction does.
        """
        self._over = StoreRefused(OVER)
        with suppress(StoreRefused):
            self._file.queue(reset)

    async def _ask(self, work: Callable[..., Answer], *args: Any) -> Answer:
        if self._over:
            raise self._over
        self._under_way += 1
        try:
            return await self._file.call(_inside, work, *args)
        except StoreUnavailable as lost:
            if not self._may_write and _is_a_write(lost.__cause__):
                raise StoreRefused(str(lost)) from lost.__cause__
            self._over = lost
            raise
        except asyncio.CancelledError:
            self._over = StoreFailed(NO_ANSWER).loggable()
            raise
        finally:
            self._under_way -= 1


def _is_a_write(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY


def _is_deferred(error: BaseException | None) -> bool:
    """Whether rows are at fault: a constraint that is looked at only by the COMMIT."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CONSTRAINT


def _begin(raw: sqlite3.Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        raw.execute(statement)


def _commit(raw: sqlite3.Connection) -> None:
    _refuse_outside(raw)
    raw.execute("COMMIT")


def reset(raw: sqlite3.Connection) -> None:
    raw.rollback()
    raw.execute("PRAGMA query_only = OFF")


def _inside(raw: sqlite3.Connection, work: Callable[..., Answer], *args: Any) -> Answer:
    """What comes after a lost transaction is refused: the fence is lost, too."""
    _refuse_outside(raw)
    answer = work(raw, *args)
    _refuse_outside(raw)
    return answer


def _refuse_outside(raw: sqlite3.Connection) -> None:
    if not raw.in_transaction:
        raise StoreUnavailable("the database has undone the transaction").loggable()


def _answer(raw: sqlite3.Connection, statement: str, values: Any) -> Answer:
    cursor = raw.execute(statement, values)
    rows = cursor.fetchall() if cursor.description else ()
    return Answer(rows, cursor.description, cursor.rowcount, cursor.lastrowid or 0)


def _answer_to_many(raw: sqlite3.Connection, statement: str, values: Any) -> Answer:
    cursor = raw.executemany(statement, values)
    return Answer((), None, cursor.rowcount, cursor.lastrowid or 0)


def _by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _form(value) for name, value in values.items()}


def _in_order(values: Sequence[Any]) -> list[Any]:
    return [_form(value) for value in values]


def _form(value: Any) -> Any:
    form = _FORMS.get(type(value))
    return form(value) if form else value


def _number(value: Decimal) -> int | float:
    """As a number: a text would be greater than every number."""
    return int(value) if value == value.to_integral_value() else float(value)


def _duration(value: timedelta) -> str:
    """As MySQL writes a TIME."""
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f".{microseconds:06}" if microseconds else ""
    return f"{'-' if value < timedelta() else ''}{text}{fraction}"


_FORMS: dict[type, Callable[[Any], Any]] = {
    Decimal: _number,
    datetime: lambda value: value.isoformat(" "),
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _duration,
}
