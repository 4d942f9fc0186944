"""What operators read, in SQL: runs of all principals, found through an index.

A page examines at most `SCAN_ROWS` entries of one index, however many runs there are. The other
conditions are checked on these.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from twelvefold.core import (
    FoundRuns,
    MessageState,
    OperatedRun,
    OutboxMessage,
    Row,
    RunFilter,
    RunId,
    ThreadId,
)
from twelvefold.errors import NotFound
from twelvefold.services.store.sql.base import Database, ascii_id, run_key
from twelvefold.services.store.sql.outbox import listed_message
from twelvefold.services.store.sql.runs import run_record

SCAN_ROWS = 5_000
"""Entries of an index that one page examines."""
TEXT_SCAN_ROWS = 2_000
"""Runs whose errors or entries one page searches: each is a row of a table, or some."""
_AFTER_ALL = "~"
_MAX_US = 2**62
_BY_TIME = "k.created_at DESC, k.thread_id DESC, k.ordinal DESC"
_BY_ID = "k.thread_id DESC, k.ordinal DESC"
_CONDITIONS = {
    "status": "k.status = :status",
    "workflow": "k.workflow = :workflow",
    "principal": "k.principal = :principal",
    "ordinal": "k.ordinal = :run",
    # One LOWER for both: that of Python knows letters that the one of SQLite does not.
    "error": "INSTR(LOWER(e.error), LOWER(:error)) > 0",
    "asks": ":has_asked",
}


_MESSAGES: Mapping[MessageState, str] = {
    "due": "unsent_messages",
    "failed": "unsent_messages",
    "dead": "dead_messages_after",
    "sent": "sent_messages_after",
}


class _Search(NamedTuple):
    """The parts of `found_runs` for one filter, and its parameters."""

    keys: str
    order: str
    conditions: list[str]
    values: dict[str, Any]
    scan: int


class Operations(Database):
    """Implements `twelvefold.core.ports.OperationStore`."""

    async def find_runs(
        self, filter: RunFilter, *, limit: int, after: RunId | None = None
    ) -> FoundRuns:
        if filter.asks:
            filter = replace(filter, status="waiting")
        elif filter.error and not filter.status:
            filter = replace(filter, status="failed")
        search = _search(filter, limit, await self._start(filter, after))
        values = search.values | {"limit": limit + 1, "scan": search.scan}
        rows = await self._read_rows("found_runs", search, values)
        page = [_operated(row) for row in rows[:limit] if row["deleted_at"] is None]
        if len(rows) > limit:
            return FoundRuns(page, _run_of(rows[limit - 1]))
        if not search.conditions:
            return FoundRuns(page)
        last = await self._read_rows("last_key", search, values)
        is_cut = bool(last) and last[0]["examined"] == search.scan
        return FoundRuns(page, _run_of(last[0]) if is_cut else None)

    async def operated_run(self, run: RunId) -> OperatedRun:
        found = await self.find_runs(RunFilter(id_prefix=run.thread, ordinal=run.ordinal), limit=1)
        for one in found.runs:
            return one
        raise NotFound(f"no run {run}")

    async def runs_below(self, run: RunId, *, limit: int) -> Sequence[OperatedRun]:
        search = _Search("keys_below", _BY_TIME, [], dict(run_key(run)), limit)
        values = search.values | {"limit": limit, "scan": limit}
        rows = await self._read_rows("found_runs", search, values)
        return [_operated(row) for row in reversed(rows) if row["deleted_at"] is None]

    async def find_messages(
        self, state: MessageState, *, limit: int, after: str = ""
    ) -> list[OutboxMessage]:
        last = await self.find_message(after) if after else None
        values = {
            "due": last.due_at_us if last else _MAX_US,
            "dead": (last.dead_at_us if last else None) or _MAX_US,
            "sent": (last.sent_at_us if last else None) or _MAX_US,
            "id": after or _AFTER_ALL,
            "failed": int(state == "failed"),
            "scan": SCAN_ROWS,
            "limit": limit,
        }
        rows = await self._fetch(_MESSAGES[state], **values)
        return [listed_message(row) for row in rows]

    async def find_message(self, id: str) -> OutboxMessage:
        for row in await self._fetch("whole_message", id=ascii_id(id)):
            return listed_message(row)
        raise NotFound(f"no message {id!r}")

    async def _start(self, filter: RunFilter, after: RunId | None) -> dict[str, Any]:
        """Return the place after which the page begins."""
        latest_us = _MAX_US if filter.until_us is None else filter.until_us - 1
        if after is None:
            return {"at": latest_us, "thread": _AFTER_ALL, "ordinal": 0}
        rows = await self._fetch("key_of_run", **run_key(after))
        if not rows:
            raise NotFound(f"no run {after}")
        if rows[0]["created_at"] > latest_us and not filter.id_prefix:
            return {"at": latest_us, "thread": _AFTER_ALL, "ordinal": 0}
        return {"at": rows[0]["created_at"], **run_key(after)}

    async def _read_rows(self, name: str, search: _Search, values: Mapping[str, Any]) -> list[Row]:
        async with self._read_connection() as db:
            return await db.fetch(self._assemble(name, search), values)

    def _assemble(self, name: str, search: _Search) -> str:
        parts = {
            ":keys": self._sql[search.keys],
            ":joined": self._sql["join_errors"] if "error" in search.values else "",
            ":conditions": " AND ".join(search.conditions) or "1 = 1",
            ":has_asked": self._sql["has_asked"],
            ":order": search.order,
            ":found_order": search.order.replace("k.", "found."),
            ":reversed": search.order.replace(" DESC", ""),
        }
        statement = self._sql[name]
        for part, text in parts.items():
            statement = statement.replace(part, text)
        return statement


def _search(filter: RunFilter, limit: int, start: dict[str, Any]) -> _Search:
    lead = _lead(filter)
    wanted = {
        "status": filter.status,
        "workflow": filter.workflow,
        "principal": filter.principal,
        "ordinal": filter.ordinal,
        "error": filter.error,
        "asks": filter.asks,
    }
    names = [name for name, value in wanted.items() if value and f"keys_by_{name}" != lead]
    conditions = [_CONDITIONS[name] for name in names]
    if filter.id_prefix:
        conditions += ["k.created_at >= :since", "k.created_at <= :latest"]
    latest_us = _MAX_US if filter.until_us is None else filter.until_us - 1
    values = {
        **start,
        "since": filter.since_us,
        "latest": latest_us,
        "status": filter.status,
        "workflow": filter.workflow,
        "principal": filter.principal,
        "id_prefix": filter.id_prefix,
        "id_end": f"{filter.id_prefix}{_AFTER_ALL}",
        "run": filter.ordinal,
    }
    if filter.error:
        values["error"] = filter.error
    rows = TEXT_SCAN_ROWS if filter.error or filter.asks else SCAN_ROWS
    order = _BY_ID if filter.id_prefix else _BY_TIME
    return _Search(lead, order, conditions, values, rows if conditions else limit + 1)


def _lead(filter: RunFilter) -> str:
    """Return the statement whose index has the fewest other runs.

    Most runs are completed, so that this status alone does not select them.
    """
    if filter.id_prefix:
        return "keys_by_id"
    if filter.status and (filter.status != "completed" or not (filter.principal + filter.workflow)):
        return "keys_by_status"
    if filter.principal:
        return "keys_by_principal"
    return "keys_by_workflow" if filter.workflow else "keys_by_time"


def _run_of(row: Row) -> RunId:
    return RunId(ThreadId(row["thread_id"]), row["ordinal"])


def _operated(row: Row) -> OperatedRun:
    parent = None
    if row["parent_thread"] and row["ordinal"] == 1:
        parent = RunId(ThreadId(row["parent_thread"]), row["parent_run"])
    return OperatedRun(run_record(row), row["attempts"] or 0, row["updated_at"], parent)
