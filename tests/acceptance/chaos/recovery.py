"""Measures how long after a fault all runs and mails have continued."""

import asyncio
import time

from tests.acceptance.chaos.admin import Admin

POLL_INTERVAL_S = 0.2
LONGEST_S = 150.0
"""The longest time that runs and mails may take to continue."""
OPEN_RUNS = (
    "select r.thread_id as id, t.head as head from runs r join threads t on t.id = r.thread_id"
    " where r.status in ('queued', 'running')"
)
OPEN_MAILS = "select id, 0 as head from outbox where sent_at is null and dead_at is null"


async def recovery_s(admin: Admin) -> float | None:
    """Wait until all open runs and mails have continued; return how long that took.

    A run has continued when its journal has a new entry, or when it is over or waits for a person;
    a mail when it is sent. None: not all had continued after LONGEST_S.
    """
    began = time.monotonic()
    waiting = await _open(admin)
    while waiting:
        if time.monotonic() - began > LONGEST_S:
            return None
        await asyncio.sleep(POLL_INTERVAL_S)
        waiting = (await _open(admin)) & waiting
    return time.monotonic() - began


async def _open(admin: Admin) -> set[tuple[str, int]]:
    """Each open run with the head of its journal, and each mail that is not sent."""
    rows = [*await admin.rows(OPEN_RUNS), *await admin.rows(OPEN_MAILS)]
    return {(str(row["id"]), int(row["head"])) for row in rows}
