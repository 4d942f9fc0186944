"""Runs that wait for a process, on every database."""

import asyncio
from dataclasses import replace

import pytest

from tests.builders import asked, finished, said
from tests.services.store.builders import LONG_S, append, leased, new_run, queued
from tests.services.store.mysql.many_runs import add_runs
from tests.services.store.mysql.server_reads import Reads
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Store

ACADEMY = ("academy",)
BACKLOG = 2_000


async def waiting(store: Store, *workflows: str, limit: int = 10) -> list[RunId]:
    work = await store.waiting_work(workflows=workflows or ACADEMY, limit=limit)
    return [one.run for one in work.runs]


async def enqueue(store: Store, principal: str, *, workflow: str = "academy") -> RunId:
    new = replace(new_run(), principal=principal, workflow=workflow)
    await store.start(new, asked(), None)
    return new.run


async def written_by_an_older_release(store: Store, run: RunId) -> None:
    """Make the rows those of a release without the columns of revision 0005."""
    async with store.write() as tx:
        await tx.execute(
            "UPDATE runs SET workflow = NULL, principal = NULL, began = NULL "
            "WHERE thread_id = :thread AND ordinal = :ordinal",
            thread=run.thread,
            ordinal=run.ordinal,
        )


async def attempted(store: Store) -> list[tuple[RunId, int]]:
    work = await store.waiting_work(workflows=ACADEMY, limit=1)
    return [(one.run, one.attempts) for one in work.runs]


async def test_queued_runs_are_found_longest_waiting_first(store: Store, rival: Store) -> None:
    runs = [await queued(store) for _ in range(3)]

    assert await waiting(rival) == runs
    assert await waiting(rival, limit=2) == runs[:2]


async def test_runs_that_are_leased_wait_for_a_person_or_are_over_are_not_found(
    store: Store,
) -> None:
    await leased(store)
    rests, over = await leased(store), await leased(store)
    await append(store, rests, 1, said(), status="waiting")
    await append(store, over, 1, finished(), status="completed")

    assert await waiting(store) == []


async def test_a_claimed_run_is_no_longer_found(store: Store) -> None:
    run = await queued(store)
    await store.claim(run, LONG_S)

    assert await waiting(store) == []


async def test_released_runs_and_those_of_dead_processes_are_found(store: Store) -> None:
    dead, given_back = await leased(store, lease_s=0.01), await leased(store)
    await store.release(given_back)
    answered = await leased(store)
    await append(store, answered, 1, said(), status="queued")
    await asyncio.sleep(0.05)

    assert set(await waiting(store)) == {dead.run, given_back.run, answered.run}


async def test_a_run_is_found_by_processes_with_its_workflow(store: Store) -> None:
    run = await queued(store)
    retail = replace(new_run(), workflow="retail")
    await store.start(retail, asked(), None)

    assert await waiting(store, "academy") == [run]
    assert await waiting(store, "other", "retail") == [retail.run]
    assert await waiting(store, "academy", "retail") == [run, retail.run]
    assert (await store.waiting_work(workflows=(), limit=10)).runs == ()


async def test_a_run_of_a_deleted_thread_is_found(store: Store) -> None:
    run = await queued(store)

    await store.delete_thread(run.thread)

    assert await waiting(store) == [run]
    claimed = await store.claim(run, LONG_S)
    assert claimed is not None
    assert claimed.cancel_asked


async def test_a_waiting_run_is_found_after_a_request_to_cancel_it(
    store: Store,
) -> None:
    lease = await leased(store)
    await store.release(lease, status="waiting")
    assert await waiting(store) == []

    await store.ask_cancel(lease.run)

    assert await waiting(store) == [lease.run]


async def test_a_run_released_behind_is_after_those_that_wait(store: Store) -> None:
    failed, stopped = await leased(store), await leased(store)
    fresh = await queued(store)
    await asyncio.sleep(0.005)  # SQLite's clock counts milliseconds
    await store.release(failed, requeue_last=True)
    await store.release(stopped)

    assert await waiting(store) == [stopped.run, fresh, failed.run]


