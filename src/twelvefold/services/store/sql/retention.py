"""Upkeep in SQL: what has been over for long, or was deleted, is removed.

`BATCH` threads a transaction: locks are short, and replicas keep up. Threads that follow each other
in the primary key are removed as one range, which costs a server a third of a list of their ids.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from twelvefold.core.ports import Row
from twelvefold.services.store.sql.base import SECOND_US, Database, in_parts, listed
from twelvefold.services.store.sql.ranges import IdRange, in_ranges, ranges_of, single_ranges
from twelvefold.services.store.transaction import Connection

BATCH = 150
"""Threads at once. Below `eq_range_index_dive_limit` (200), above which a server guesses how many
rows a list of keys has, and reads whole tables where it guesses wrong."""
RANGE = 300
"""Threads at once that follow each other: at most half as many ranges, as `BATCH` demands."""
CLOCKS_US = 3_600 * SECOND_US
"""By how much the clock that a thread's id was made by may be ahead of the database's."""
_LAST_MS = 0xFFFF_FFFF_FFFF
_OF_NO_THREAD = ("delete_old_requests", "delete_old_letters")
_OF_THREADS = (
    *("delete_deltas", "delete_requests", "delete_events", "delete_runs", "delete_outbox"),
    "delete_threads",
)


class _Interrupted(Exception):
    """A thread was begun among those of a range: the transaction is rolled back."""


class _Page:
    """Threads that may be removed; `all_ids` are those of the whole table between them, in order.

    Without `all_ids` each thread is a range of its own.
    """

    def __init__(self, threads: Sequence[str], all_ids: Sequence[str] = ()) -> None:
        self.threads = threads
        self._all_ids = all_ids
        self.ranges: list[IdRange] = (
            ranges_of(threads, all_ids) if all_ids else single_ranges(threads)
        )

    def only(self, rows: Sequence[Row]) -> "_Page":
        """The page with the threads of these rows alone."""
        return _Page(sorted(row["id"] for row in rows), self._all_ids)


class Upkeep(Database):
    """The methods of `twelvefold.core.ports.Store` that keep the database tidy."""

    async def prune(self, *, before_us: int) -> int:
        await self._requeue_cancelled()
        for name in _OF_NO_THREAD:
            while await self._written(name, before_us=before_us):
                pass  # so many at a time
        pruned = 0
        for pages in (self._aged(before_us), self._deleted()):
            async for page in pages:
                pruned += await self._prune_old(page, before_us)
        return pruned

    async def _requeue_cancelled(self) -> None:
        # Read without locks first: the rows are few, if any, among all that wait.
        while rows := await self._found("cancelled_waiting", limit=BATCH):
            async with self._transaction() as db:
                for row in rows:
                    run = {"thread": row["thread_id"], "ordinal": row["ordinal"]}
                    await db.execute(self._sql["requeue_cancelled"], run)

    async def _aged(self, before_us: int) -> AsyncIterator[_Page]:
        below = _below(before_us + CLOCKS_US)
        while rows := await self._found(
            "aged_threads", below=below, before_us=before_us, limit=RANGE
        ):
            below = rows[-1]["id"]
            ids = [row["id"] for row in reversed(rows)]
            yield _Page([row["id"] for row in reversed(rows) if row["is_old"]], ids)

    async def _deleted(self) -> AsyncIterator[_Page]:
        deleted_at, after = 0, ""
        while rows := await self._found(
            "deleted_threads", deleted_at=deleted_at, after=after, limit=BATCH
        ):
            deleted_at, after = rows[-1]["deleted_at"], rows[-1]["id"]
            yield _Page([row["id"] for row in rows])

    async def _prune_old(self, page: _Page, before_us: int) -> int:
        """Remove the old threads of a page, and then what those were forked from."""
        pruned, pages = 0, [page]
        while pages:
            page = pages.pop()
            async with self._reading() as db:
                old = await self._removable(db, page, before_us)
            gone = await self._remove(page.only(old), before_us) if old else []
            pruned += len(gone)
            origins = {row["forked_from"] for row in gone if row["forked_from"]}
            pages += [_Page(some) for some in in_parts(sorted(origins), BATCH)]
        return pruned

    async def _remove(self, page: _Page, before_us: int) -> list[Row]:
        with suppress(_Interrupted):
            return await self._remove_at_once(page, before_us)
        gone = []
        for some in in_parts(page.threads, BATCH):
            gone += await self._remove_at_once(_Page(some), before_us)
        return gone

    async def _remove_at_once(self, page: _Page, before_us: int) -> list[Row]:
        """Remove these threads unless something has happened to them since they were found."""
        async with self._transaction() as db:
            # Locks by a list: of these threads alone, none that were begun among them.
            locked = await db.fetch(*listed(self._sql["lock_threads"], "threads", page.threads))
            if not locked:
                return []
            page = page.only(locked)
            for name in ("lock_runs", "lock_openings"):
                await db.fetch(*listed(self._sql[name], "threads", page.threads))
            old = await self._removable(db, page, before_us)
            page = page.only(old)
            if not old:
                return []
            for name in _OF_THREADS:
                removed = await db.execute(*in_ranges(self._sql[name], page.ranges))
            # The threads' own rows are the last: one that was begun meanwhile is among them.
            if removed != len(old):
                raise _Interrupted
            return old

    async def _removable(self, db: Connection, page: _Page, before_us: int) -> list[Row]:
        if not page.threads:
            return []
        rows = await self._of(db, "thread_states", page, before_us)
        kept = {row["id"] for row in rows if row["part"] == "keep"}
        removable = set(page.threads) - kept
        return [row for row in rows if row["part"] == "thread" and row["id"] in removable]

    async def _of(self, db: Connection, name: str, page: _Page, before_us: int) -> list[Row]:
        """What a statement finds of these threads."""
        statement, values = in_ranges(self._sql[name], page.ranges)
        return await db.fetch(statement, {**values, "before_us": before_us})


def _below(before_us: int) -> str:
    """What the ids of threads made before then are less than."""
    return f"{min(max(0, before_us // 1_000), _LAST_MS):012x}g"
