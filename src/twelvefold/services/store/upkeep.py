"""Upkeep in SQL: what has been over for long, or was deleted, is removed.

`BATCH` threads a transaction: locks are short, and replicas keep up.
"""

from collections.abc import AsyncIterator, Sequence

from twelvefold.core.ports import Row
from twelvefold.services.store.database import SECOND_US, Database, listed
from twelvefold.services.store.transaction import Connection

BATCH = 150
"""Threads at once. Below `eq_range_index_dive_limit` (200), above which a server guesses how many
rows a list of keys has, and reads whole tables where it guesses wrong."""
CLOCKS_US = 3_600 * SECOND_US
"""By how much the clock that a thread's id was made by may be ahead of the database's."""
_LAST_MS = 0xFFFF_FFFF_FFFF
_OF_NO_THREAD = ("delete_old_requests", "delete_old_letters")
_OF_THREADS = (
    *("delete_deltas", "delete_requests", "delete_events", "delete_runs", "delete_outbox"),
    "delete_threads",
)


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

    async def _aged(self, before_us: int) -> AsyncIterator[Sequence[str]]:
        below = _below(before_us + CLOCKS_US)
        while rows := await self._found(
            "aged_threads", below=below, before_us=before_us, limit=BATCH
        ):
            below = rows[-1]["id"]
            yield [row["id"] for row in rows]

    async def _deleted(self) -> AsyncIterator[Sequence[str]]:
        deleted_at, after = 0, ""
        while rows := await self._found(
            "deleted_threads", deleted_at=deleted_at, after=after, limit=BATCH
        ):
            deleted_at, after = rows[-1]["deleted_at"], rows[-1]["id"]
            yield [row["id"] for row in rows]

    async def _prune_old(self, threads: Sequence[str], before_us: int) -> int:
        """Remove the old ones of these, and then what those were forked from."""
        pruned = 0
        while threads:
            old = await self._found_in("old_threads", "threads", threads, before_us=before_us)
            gone = await self._remove([row["id"] for row in old], before_us) if old else []
            pruned += len(gone)
            threads = sorted({row["forked_from"] for row in gone if row["forked_from"]})
        return pruned

    async def _remove(self, threads: Sequence[str], before_us: int) -> list[Row]:
        async with self._transaction() as db:
            locked = await self._of(db, "lock_threads", threads, before_us)
            if not locked:
                return []
            ids = [row["id"] for row in locked]
            for name in ("lock_runs", "lock_openings"):
                await db.fetch(*listed(self._sql[name], "threads", ids))
            # Something may have happened to them since they were found.
            old = await self._of(db, "old_threads", ids, before_us)
            ids = [row["id"] for row in old]
            for name in _OF_THREADS if old else ():
                await db.execute(*listed(self._sql[name], "threads", ids))
            return old

    async def _of(
        self, db: Connection, name: str, threads: Sequence[str], before_us: int
    ) -> list[Row]:
        """What a statement finds of these threads."""
        statement, values = listed(self._sql[name], "threads", threads)
        return await db.fetch(statement, {**values, "before_us": before_us})


def _below(before_us: int) -> str:
    """What the ids of threads made before then are less than."""
    return f"{min(max(0, before_us // 1_000), _LAST_MS):012x}g"
