"""What every part of the store stands on: named statements, and a driver's transactions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from twelvefold.core.ids import RunId
from twelvefold.core.ports import Row
from twelvefold.services.store.sql_text import load
from twelvefold.services.store.transaction import Connection

FILES = (
    *("journal.sql", "queue.sql", "conversations.sql", "keys.sql", "outbox.sql", "releases.sql"),
    "upkeep.sql",
)
SECOND_US = 1_000_000
LISTED = 150
"""Values in one list. Below `eq_range_index_dive_limit` (200), above which a server guesses how
many rows a list of keys has, and may read a whole table."""
Value = TypeVar("Value")


class Database(ABC):
    """A subclass brings connections, its errors as ours, and statements of its own kind.

    `words` differ between the dialects; `now_us` gives microseconds since 1970.
    """

    def __init__(
        self, own_statements: str, words: Mapping[str, str], now_us: Callable[[], int]
    ) -> None:
        self._sql: dict[str, str] = {}
        for file in (*FILES, own_statements):
            self._sql |= load(file, words)
        self._now_us = now_us

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[Connection]:
        """A connection in a transaction that commits when the body ends, else rolls back."""

    def _lasting(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction for a tool, which may take as long as it likes."""
        return self._transaction()

    def _renewing(self) -> AbstractAsyncContextManager[Connection]:
        """A connection to renew leases on; each statement is a transaction. Waits for no tool."""
        return self._transaction()

    @abstractmethod
    def _reading(self) -> AbstractAsyncContextManager[Connection]:
        """A connection to read what is committed."""

    async def _written(self, statement: str, **values: Any) -> int:
        """Run one statement in a transaction of its own; the number of rows that it matched."""
        async with self._transaction() as db:
            return await db.execute(self._sql[statement], values)

    async def _found(self, statement: str, **values: Any) -> list[Row]:
        """All rows of one statement."""
        async with self._reading() as db:
            return await db.fetch(self._sql[statement], values)

    async def _found_in(
        self, statement: str, name: str, values: Sequence[Any], **others: Any
    ) -> list[Row]:
        """All rows of one statement in which the parameter `name` stands for a list."""
        text, named = listed(self._sql[statement], name, values)
        async with self._reading() as db:
            return await db.fetch(text, named | others)


def in_parts(values: Collection[Value], size: int = LISTED) -> Iterator[Sequence[Value]]:
    """All of them, so many at a time as one statement may list."""
    whole = list(values)
    for first in range(0, len(whole), size):
        yield whole[first : first + size]


def listed(statement: str, name: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """The statement with as many parameters as there are values where it has `:name`."""
    named = {f"{name}{number}": value for number, value in enumerate(values)}
    return statement.replace(f":{name}", ", ".join(f":{one}" for one in named)), named


def key_of(run: RunId) -> dict[str, Any]:
    """A run's primary key as parameters."""
    return {"thread": run.thread, "ordinal": run.ordinal}
