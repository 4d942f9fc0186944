"""A worker counts the usage of runs that ended, and survives a database that is down."""

import asyncio
from io import StringIO

import pytest

from tests.engine.stage import Stage
from tests.waiting import HANG_S
from tests.worker.running import enqueue, until_over, working
from twelvefold.core.ports import Store, UsageFilter, UsageSum
from twelvefold.core.ports.budgets import NOTHING, Amount, Budget, BudgetScope, Reservation, Used
from twelvefold.errors import StoreUnavailable
from twelvefold.services.model.scripted import says
from twelvefold.worker.loop import Worker
from twelvefold.worker.usage import UsageCounter

COUNT_S = 0.01
EVER = UsageFilter("1970-01-01", "9999-12-31", by=("principal",))


async def until_counted(store: Store, runs: int) -> UsageSum:
    """Wait for the sum of one principal, which has so many runs."""
    async with asyncio.timeout(HANG_S):
        while not (found := await store.usage(EVER, limit=2)) or found[0].runs < runs:
            await asyncio.sleep(COUNT_S)
    (one,) = found
    return one


async def test_a_worker_counts_the_runs_that_ended_before_it_started(stage: Stage) -> None:
    services = stage.process(says("one"), says("two"))
    runs = [await enqueue(services) for _ in range(2)]
    async with working(Worker(services, 2, 0.01)):
        await until_over(stage, *runs)

    async with working(Worker(services, 2, 0.01)):
        found = await until_counted(services.store, 2)

    assert (found.runs, found.failed) == (2, 0)


async def test_counting_continues_after_an_outage(
    stage: Stage, log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("one"))
    run = await enqueue(services)
    async with working(Worker(services, 2, 0.01)):
        await until_over(stage, run)
    faults: list[Exception] = [RuntimeError("a bug"), StoreUnavailable("down").loggable()]
    count = services.store.count_usage

    async def failing(*args: object) -> int:
        if faults:
            raise faults.pop()
        return await count(*args)  # type: ignore[arg-type]

    async with services.store.write() as tx:
        await tx.execute("update runs set counted = null")
        await tx.execute("delete from usage_principals")
    monkeypatch.setattr(services.store, "count_usage", failing)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(UsageCounter(services, COUNT_S).run(stop))
        found = await until_counted(services.store, 1)
        stop.set()

    assert found.runs == 1
    assert log.getvalue().count("usage_not_counted") == 2


async def test_a_counter_that_has_nothing_to_do_ends_when_the_worker_does(stage: Stage) -> None:
    services = stage.process()
    stop = asyncio.Event()
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        group.create_task(UsageCounter(services, 3_600).run(stop))
        await asyncio.sleep(COUNT_S)
        stop.set()


async def test_a_worker_charges_the_calls_that_the_process_of_a_run_has_not_settled(
    stage: Stage,
) -> None:
    services = stage.process(says("one"))
    run = await enqueue(services)
    async with working(Worker(services, 2, 0.01)):
        await until_over(stage, run)
    now_us, _ = await services.store.budgets()
    budget = Budget(BudgetScope(principal="ann"), "day", tokens=1_000)
    began_us = budget.period(now_us).began_us
    call = Reservation(run, 2, "a-1", budget.id, began_us, Amount(200))
    assert await services.store.reserve(budget, call) is None

    async with working(Worker(services, 2, 0.01)):
        while await services.store.reservations(run):
            await asyncio.sleep(COUNT_S)

    key = (budget.id, began_us)
    assert (await services.store.used([key]))[key] == Used(Amount(200), NOTHING)
