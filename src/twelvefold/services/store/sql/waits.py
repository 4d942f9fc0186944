"""Waits of runs and the events that are sent to them, in SQL."""

from collections.abc import Collection

from twelvefold.core import RunId, RunStatus, SentSignal, SignalKey, ThreadId, WaitState
from twelvefold.errors import NotFound
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.signals import send_signal, wake_receivers
from twelvefold.services.store.sql.base import Database, expand_list, in_batches, run_key


class Waits(Database):
    """Implements `twelvefold.core.ports.WaitStore`."""

    async def wait_state(
        self, run: RunId, signals: Collection[str] = (), runs: Collection[RunId] = ()
    ) -> WaitState:
        async with self._read_connection() as db:
            # First: what changes after this changes the counter, too.
            rows = await db.fetch(self._sql["wake_state"], run_key(run))
            if not rows:
                raise NotFound(f"no run {run}")
            sent = {one: await self._sent_signal(db, one) for one in signals}
            return WaitState(
                rows[0]["wakes"],
                rows[0]["now_us"],
                {one: signal for one, signal in sent.items() if signal},
                await self._statuses(db, runs),
                rows[0]["status"],
            )

    async def _sent_signal(self, db: Connection, signal: str) -> SentSignal | None:
        for row in await db.fetch(self._sql["sent_signal"], {"signal": signal}):
            return SentSignal(row["payload"], row["sender"], row["sent_at"])
        return None

    async def _statuses(self, db: Connection, runs: Collection[RunId]) -> dict[RunId, RunStatus]:
        """Return the status of each run; a run that was removed counts as cancelled."""
        found: dict[RunId, RunStatus] = dict.fromkeys(runs, "cancelled")
        for batch in in_batches([run.thread for run in runs]):
            statement, values = expand_list(self._sql["child_states"], "threads", batch)
            for row in await db.fetch(statement, values):
                found[RunId(ThreadId(row["thread_id"]), row["ordinal"])] = row["status"]
        return found

    async def count_descendants(self, run: RunId) -> int:
        rows = await self._fetch("descendants", **run_key(run))
        return int(rows[0]["descendants"])

    async def signal(self, to: SignalKey, payload: str, sender: str) -> bool:
        async with self._transaction() as db:
            is_first = await send_signal(db, self._sql, to, payload, sender)
            if is_first:
                await wake_receivers(db, self._sql, to.id)
            return is_first
