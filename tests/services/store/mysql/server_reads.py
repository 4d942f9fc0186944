"""How many rows the statements of a store make a MySQL server read, by the server's counters."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twelvefold.core.ports import Store
from twelvefold.services.store.sql.store import SQLStore

Value = TypeVar("Value")


async def reads_of(store: Store, work: Coroutine[Any, Any, Value]) -> tuple[Value, int]:
    """Return the result of the work, and how many index entries and rows the server read for it.

    The work awaits one statement after the other: then each pool gives the same session each time.
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
