"""The queue in SQL: which runs wait for a process, and how many."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from twelvefold.core import Row, RunId, ThreadId, WaitingRun, WaitingWork
from twelvefold.services.store.sql.base import Database, expand_list

MAX_EXPIRED = 1_000
"""Runs with an expired lease that one statement reads, of all principals."""
FILL_BATCH_SIZE = 100
"""Rows of an older release that get their workflow and principal in one transaction."""


class Queue(Database):
    """Implements `twelvefold.core.ports.QueueStore`."""

    async def queued_runs(
        self, *, workflows: Collection[str], limit: int, principal: str | None = None
    ) -> int:
        if not workflows:
            return 0
        statement = "queued_runs" if principal is None else "queued_runs_of"
        values: dict[str, Any] = {"limit": limit}
        if principal is not None:
            values["principal"] = principal
        rows = await self._fetch_in(statement, "workflows", list(workflows), **values)
        return min(limit, int(rows[0]["queued"]))

    async def waiting_work(
        self,
        *,
        workflows: Collection[str],
        limit: int,
        after: str = "",
        without_keys: Collection[str] = (),
    ) -> WaitingWork:
        if not workflows:
            return WaitingWork(mail_is_due=bool(await self._fetch("mail_is_due")))
        rows = await self._waiting_rows(workflows, limit, after, without_keys)
        if _has(rows, "unfilled") and await self._fill_runs():
            rows = await self._waiting_rows(workflows, limit, after, without_keys)
        return _waiting_work(rows, limit)

    async def unserved_runs(self, *, workflows: Collection[str]) -> Mapping[str, int]:
        rows = await self._fetch_in("unserved_runs", "workflows", list(workflows) or [""])
        return {row["workflow"]: int(row["waiting"]) for row in rows}

    async def _waiting_rows(
        self, workflows: Collection[str], limit: int, after: str, without_keys: Collection[str]
    ) -> list[Row]:
        statement, values = expand_list(
            build_waiting_runs(self._sql, len(workflows)),
            "without_keys",
            list(without_keys) or [""],
        )
        values |= {f"workflow{n}": name for n, name in enumerate(workflows)}
        values |= {"after": after, "limit": limit, "max_expired": MAX_EXPIRED}
        async with self._read_connection() as db:
            return await db.fetch(statement, values)

    async def _fill_runs(self) -> int:
        """Set the workflow and principal of claimable rows of an older release; return how many.

        The index is by these columns, so a row without them is not found in its turn.
        """
        rows = await self._fetch("unfilled_runs", limit=FILL_BATCH_SIZE)
        return sum([sum(await self._without_locked([row], self._fill_run)) for row in rows])

    async def _fill_run(self, rows: Sequence[Row]) -> int:
        (row,) = rows
        key = {"thread": row["thread_id"], "ordinal": row["ordinal"]}
        values = {**key, "workflow": row["workflow"], "principal": row["principal"]}
        async with self._transaction() as db:
            await self._lock(db, self._sql["lock_unfilled"], key)
            return await db.execute(self._sql["fill_run"], values, commit=True)


def build_waiting_runs(sql: Mapping[str, str], workflows: int) -> str:
    """Return the statement `waiting_runs` for this number of workflows, `:workflow0` and so on."""
    statement = sql["waiting_runs"]
    for name in ("queued_part", "expired_part", "due_part"):
        parts = (sql[name].replace(":workflow", f":workflow{n}") for n in range(workflows))
        statement = statement.replace(f":{name}s", "\nUNION ALL\n".join(parts))
    return statement


def _waiting_work(rows: list[Row], limit: int) -> WaitingWork:
    runs = [row for row in rows if row["thread_id"]]
    queued = [row["principal"] for row in runs if row["part"] == "queued"]
    return WaitingWork(
        runs=[
            WaitingRun(
                RunId(ThreadId(row["thread_id"]), row["ordinal"]),
                row["attempts"] or 0,
                row["principal"],
                int(row["lease_until"]),
                row["key_id"] or "",
                row["priority"] or 0,
            )
            for row in runs
        ],
        end=queued[-1] if len(queued) == limit else "",
        mail_is_due=_has(rows, "mail"),
    )


def _has(rows: list[Row], part: str) -> bool:
    return any(row["part"] == part for row in rows)
