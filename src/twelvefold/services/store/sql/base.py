"""The base of every part of the store: named statements, run on connections of a subclass."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from twelvefold.core import Row, RunId
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql_text import Dialect, load_statements

STATEMENT_FILES = (
    *("runs.sql", "queue.sql", "threads.sql", "keys.sql", "outbox.sql", "releases.sql"),
    *("retention.sql", "signals.sql", "processes.sql", "usage.sql", "operations.sql", "shares.sql"),
    *("budgets.sql", "traces.sql", "questions.sql"),
)
SECOND_US = 1_000_000
MAX_LIST = 150
"""Values in one list of a statement. Below `eq_range_index_dive_limit` (200): above it MySQL
estimates how many rows the keys match, and may read a whole table."""
Value = TypeVar("Value")
Result = TypeVar("Result")


class RowLocked(Exception):
    """Another transaction has locked a row, and this one does not wait for it."""


class Database(ABC):
    """The named statements of one dialect. A subclass provides the connections."""

    def __init__(
        self, dialect: Dialect, words: Mapping[str, str], now_us: Callable[[], int]
    ) -> None:
        """Load the statements. `words` replace `{word}` in them.

        `now_us` returns microseconds since 1970.
        """
        self._dialect = dialect
        self._words = words
        self._sql: dict[str, str] = {}
        self._load(words)
        self._now_us = now_us

    def use_clock(self, now_us: int) -> None:
        """Make time stand still at `now_us`, in SQL too; a test moves it with the next call."""
        self._load({**self._words, "now_us": str(now_us)})
        self._now_us = lambda: now_us

    def _load(self, words: Mapping[str, str]) -> None:
        for file in (*STATEMENT_FILES, f"{self._dialect}.sql"):
            self._sql |= load_statements(file, words)

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction that commits when the body ends and rolls back if it raises."""

    def _tool_transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction for a tool, which may hold it for long."""
        return self._transaction()

    def _renewal_connection(self) -> AbstractAsyncContextManager[Connection]:
        """Open a connection that renews leases: each statement commits, and no tool delays it."""
        return self._transaction()

    @abstractmethod
    def _read_connection(self) -> AbstractAsyncContextManager[Connection]:
        """Open a connection that reads committed rows."""

    def _is_row_locked(self, error: StoreUnavailable) -> bool:
        """Return whether a statement with NOWAIT failed because a row is locked."""
        return False

    async def _lock(self, db: Connection, statement: str, values: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a statement with NOWAIT. Raises RowLocked."""
        try:
            return await db.fetch(statement, values)
        except StoreUnavailable as error:
            if self._is_row_locked(error):
                raise RowLocked from error
            raise

    async def _without_locked(
        self, values: Sequence[Value], work: Callable[[Sequence[Value]], Awaitable[Result]]
    ) -> list[Result]:
        """Return the results of `work`, which raises RowLocked if one of the rows is locked.

        It is called with all values, then with halves of them; locked rows are left out. SKIP
        LOCKED would be one statement, but not every database has it.
        """
        try:
            return [await work(values)]
        except RowLocked:
            half = len(values) // 2
        if not half:
            return []
        first = await self._without_locked(values[:half], work)
        return first + await self._without_locked(values[half:], work)

    async def _execute(self, statement: str, **values: Any) -> int:
        """Run one statement in its own transaction and return the number of rows it matched."""
        async with self._transaction() as db:
            return await db.execute(self._sql[statement], values, commit=True)

    async def _fetch(self, statement: str, **values: Any) -> list[Row]:
        """Return all rows of one statement."""
        async with self._read_connection() as db:
            return await db.fetch(self._sql[statement], values)

    async def _fetch_in(
        self, statement: str, name: str, values: Sequence[Any], **others: Any
    ) -> list[Row]:
        """Return all rows of one statement whose parameter `name` is a list of values."""
        text, named = expand_list(self._sql[statement], name, values)
        async with self._read_connection() as db:
            return await db.fetch(text, named | others)


def ascii_id(text: str) -> str:
    """Return a text to look for in a column of ids; "", which no row has, for one that is no id.

    These columns are ASCII: MySQL compares them with no other text.
    """
    return text if text.isascii() else ""


def in_batches(values: Collection[Value], size: int = MAX_LIST) -> Iterator[Sequence[Value]]:
    """Yield all values, at most `size` at a time."""
    all_values = list(values)
    for first in range(0, len(all_values), size):
        yield all_values[first : first + size]


def expand_list(statement: str, name: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Replace `:name` by one parameter for each value; return the statement and the parameters."""
    named = {f"{name}{number}": value for number, value in enumerate(values)}
    return statement.replace(f":{name}", ", ".join(f":{one}" for one in named)), named


def run_key(run: RunId) -> dict[str, Any]:
    """Return a run's primary key as parameters."""
    return {"thread": run.thread, "ordinal": run.ordinal}


def wall_clock_us() -> int:
    """Return microseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1000
