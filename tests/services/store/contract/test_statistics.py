"""The figures of a whole deployment, on every database."""

from dataclasses import replace

import pytest

from tests.builders import asked, said
from tests.services.store.builders import append, leased, new_run, queued
from tests.services.store.mysql.many_runs import add_runs
from tests.services.store.mysql.server_reads import Reads
from twelvefold.core.ports import OutboxCount, RunCount, Store

LIMIT = 100
BACKLOG = 1_000


async def counts(store: Store, *workflows: str) -> dict[tuple[str, str], int]:
    found = await store.run_counts(workflows=workflows or ("academy",), limit=LIMIT)
    return {(one.workflow, one.status): one.runs for one in found}


async def test_runs_that_are_not_over_are_counted_by_workflow_and_status(store: Store) -> None:
    await queued(store)
    await store.start(replace(new_run(), workflow="shop"), asked(), None)
    await leased(store)
    rests, over = await leased(store), await leased(store)
    await append(store, rests, 1, said(), status="waiting")
    await append(store, over, 1, said(), status="completed")

    assert await counts(store, "academy", "shop") == {
        ("academy", "queued"): 1,
        ("academy", "running"): 1,
        ("academy", "waiting"): 1,
        ("shop", "queued"): 1,
        ("shop", "running"): 0,
        ("shop", "waiting"): 0,
    }
    assert await store.run_counts(workflows=(), limit=LIMIT) == []


async def test_the_age_is_that_of_the_longest_waiting_run(store: Store) -> None:
    first = await queued(store)
    await queued(store)
    async with store.write() as tx:
        await tx.execute(
            "UPDATE runs SET lease_until = lease_until - 90000000 WHERE thread_id = :thread",
            thread=first.thread,
        )

    [found, *_] = await store.run_counts(workflows=("academy",), limit=LIMIT)

    assert (found.status, found.runs) == ("queued", 2)
    assert 90 <= found.age_s < 150


async def test_a_run_that_was_given_back_has_no_age(store: Store) -> None:
    lease = await leased(store)
    await store.release(lease)

    [found, *_] = await store.run_counts(workflows=("academy",), limit=LIMIT)

    assert found == RunCount("academy", "queued", 1, 0.0)


async def test_messages_are_counted_by_state(store: Store) -> None:
    async with store.write() as tx:
        for number in range(4):
            await tx.send_mail("ann@example.org", f"Hi {number}", "")
    deferred, dead, sent, _ = await store.due_messages(10)
    await store.message_failed(deferred, "421", 60.0)
    await store.message_failed(dead, "550", None)
    await store.message_sent(sent)

    due, later, lost = await store.outbox_counts(limit=LIMIT)

    assert (due.state, due.messages) == ("due", 1)
    assert later == OutboxCount("deferred", 1, 0.0)
    assert (lost.state, lost.messages) == ("dead", 1)
    assert 0 <= due.age_s < 60
    assert 0 <= lost.age_s < 60


@pytest.mark.mysql
async def test_a_count_reads_no_more_rows_than_its_limit(mariadb: Store, reads: Reads) -> None:
    await add_runs(mariadb, BACKLOG, status="completed", made_at_ms=1)
    await add_runs(mariadb, BACKLOG, status="waiting", made_at_ms=2 * BACKLOG)
    await add_runs(mariadb, BACKLOG, workflow="retired", made_at_ms=4 * BACKLOG)
    await add_runs(mariadb, BACKLOG, made_at_ms=6 * BACKLOG)

    counting = reads.store.run_counts(workflows=("academy",), limit=LIMIT)
    found, read = await reads.of(counting)

    assert {one.status: one.runs for one in found} == {
        "queued": LIMIT,
        "running": 0,
        "waiting": LIMIT,
    }
    assert read < 6 * LIMIT


@pytest.mark.mysql
async def test_the_connections_of_a_store_are_counted_by_pool(mariadb: Store) -> None:
    await queued(mariadb)

    counted = {one.pool: one for one in mariadb.pool_counts()}

    assert counted.keys() == {"steps", "renewals", "reads"}
    assert counted["steps"].idle >= 1
    assert counted["steps"].in_use == 0
    assert counted["steps"].limit > counted["renewals"].limit