async def test_claims_without_progress_are_counted(store: Store) -> None:
    lease = await leased(store, lease_s=0)
    attempts = []
    for _ in range(3):
        claimed = await store.claim(lease.run, 0)
        assert claimed is not None
        attempts.append(claimed.attempts)

    assert attempts == [1, 2, 3]
    assert await attempted(store) == [(lease.run, 3)]


async def test_a_released_claim_is_not_counted(store: Store) -> None:
    lease = await leased(store, lease_s=0)
    await store.claim(lease.run, 0)
    for _ in range(2):
        claimed = await store.claim(lease.run, LONG_S)
        assert claimed is not None
        assert claimed.attempts == 2
        await store.release(claimed.lease)

    assert await attempted(store) == [(lease.run, 1)]


async def test_a_new_entry_resets_the_attempts(store: Store) -> None:
    lease = await leased(store, lease_s=0)
    await store.claim(lease.run, 0)
    claimed = await store.claim(lease.run, LONG_S)
    assert claimed is not None
    await append(store, claimed.lease, 1, said(), status="queued")

    assert await attempted(store) == [(lease.run, 0)]
    again = await store.claim(lease.run, LONG_S)
    assert again is not None
    assert again.attempts == 1


async def test_queued_runs_are_counted_up_to_a_limit(store: Store) -> None:
    await leased(store)
    assert await store.queued_runs(workflows=ACADEMY, limit=5) == 0

    for _ in range(3):
        await queued(store)

    counts = [await store.queued_runs(workflows=ACADEMY, limit=limit) for limit in (2, 5)]
    assert counts == [2, 3]


async def test_runs_of_other_workflows_do_not_count(store: Store) -> None:
    await enqueue(store, "ann", workflow="retired")
    await enqueue(store, "ann", workflow="retail")
    run = await queued(store)
    await written_by_an_older_release(store, run)

    assert await store.queued_runs(workflows=(), limit=5) == 0
    assert await store.queued_runs(workflows=ACADEMY, limit=5) == 1
    assert await store.queued_runs(workflows=("academy", "retail"), limit=5) == 2
    assert await store.unserved_runs(workflows=ACADEMY) == {"retail": 1, "retired": 1}
    assert await store.unserved_runs(workflows=("retail", "retired")) == {"academy": 1}


async def test_runs_of_one_principal_are_counted(store: Store) -> None:
    for principal in ("ann", "bob", "ann"):
        await enqueue(store, principal)
    await written_by_an_older_release(store, await enqueue(store, "ann"))

    counts = [
        await store.queued_runs(workflows=ACADEMY, limit=limit, principal=principal)
        for principal, limit in (("ann", 9), ("ann", 2), ("bob", 9), ("eve", 9))
    ]
    assert counts == [3, 2, 1, 0]


async def test_runs_are_found_by_principal_and_after_one(store: Store) -> None:
    runs = {name: [await enqueue(store, name) for _ in range(2)] for name in ("bob", "ann", "eve")}
    retail = await enqueue(store, "bob", workflow="retail")

    async def found(limit: int, after: str = "") -> tuple[list[RunId], str]:
        work = await store.waiting_work(workflows=("academy", "retail"), limit=limit, after=after)
        return [one.run for one in work.runs], work.end

    everybody = [*runs["ann"], *runs["bob"], retail, *runs["eve"]]
    assert await found(10) == (everybody, "")
    assert await found(3) == (everybody[:3], "bob")
    assert await found(3, "ann") == (everybody[2:5], "bob")
    assert await found(3, "bob") == (runs["eve"], "")
    assert await found(3, "eve") == ([], "")


async def test_runs_of_some_keys_are_left_out(store: Store) -> None:
    runs = []
    for key_id in ("", "key_1", "key_2", "key_1"):
        new = replace(new_run(), key_id=key_id)
        await store.start(new, asked(), None)
        runs.append(new.run)

    for without, expected in (
        ([], runs),
        (["key_1"], [runs[0], runs[2]]),
        (["key_1", "key_2"], runs[:1]),
    ):
        work = await store.waiting_work(workflows=ACADEMY, limit=9, without_keys=without)
        assert {one.run for one in work.runs} == set(expected)


