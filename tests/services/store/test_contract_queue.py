"""Runs that wait for somebody to drive them, on every database."""

import asyncio
from dataclasses import replace

import pytest

from tests.builders import asked, finished, said
from tests.services.store.stories import LONG_S, append, leased, new_run, queued
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Store
from twelvefold.services.store.journal import SQLStore

ACADEMY = ("academy",)
BACKLOG = 2_000


async def waiting(store: Store, *workflows: str, limit: int = 10) -> list[RunId]:
    found = await store.waiting_runs(workflows=workflows or ACADEMY, limit=limit)
    return [one.run for one in found]


async def test_what_was_queued_is_found_longest_first(store: Store, rival: Store) -> None:
    runs = [await queued(store) for _ in range(3)]

    assert await waiting(rival) == runs
    assert await waiting(rival, limit=2) == runs[:2]


async def test_what_is_held_rests_or_is_over_is_not_found(store: Store) -> None:
    await leased(store)
    rests, over = await leased(store), await leased(store)
    await append(store, rests, 1, said(), status="waiting")
    await append(store, over, 1, finished(), status="completed")

    assert await waiting(store) == []


async def test_what_was_claimed_is_not_found_any_more(store: Store) -> None:
    run = await queued(store)
    await store.claim(run, LONG_S)

    assert await waiting(store) == []


async def test_what_was_given_back_or_left_by_the_dead_is_found(store: Store) -> None:
    dead, given_back = await leased(store, lease_s=0.01), await leased(store)
    await store.release(given_back)
    answered = await leased(store)
    await append(store, answered, 1, said(), status="queued")
    await asyncio.sleep(0.05)

    assert set(await waiting(store)) == {dead.run, given_back.run, answered.run}


async def test_a_run_is_found_by_who_has_its_workflow(store: Store) -> None:
    run = await queued(store)
    retail = replace(new_run(), workflow="retail")
    await store.start(retail, asked(), None)

    assert await waiting(store, "academy") == [run]
    assert await waiting(store, "other", "retail") == [retail.run]
    assert await waiting(store, "academy", "retail") == [run, retail.run]
    assert await store.waiting_runs(workflows=(), limit=10) == []


async def test_a_run_whose_thread_was_deleted_is_found_to_be_cancelled(store: Store) -> None:
    run = await queued(store)

    await store.delete_thread(run.thread)

    assert await waiting(store) == [run]
    claimed = await store.claim(run, LONG_S)
    assert claimed is not None
    assert claimed.cancel_asked


async def test_a_run_that_waits_for_a_person_is_found_once_it_is_to_be_cancelled(
    store: Store,
) -> None:
    lease = await leased(store)
    await store.release(lease, status="waiting")
    assert await waiting(store) == []

    await store.ask_cancel(lease.run)

    assert await waiting(store) == [lease.run]


async def test_a_run_that_failed_is_behind_those_that_wait_already(store: Store) -> None:
    failed, stopped = await leased(store), await leased(store)
    fresh = await queued(store)
    await asyncio.sleep(0.005)  # SQLite's clock counts milliseconds
    await store.release(failed, behind=True)
    await store.release(stopped)

    assert await waiting(store) == [stopped.run, fresh, failed.run]


async def test_attempts_count_those_who_took_it_up_and_got_no_further(store: Store) -> None:
    lease = await leased(store, lease_s=0)
    attempts = []
    for _ in range(3):
        claimed = await store.claim(lease.run, 0)
        assert claimed is not None
        attempts.append(claimed.attempts)

    assert attempts == [1, 2, 3]
    assert await store.waiting_runs(workflows=ACADEMY, limit=1) == [(lease.run, 3)]


async def test_a_run_that_was_given_back_was_not_attempted(store: Store) -> None:
    lease = await leased(store, lease_s=0)
    await store.claim(lease.run, 0)
    for _ in range(2):
        claimed = await store.claim(lease.run, LONG_S)
        assert claimed is not None
        assert claimed.attempts == 2
        await store.release(claimed.lease)

    assert await store.waiting_runs(workflows=ACADEMY, limit=1) == [(lease.run, 1)]


async def test_with_an_entry_more_the_attempts_are_counted_anew(store: Store) -> None:
    lease = await leased(store, lease_s=0)
    await store.claim(lease.run, 0)
    claimed = await store.claim(lease.run, LONG_S)
    assert claimed is not None
    await append(store, claimed.lease, 1, said(), status="queued")

    assert await store.waiting_runs(workflows=ACADEMY, limit=1) == [(lease.run, 0)]
    again = await store.claim(lease.run, LONG_S)
    assert again is not None
    assert again.attempts == 1


async def test_queued_runs_are_counted_up_to_a_limit(store: Store) -> None:
    await leased(store)
    assert await store.queued_runs(limit=5) == 0

    for _ in range(3):
        await queued(store)

    assert [await store.queued_runs(limit=limit) for limit in (2, 5)] == [2, 3]


async def test_a_run_says_whether_it_is_a_background_one(store: Store) -> None:
    back = replace(new_run(), background=True)
    await store.start(back, asked(), None)

    assert (await store.run(back.run)).background
    assert not (await store.run(await queued(store))).background


@pytest.mark.mysql
async def test_what_cannot_be_claimed_is_not_looked_at(mariadb: Store) -> None:
    """Else every look of every worker would cost what all runs at rest do."""
    assert isinstance(mariadb, SQLStore)
    numbers = range(BACKLOG)
    async with mariadb.write() as tx:
        for table, columns in (
            ("threads (id, principal, workflow, head, created_at)", "'ann', 'academy', 1, 1"),
            (
                "runs (thread_id, ordinal, status, lease_token, lease_until, background, "
                "cancel_asked, `usage`, error, release_id, created_at)",
                "1, 'waiting', '', 0, 0, 0, '', '', '1', 1",
            ),
        ):
            rows = ", ".join(f"('{number:044x}', {columns})" for number in numbers)
            await tx.execute(f"INSERT INTO {table} VALUES {rows}")
    run = await queued(mariadb)
    await mariadb.run_script("ANALYZE TABLE runs, threads")

    async with mariadb._transaction() as db:
        await db.execute("FLUSH STATUS", {})
        async with asyncio.timeout(10):
            found = await db.fetch(
                mariadb._sql["waiting_runs"].replace(":workflows", "'academy'"), {"limit": 10}
            )
        read = await db.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'", {})

    assert [row["thread_id"] for row in found] == [run.thread]
    assert sum(int(row["Value"]) for row in read) < 50
