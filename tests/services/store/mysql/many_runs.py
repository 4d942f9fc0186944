"""Many rows, as a large deployment has them, written by SQL."""

from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Store

BATCH = 100_000
"""Rows in one transaction."""
RUN_COLUMNS = (
    "thread_id, ordinal, status, lease_token, lease_until, background, cancel_asked, `usage`, "
    "error, release_id, created_at, finished_at, workflow, principal, began, counted"
)
THREAD_COLUMNS = "id, principal, workflow, head, created_at, metadata"


async def add_runs(
    store: Store,
    number: int,
    *,
    status: str = "queued",
    workflow: str = "academy",
    principal: str = "'ann'",
    made_at_ms: int = 0x010000000000,
    is_old: bool = False,
    is_counted: bool = True,
    usage: str = "",
) -> None:
    """Write threads with one run each; `principal` is an SQL expression over `i`, from 0.

    A thread's id begins with `made_at_ms` plus `i`. `is_old`: as a release without the columns of
    revision 0005 writes them. `usage` and `is_counted` are those of runs that ended.
    """
    finished = "NULL" if status in ("queued", "running", "waiting") else "1"
    counted = "1" if is_counted and finished != "NULL" else "NULL"
    whose = "NULL, NULL, NULL" if is_old else f"'{workflow}', principal, 1"
    for first in range(0, number, BATCH):
        rows = (
            "WITH RECURSIVE n (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n WHERE k < 999), "
            f"all_n (i) AS (SELECT a.k + 1000 * b.k + {first} FROM n a CROSS JOIN n b "
            f"WHERE b.k < {BATCH // 1000} AND a.k + 1000 * b.k + {first} < {number}) "
            "SELECT %s FROM (SELECT i, "
            f"CONCAT(LPAD(LOWER(HEX({made_at_ms} + i)), 12, '0'), REPEAT('a', 32)) AS thread, "
            f"{principal} AS principal FROM all_n) made"
        )
        thread = f"thread, principal, '{workflow}', 1, 1, ''"
        run = f"thread, 1, '{status}', '', 0, 1, 0, '{usage}', '', '1', 1, {finished}, {whose}"
        run = f"{run}, {counted}"
        async with store.write() as tx:
            await tx.execute(f"INSERT INTO threads ({THREAD_COLUMNS}) {rows % thread}")
            await tx.execute(f"INSERT INTO runs ({RUN_COLUMNS}) {rows % run}")


def thread_of(made_at_ms: int) -> ThreadId:
    """Return the id that `add_runs` gives to a thread of this millisecond."""
    return ThreadId(f"{made_at_ms:012x}{'a' * 32}")