async def test_a_run_of_a_dead_process_is_found_for_any_principal(
    store: Store,
) -> None:
    dead = await leased(store, lease_s=0)

    for after in ("", "ann", "zoe"):
        work = await store.waiting_work(workflows=ACADEMY, limit=10, after=after)
        assert [one[:3] for one in work.runs] == [(dead.run, 0, "ann")]


async def test_runs_of_an_older_release_are_found_in_their_turn(store: Store) -> None:
    older, dead, held = await queued(store), await leased(store, lease_s=0), await leased(store)
    bob, retired = await enqueue(store, "bob"), await enqueue(store, "eve", workflow="retired")
    for run in (older, dead.run, held.run, retired):
        await written_by_an_older_release(store, run)

    work = await store.waiting_work(workflows=ACADEMY, limit=10)

    assert {(one.run, one.principal) for one in work.runs} == {
        (older, "ann"),
        (dead.run, "ann"),
        (bob, "bob"),
    }
    rest = await store.waiting_work(workflows=ACADEMY, limit=10, after="ann")
    assert [one[:3] for one in rest.runs] == [
        (dead.run, 0, "ann"),
        (bob, 0, "bob"),
    ]


async def test_waiting_work_includes_whether_mail_is_due(store: Store) -> None:
    for workflows in ((), ACADEMY):
        assert not (await store.waiting_work(workflows=workflows, limit=10)).mail_is_due
    run = await queued(store)
    async with store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")

    for workflows in ((), ACADEMY):
        work = await store.waiting_work(workflows=workflows, limit=10)
        assert (work.mail_is_due, [one.run for one in work.runs]) == (True, [run][: len(workflows)])
    (message,) = await store.due_messages(10)
    await store.claim_message(message, LONG_S)
    assert not (await store.waiting_work(workflows=ACADEMY, limit=10)).mail_is_due


async def test_a_run_has_its_background_flag(store: Store) -> None:
    back = replace(new_run(), background=True)
    await store.start(back, asked(), None)

    assert (await store.run(back.run)).background
    assert not (await store.run(await queued(store))).background


@pytest.mark.mysql
async def test_runs_that_are_not_claimable_are_not_read(mariadb: Store, reads: Reads) -> None:
    """Otherwise each search of each worker would read all these runs."""
    await add_runs(mariadb, BACKLOG, status="waiting", made_at_ms=1)
    await add_runs(mariadb, BACKLOG, status="completed", made_at_ms=2 * BACKLOG)
    await add_runs(mariadb, BACKLOG, workflow="retired", made_at_ms=4 * BACKLOG)
    await add_runs(mariadb, BACKLOG, status="running", workflow="retired", made_at_ms=6 * BACKLOG)
    await add_runs(mariadb, BACKLOG, principal="'bulk'", made_at_ms=8 * BACKLOG)
    run = await queued(mariadb)

    work, read = await reads.of(reads.store.waiting_work(workflows=ACADEMY, limit=10))
    behind, read_behind = await reads.of(
        reads.store.waiting_work(workflows=ACADEMY, limit=10, after="bulk")
    )

    assert work.runs[0].run == run
    assert (len(work.runs), work.end, behind.runs) == (10, "bulk", [])
    assert read < 200
    assert read_behind < 50


@pytest.mark.mysql
async def test_a_count_reads_no_more_than_its_limit(mariadb: Store, reads: Reads) -> None:
    await add_runs(mariadb, BACKLOG, workflow="retired", made_at_ms=1)
    await add_runs(mariadb, BACKLOG, principal="'bulk'", made_at_ms=2 * BACKLOG)
    await add_runs(mariadb, BACKLOG, is_old=True, made_at_ms=4 * BACKLOG)
    await queued(mariadb)

    count, read = await reads.of(reads.store.queued_runs(workflows=ACADEMY, limit=100))
    of_eve, read_of_eve = await reads.of(
        reads.store.queued_runs(workflows=ACADEMY, limit=100, principal="eve")
    )

    assert (count, of_eve) == (100, 0)
    assert max(read, read_of_eve) < 600
