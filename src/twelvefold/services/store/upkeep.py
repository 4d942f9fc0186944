"""Upkeep in SQL: what has been over for long, or was deleted, is removed.

A hundred threads a transaction: locks are short, and replicas keep up.
"""

from collections.abc import Sequence

from twelvefold.services.store.database import Database, listed
from twelvefold.services.store.transaction import Connection

_OF_NO_THREAD = ("requeue_cancelled", "delete_old_requests", "delete_old_letters")
_OF_THREADS = (
    *("delete_deltas", "delete_requests", "delete_events", "delete_runs", "delete_outbox"),
    "delete_threads",
)


class Upkeep(Database):
    """The methods of `twelvefold.core.ports.Store` that keep the database tidy."""

    async def prune(self, *, before_us: int) -> int:
        for name in _OF_NO_THREAD:
            while await self._written(name, before_us=before_us):
                pass  # so many at a time
        pruned = 0
        while some := await self._prune_once(before_us):
            pruned += some  # and what those were forked from may go now
        return pruned

    async def _prune_once(self, before_us: int) -> int:
        pruned, after = 0, ""
        while aged := await self._found("aged_threads", after=after, before_us=before_us):
            threads, after = [row["id"] for row in aged], aged[-1]["id"]
            old = await self._found_in("old_threads", "threads", threads, before_us=before_us)
            if old:
                pruned += await self._prune_threads([row["id"] for row in old], before_us)
        return pruned

    async def _prune_threads(self, threads: Sequence[str], before_us: int) -> int:
        async with self._transaction() as db:
            locked = await self._of(db, "lock_threads", threads, before_us)
            if not locked:
                return 0
            for name in ("lock_runs", "lock_openings"):
                await db.fetch(*listed(self._sql[name], "threads", locked))
            # Something may have happened to them since they were found.
            old = await self._of(db, "old_threads", locked, before_us)
            for name in _OF_THREADS if old else ():
                await db.execute(*listed(self._sql[name], "threads", old))
            return len(old)

    async def _of(
        self, db: Connection, name: str, threads: Sequence[str], before_us: int
    ) -> list[str]:
        """Those of the threads that a statement finds."""
        statement, values = listed(self._sql[name], "threads", threads)
        return [row["id"] for row in await db.fetch(statement, {**values, "before_us": before_us})]
