"""Sums of usage: each run that ended is in them once, whatever processes are killed."""

import asyncio
import random
from collections.abc import Mapping

import pytest

from tests.builders import called, finished
from tests.services.store.builders import append, leased, queued, rows
from tests.services.store.contract.test_children import parent_of
from twelvefold.core.budget import Price
from twelvefold.core.events import Usage, WaitEnded
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import Store, UsageFilter, UsageSum
from twelvefold.errors import StoreUnavailable

DAY_US = 86_400_000_000
PRICES: Mapping[str, Price] = {"default": Price(1_000_000, 1_000_000, 2_000_000)}
EVER_DAYS = ("1970-01-01", "9999-12-31")
SPENT = Usage(100, 10, 40)


def no_price(model: str) -> None:
    """Know no price."""


async def ended(store: Store, usage: Usage = SPENT, status: str = "completed") -> RunId:
    lease = await leased(store)
    await append(store, lease, 1, finished(), status=status, usage=usage)
    return lease.run


async def change_run(store: Store, run: RunId, changes: str, **values: object) -> None:
    async with store.write() as tx:
        await tx.execute(
            f"UPDATE runs SET {changes} WHERE thread_id = :thread AND ordinal = :ordinal",
            **{"thread": run.thread, "ordinal": run.ordinal, **values},
        )


async def count_all(store: Store) -> int:
    counted = 0
    while found := await store.count_usage(PRICES.get):
        counted += found
    return counted


async def total(store: Store) -> UsageSum:
    """Return the sum of all, which all tables must have."""
    (by_day,) = await store.usage(UsageFilter(*EVER_DAYS, by=("workflow",)), limit=2)
    for more in ({}, {"workflow": "academy"}):
        sums = await store.usage(UsageFilter(*EVER_DAYS, by=("principal",), **more), limit=10)
        assert sum(one.runs for one in sums) == by_day.runs
        assert sum(one.input_tokens for one in sums) == by_day.input_tokens
        assert sum(one.micro_usd or 0 for one in sums) == (by_day.micro_usd or 0)
    return by_day


async def test_runs_that_ended_are_counted_once(store: Store) -> None:
    await ended(store)
    await ended(store, Usage(1, 2), "failed")
    await queued(store)
    await leased(store)

    assert await store.count_usage(PRICES.get) == 2
    assert await store.count_usage(PRICES.get) == 0

    assert await total(store) == UsageSum(None, "academy", None, 2, 1, 101, 12, 40, 120 + 5)


async def test_sums_are_by_day_workflow_and_principal(store: Store) -> None:
    for day, workflow, principal, tokens in (
        (1, "academy", "ann", 1),
        (1, "academy", "bob", 10),
        (1, "retail", "ann", 100),
        (2, "academy", "ann", 1_000),
        (3, "academy", "ann", 10_000),
    ):
        run = await ended(store, Usage(tokens))
        changes = "finished_at = :at, workflow = :workflow, principal = :principal"
        at = day * DAY_US - 1
        await change_run(store, run, changes, at=at, workflow=workflow, principal=principal)
    assert await count_all(store) == 5

    async def tokens_by(**filter: object) -> list[tuple[str | None, str | None, str | None, int]]:
        wanted = UsageFilter("1970-01-01", "1970-01-02", **filter)  # type: ignore[arg-type]
        found = await store.usage(wanted, limit=9)
        return [(one.day, one.workflow, one.principal, one.input_tokens) for one in found]

    first, second = "1970-01-01", "1970-01-02"
    assert await tokens_by() == [(first, None, None, 111), (second, None, None, 1_000)]
    assert await tokens_by(by=("workflow",)) == [
        (None, "academy", None, 1_011),
        (None, "retail", None, 100),
    ]
    assert await tokens_by(by=("principal",)) == [
        (None, None, "ann", 1_101),
        (None, None, "bob", 10),
    ]
    assert await tokens_by(by=("day", "workflow"), principal="ann") == [
        (first, "academy", None, 1),
        (first, "retail", None, 100),
        (second, "academy", None, 1_000),
    ]
    assert await tokens_by(principal="bob") == [(first, None, None, 10)]
    assert await tokens_by(workflow="retail") == [(first, None, None, 100)]
    assert await tokens_by(by=("principal",), workflow="retail") == [(None, None, "ann", 100)]
    assert await tokens_by(by=("workflow",), principal="bob") == [(None, "academy", None, 10)]
    assert await tokens_by(workflow="academy", principal="bob") == [(first, None, None, 10)]
    assert await tokens_by(by=("day", "principal")) == [
        (first, None, "ann", 101),
        (first, None, "bob", 10),
        (second, None, "ann", 1_000),
    ]
    assert len(await store.usage(UsageFilter(first, second), limit=1)) == 1


