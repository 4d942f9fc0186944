"""Runs at once of a key and of a principal, over all workers and web processes."""

import asyncio
from dataclasses import replace

import pytest

from tests.builders import user
from tests.engine.stage import LIMITS, Stage
from tests.worker.running import POLL_S, until_over, working
from tests.worker.test_fairness import Turnstile
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import ApiKey, Principal, WaitingRun, owner_of
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.worker.loop import Worker
from twelvefold.worker.share_holds import HOLD_S, ShareHolds

ANN = Principal("ann", "key_1")


async def enqueue(
    services: Services, who: Principal, number: int, priority: int = 0
) -> list[RunId]:
    items = [user(who.id)]
    return [
        (await enqueue_run(services, RunRequest("shop", who, items, priority=priority)))[0]
        for _ in range(number)
    ]


async def most_at_once(stage: Stage, model: Turnstile, runs: list[RunId], whose: str) -> int:
    """Let the runs end one by one; return how many of a principal were driven at once."""
    most = 0
    for _ in runs:
        await asyncio.sleep(3 * POLL_S)
        status = [(await stage.record(run)).status for run in runs]
        most = max(most, status.count("running"))
        model.answer(1)
    model.answer(len(runs))
    await until_over(stage, *runs)
    return most


@pytest.mark.parametrize("of", ["principal", "key", "own"])
async def test_workers_together_drive_no_more_runs_than_the_limit(stage: Stage, of: str) -> None:
    limits = replace(
        LIMITS,
        active_runs_per_principal=2 if of == "principal" else None,
        active_runs_per_key={"key": 2, "own": 9}.get(of),
    )
    model = Turnstile()
    services = [stage.process(model=model, limits=limits) for _ in range(3)]
    if of == "own":
        key = ApiKey("key_1", "k", "ann", (), "0" * 64, 1, max_runs=2)
        await services[0].store.add_key(key)
    runs = await enqueue(services[0], ANN, 6)

    async with working(*(Worker(one, 8, POLL_S) for one in services)):
        await model.until_requested(2)
        assert await most_at_once(stage, model, runs, "ann") == 2


async def test_a_principal_at_its_limit_does_not_delay_others(stage: Stage) -> None:
    limits = replace(LIMITS, active_runs_per_principal=1)
    services = stage.process(model=(model := Turnstile()), limits=limits)
    flood = await enqueue(services, Principal("bulk"), 40)
    single = await enqueue(services, ANN, 1)

    async with working(Worker(services, 8, POLL_S)):
        await model.until_requested(2)
        assert sorted(model.whose) == ["ann", "bulk"]
        model.answer(41)
        await until_over(stage, *single, *flood)


async def test_a_key_at_its_limit_does_not_delay_other_keys_of_its_principal(stage: Stage) -> None:
    limits = replace(LIMITS, active_runs_per_key=1)
    services = stage.process(model=(model := Turnstile()), limits=limits)
    flood = await enqueue(services, ANN, 80)
    single = await enqueue(services, Principal("ann", "key_2"), 1)

    async with working(Worker(services, 8, POLL_S)):
        await model.until_requested(2)
        status = [(await stage.record(run)).status for run in (*single, *flood)]
        model.answer(81)
        await until_over(stage, *single, *flood)

    assert (status[0], status.count("running")) == ("running", 2)


async def test_a_run_with_a_priority_is_driven_before_those_that_wait(stage: Stage) -> None:
    services = stage.process(model=(model := Turnstile()))
    batch = await enqueue(services, ANN, 5)
    (urgent,) = await enqueue(services, ANN, 1, priority=2)

    async with working(Worker(services, 1, POLL_S)):
        await model.until_requested(1)
        status = [(await stage.record(run)).status for run in (urgent, *batch)]
        model.answer(6)
        await until_over(stage, urgent, *batch)

    assert status == ["running", *["queued"] * 5]


async def test_a_run_that_has_waited_longer_than_the_head_start_goes_first(stage: Stage) -> None:
    services = stage.process()
    (old,) = await enqueue(services, ANN, 1)
    async with services.store.write() as tx:
        await tx.execute("update runs set lease_until = lease_until - 130000000")
    urgent = await enqueue(services, ANN, 3, priority=2)

    waiting = (await services.store.waiting_work(workflows=["shop"], limit=9)).runs

    assert waiting[0].run == old
    assert {one.run for one in waiting} == {old, *urgent}
    assert {(one.key_id, one.priority) for one in waiting} == {("key_1", 0), ("key_1", 2)}


def test_a_hold_ends() -> None:
    now = [0.0]
    holds = ShareHolds(lambda: now[0])
    one = WaitingRun(RunId(ThreadId("t"), 1), 0, "ann", key_id="key_1")
    other = WaitingRun(RunId(ThreadId("u"), 1), 0, "ann", key_id="key_2")

    holds.add(owner_of("key", "key_1"))
    assert (one in holds, other in holds) == (True, False)
    assert holds.keys == ["key_1"]
    holds.add(owner_of("principal", "ann"))
    assert other in holds
    assert holds.keys == ["key_1"]
    now[0] = HOLD_S
    assert (one in holds, other in holds, holds.keys) == (False, False, [])
    holds.clear()
    assert not holds
