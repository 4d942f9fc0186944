"""How many rows the statements of a store make a MySQL server read, by the server's counters.

The optimizer chooses a plan by statistics that the server updates in the background, some time
after the rows have changed. These tests have statistics of known tables instead: each runs once
with those of empty tables, which an optimizer has at its worst, and once with those of now.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.services.store.builders import TABLES
from twelvefold.core.ports import Store
from twelvefold.services.store.sql.store import SQLStore

Value = TypeVar("Value")


@dataclass(frozen=True)
class Reads:
    """Counts what a server reads for `store`, which has one session for each kind of statement.

    `is_current`: with statistics of the rows that there are.
    """

    store: Store
    is_current: bool

    async def of(self, work: Coroutine[Any, Any, Value]) -> tuple[Value, int]:
        """Return as `reads_of` does."""
        if self.is_current:
            await _run_for_tables(self.store, "ANALYZE TABLE {}")
        return await reads_of(self.store, work)


async def freeze_statistics(store: Store) -> None:
    """Empty the tables, and keep the statistics of empty tables until the next ANALYZE.

    A deletion would leave rows in the indexes until the server purges them.
    """
    for statement in (
        "ALTER TABLE {} STATS_AUTO_RECALC = 0",
        "TRUNCATE TABLE {}",
        "ANALYZE TABLE {}",
    ):
        await _run_for_tables(store, statement)


async def _run_for_tables(store: Store, statement: str) -> None:
    assert isinstance(store, SQLStore)
    await store.run_script("".join(f"{statement.format(table)};" for table in TABLES))


async def reads_of(store: Store, work: Coroutine[Any, Any, Value]) -> tuple[Value, int]:
    """Return the result of the work, and how many index entries and rows the server read for it.

    The store has awaited one statement after the other: then each of its pools has one session.
    """
    before = await _reads(store)
    found = await work
    return found, await _reads(store) - before


async def _reads(store: Store) -> int:
    assert isinstance(store, SQLStore)
    read = 0
    for session in (store._read_connection, store._transaction):
        async with session() as db:
            rows = await db.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'", {})
        read += sum(int(row["Value"]) for row in rows)
    return read