async def test_a_run_whose_commit_was_late_is_counted(store: Store) -> None:
    await ended(store)
    late = await ended(store, Usage(7))
    await change_run(store, late, "finished_at = NULL")
    assert await count_all(store) == 1

    await change_run(store, late, "finished_at = 1")

    assert await count_all(store) == 1
    assert (await total(store)).input_tokens == 107


async def test_a_cost_without_a_price_is_unknown(store: Store) -> None:
    await ended(store)
    await store.count_usage(no_price)
    assert (await total(store)).micro_usd is None

    await ended(store)
    await store.count_usage(PRICES.get)
    await ended(store)
    await store.count_usage(no_price)

    found = await total(store)
    assert (found.runs, found.micro_usd) == (3, 120)


async def test_the_usage_of_a_run_below_another_one_is_counted_once(store: Store) -> None:
    lease, [child, other] = await parent_of(store)
    of_children = Usage(30, 3)
    for run in (child, other):
        claim = await store.claim(run, 60)
        assert claim is not None
        await append(store, claim.lease, 1, finished(), status="completed", usage=Usage(15, 1, 5))
    claim = await store.claim(lease.run, 60)
    assert claim is not None
    waited = WaitEnded(CallId("2.0"), "children", usage=of_children)
    await append(store, claim.lease, 3, waited)
    await append(
        store, claim.lease, 4, called("ask"), finished(), status="completed", usage=Usage(100, 10)
    )

    assert await count_all(store) == 3

    found = await total(store)
    assert (found.runs, found.input_tokens, found.output_tokens) == (3, 100, 9)


async def test_two_processes_count_each_run_once(store: Store, rival: Store) -> None:
    for _ in range(40):
        await ended(store)

    async def count(one: Store) -> int:
        counted = 0
        while (await rows(store, "SELECT 1 AS one FROM runs WHERE counted IS NULL")) != []:
            try:
                counted += await one.count_usage(PRICES.get)
            except StoreUnavailable:
                await asyncio.sleep(random.random() / 100)
        return counted

    counted = await asyncio.gather(count(store), count(rival), count(store), count(rival))

    assert sum(counted) == 40
    assert await total(store) == UsageSum(None, "academy", None, 40, 0, 4_000, 400, 1_600, 4_800)


@pytest.mark.parametrize("sums", [0, 1, 2])
async def test_a_process_that_is_killed_counts_all_or_nothing(store: Store, sums: int) -> None:
    """It is cancelled when it has added so many sums, before its commit."""
    for principal in ("ann", "bob"):
        run = await ended(store)
        await change_run(store, run, "principal = :principal", principal=principal)
    done = 0

    def killed(model: str) -> Price | None:
        nonlocal done
        done += 1
        if done > sums:
            raise asyncio.CancelledError
        return PRICES.get(model)

    if sums < 2:
        with pytest.raises(asyncio.CancelledError):
            await store.count_usage(killed)
        assert await store.usage(UsageFilter(*EVER_DAYS), limit=2) == []

    assert await count_all(store) == 2
    assert (await total(store)).runs == 2


async def test_sums_stay_when_their_runs_are_pruned(store: Store) -> None:
    run = await ended(store)
    await change_run(store, run, "finished_at = 5")
    async with store.write() as tx:
        await tx.execute("UPDATE threads SET created_at = 5")
        await tx.execute("UPDATE events SET at_us = 5")

    # It is counted before it is removed.
    assert await store.prune(before_us=DAY_US, price=PRICES.get) == 1

    assert await rows(store, "SELECT thread_id FROM runs") == []
    assert await total(store) == UsageSum(None, "academy", None, 1, 0, 100, 10, 40, 120)
