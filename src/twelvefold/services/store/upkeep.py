"""Upkeep in SQL: what has been over for long, or was deleted, is removed."""

from twelvefold.services.store.database import Database
from twelvefold.services.store.transaction import Connection

_OF_A_THREAD = (
    *("delete_deltas", "delete_requests", "delete_events", "delete_runs", "delete_outbox"),
    "delete_thread",
)


class Upkeep(Database):
    """The methods of `twelvefold.core.ports.Store` that keep the database tidy."""

    async def prune(self, *, before_us: int) -> int:
        await self._written("delete_old_requests")
        pruned = 0
        while True:
            async with self._transaction() as db:
                rows = await db.fetch(self._sql["old_threads"], {"before_us": before_us})
                for row in rows:
                    pruned += await self._prune_thread(db, row["id"], before_us)
            if not rows:
                return pruned

    async def _prune_thread(self, db: Connection, thread: str, before_us: int) -> bool:
        values = {"thread": thread, "before_us": before_us}
        # Whoever goes on with a thread, or forks it, takes its row first. It may have happened
        # since the thread was found.
        await db.fetch(self._sql["lock_thread"], {"thread": thread})
        if not await db.fetch(self._sql["old_thread"], values):
            return False
        for name in _OF_A_THREAD:
            await db.execute(self._sql[name], {"thread": thread})
        return True
