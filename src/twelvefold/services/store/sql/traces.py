"""Exports of spans that may be missing, in SQL."""

from collections.abc import Iterable
from typing import Any

from twelvefold.core import RunId, ThreadId, TraceExport
from twelvefold.services.store.sql.base import SECOND_US, Database, run_key


class Traces(Database):
    """Implements `twelvefold.core.ports.TraceStore`."""

    async def add_trace_export(self, export: TraceExport) -> None:
        await self._execute("add_trace_export", **trace_values(export.run, export.position))

    async def claim_trace_exports(self, *, limit: int, lease_s: float) -> list[TraceExport]:
        found = await self._fetch("due_trace_exports", limit=limit)
        claimed: list[TraceExport] = []
        async with self._transaction() as db:
            for row in found:
                run = RunId(ThreadId(row["thread_id"]), row["ordinal"])
                values = trace_values(run, row["position"]) | {"due_at": row["due_at"]}
                values |= {"lease_us": int(lease_s * SECOND_US)}
                if await db.execute(self._sql["claim_trace_export"], values):
                    age_s = (row["now_us"] - row["created_at"]) / SECOND_US
                    claimed.append(TraceExport(run, row["position"], age_s))
        return claimed

    async def remove_trace_exports(self, exports: Iterable[TraceExport]) -> None:
        async with self._transaction() as db:
            for one in exports:
                db.defer(self._sql["remove_trace_export"], trace_values(one.run, one.position))


def trace_values(run: RunId, position: int) -> dict[str, Any]:
    """Return the primary key of an export as parameters."""
    return {**run_key(run), "position": position}
