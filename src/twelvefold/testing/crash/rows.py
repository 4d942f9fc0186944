"""The rows that a run leaves behind: those of the workflow's tables, its mails and its calls."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from twelvefold.core import (
    Event,
    ModelReplied,
    OutcomeUnknown,
    ReadOnly,
    Store,
    ThreadId,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.testing.crash.jobs import Rows

JOURNAL = frozenset(
    {
        *("api_keys", "budget_periods", "budget_reservations", "budgets", "deltas", "events"),
        *("idempotency_keys", "open_questions", "outbox", "processes", "rate_buckets"),
        *("run_slots", "runs"),
        *("signal_waits", "signals", "threads", "trace_exports", "twelvefold_releases"),
        *("twelvefold_seeded", "twelvefold_version"),
        *("usage_days", "usage_details", "usage_principals"),
    }
)
"""Twelvefold's own tables: the others are those of workflows."""
Found = dict[str, list[Mapping[str, Any]]]


async def read_rows(store: Store) -> Rows:
    """Return the rows of all tables of workflows, the mails, and the calls with their results."""
    async with store.read() as db:
        numbered = await _numbered(db)
        found: Found = {
            name: _renumber(await _table(db, name), numbered.get(name, ""))
            for name in await _tables(db)
        }
        mails = await db.fetch_all("select body from outbox where kind = 'mail'")
        threads = await db.fetch_all("select id from threads")
    found["mails"] = [_plain(msgspec.json.decode(row["body"])) for row in mails]
    for thread in threads:
        record = await store.load(ThreadId(thread["id"]))
        _add_calls(found, [entry.event for entry in record.entries])
    return found


async def _tables(db: ReadOnly) -> list[str]:
    try:
        rows = await db.fetch_all("select name from sqlite_master where type = 'table'")
    except Exception:  # a server, which has no such table
        rows = await db.fetch_all(
            "select table_name as name from information_schema.tables"
            " where table_schema = database() and table_type = 'BASE TABLE'"
        )
    names = sorted(str(row["name"]) for row in rows)
    return [one for one in names if one not in JOURNAL and not one.startswith("sqlite_")]


async def _numbered(db: ReadOnly) -> Mapping[str, str]:
    """Return the AUTO_INCREMENT column of each table that has one."""
    try:
        rows = await db.fetch_all(
            "select table_name as name, column_name as numbers from information_schema.columns"
            " where table_schema = database() and extra like '%auto_increment%'"
        )
    except Exception:  # SQLite, which uses the numbers of a transaction again
        return {}
    return {str(row["name"]): str(row["numbers"]) for row in rows}


def _renumber(rows: list[Mapping[str, Any]], column: str) -> list[Mapping[str, Any]]:
    """Return the rows without gaps in the column: a server skips numbers that were rolled back."""
    if not column:
        return rows
    ordered = sorted(rows, key=lambda row: row[column])
    return [{**row, column: number} for number, row in enumerate(ordered, 1)]


async def _table(db: ReadOnly, name: str) -> list[Mapping[str, Any]]:
    rows = await db.fetch_all(f"select * from `{name}`")  # noqa: S608 - a name from the catalogue
    return [_plain(row) for row in rows]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with values that can be compared and sent to another process."""
    return {
        name: value if isinstance(value, str | int | float | None) else str(value)
        for name, value in row.items()
    }


def _add_calls(found: Found, events: Sequence[Event]) -> None:
    """Add the outcome of each call to the rows of `calls of <tool>`."""
    arguments: dict[str, str] = defaultdict(str)
    for event in events:
        match event:
            case ModelReplied():
                for item in event.items:
                    arguments[str(item.get("call_id"))] = str(item.get("arguments", ""))
            case ToolSucceeded():
                _add_call(found, event.tool, arguments[event.call], "succeeded", event.result)
            case ToolFailed():
                _add_call(found, event.tool, arguments[event.call], event.failure, event.message)
            case OutcomeUnknown():
                _add_call(found, event.tool, arguments[event.call], "unknown", "")
            case _:
                pass


def _add_call(found: Found, tool: str, arguments: str, outcome: str, result: str) -> None:
    row = {"arguments": arguments, "outcome": outcome, "result": result}
    found.setdefault(f"calls of {tool}", []).append(row)
