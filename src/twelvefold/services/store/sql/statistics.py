"""The figures of a whole deployment in SQL, each read from an index and up to a limit."""

from collections.abc import Collection
from typing import Any, get_args

from twelvefold.core import OutboxCount, PoolCount, RunCount
from twelvefold.core.ports.statistics import LiveStatus
from twelvefold.services.store.sql.base import SECOND_US, Database


class Statistics(Database):
    """Implements `twelvefold.core.ports.StatisticsStore`."""

    def pool_counts(self) -> list[PoolCount]:
        return []

    async def run_counts(self, *, workflows: Collection[str], limit: int) -> list[RunCount]:
        if not workflows:
            return []
        values: dict[str, Any] = {f"workflow{n}": name for n, name in enumerate(workflows)}
        values |= {f"status_{status}": status for status in get_args(LiveStatus)}
        async with self._read_connection() as db:
            rows = await db.fetch(self._run_counts(len(workflows)), values | {"limit": limit})
        return [
            RunCount(row["workflow"], row["status"], row["runs"], _seconds(row["age_us"]))
            for row in rows
        ]

    def _run_counts(self, workflows: int) -> str:
        """Return one statement for all workflows: an index is read in the order of its columns."""
        part = self._sql["run_count"]
        parts = (
            part.replace(":status", f":status_{status}").replace(":workflow", f":workflow{n}")
            for n in range(workflows)
            for status in get_args(LiveStatus)
        )
        return "\nUNION ALL\n".join(parts)

    async def outbox_counts(self, *, limit: int) -> list[OutboxCount]:
        return [
            OutboxCount(row["state"], row["messages"], _seconds(row["age_us"]))
            for row in await self._fetch("outbox_counts", limit=limit)
        ]


def _seconds(age_us: Any) -> float:
    """Return an age in seconds; that of a time in the future, or of no row, is 0."""
    return max(0, int(age_us or 0)) / SECOND_US
