"""Enqueues runs of the checks' workflow, and reads runs, journal and bookings back."""

from collections import Counter
from typing import Any

from twelvefold.core import Principal, RunId
from twelvefold.engine import RunRequest, Services, enqueue_run, retry_unavailable
from twelvefold.factors.harness.workflow import workflow

RETRY_TIMEOUT_S = 60.0
EVENTS_OF_A_RUN = ["RunStarted", "ModelReplied", "ToolSucceeded", "ModelReplied", "RunFinished"]
"""The journal of a run that called one tool."""
_BOOKINGS = "select ref from factors_bookings"
_EVENTS = "select thread_id, type from events order by thread_id, position"


async def enqueue_message(services: Services, message: str) -> RunId:
    item = {"type": "message", "role": "user", "content": message}
    run, _ = await enqueue_run(
        services, RunRequest(workflow=workflow.name, principal=Principal("factors"), items=[item])
    )
    return run


async def count_runs(services: Services) -> int:
    return await fetch_count(services, "select count(*) as n from runs")


async def count_completed_runs(services: Services) -> int:
    return await fetch_count(services, "select count(*) as n from runs where status = 'completed'")


async def count_bookings(services: Services) -> Counter[str]:
    """Return the number of rows for each REF."""
    return Counter(row["ref"] for row in await fetch_rows(services, _BOOKINGS))


async def read_journals(services: Services) -> list[list[str]]:
    """Return the event types of each thread, in the order of the journal."""
    journals: dict[str, list[str]] = {}
    for row in await fetch_rows(services, _EVENTS):
        journals.setdefault(row["thread_id"], []).append(row["type"])
    return list(journals.values())


async def fetch_count(services: Services, statement: str) -> int:
    """Return the column `n` of the only row."""
    (row,) = await fetch_rows(services, statement)
    return int(row["n"] or 0)


async def fetch_rows(services: Services, statement: str) -> list[dict[str, Any]]:
    """Run a query, with retries while the server is too busy to answer."""

    async def fetch() -> list[dict[str, Any]]:
        async with services.store.read() as db:
            return list(await db.fetch_all(statement))

    return await retry_unavailable(fetch, RETRY_TIMEOUT_S)
