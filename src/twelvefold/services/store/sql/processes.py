"""The processes that work on the database, in SQL."""

from twelvefold.core import Process, Row
from twelvefold.services.store.sql.base import SECOND_US, Database


class Processes(Database):
    """Implements `twelvefold.core.ports.ProcessStore`."""

    async def record_heartbeat(self, process: Process) -> None:
        await self._execute(
            "record_heartbeat",
            id=process.id,
            kind=process.kind,
            release=process.release,
            host=process.host,
            pid=process.pid,
            runs=process.runs,
        )

    async def remove_process(self, id: str) -> None:
        await self._execute("remove_process", id=id)
        await self._execute("remove_silent_processes")

    async def processes(self) -> list[Process]:
        return [_process(row) for row in await self._fetch("processes")]


def _process(row: Row) -> Process:
    return Process(
        id=row["id"],
        kind=row["kind"],
        release=row["release_id"],
        host=row["host"],
        pid=row["pid"],
        runs=row["runs"],
        started_at_us=row["started_at"],
        heartbeat_at_us=row["heartbeat_at"],
        age_s=row["age_us"] / SECOND_US,
    )
