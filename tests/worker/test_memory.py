"""A worker holds only so many bytes of conversations: what has no room stays in the queue."""

import asyncio

import pytest

from tests.builders import user
from tests.engine.stage import ANN, Stage, Trouble, cut_off
from tests.worker.test_loop import Gate, enqueue, over, working
from twelvefold.core.ids import RunId
from twelvefold.engine.commands import enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import says
from twelvefold.worker.backoff import NO_ROOM_S
from twelvefold.worker.loop import Worker

POLL_S = 0.05


async def long_run(services: Services) -> RunId:
    run, _ = await enqueue_run(services, workflow="shop", principal=ANN, items=[user("x" * 20_000)])
    return run


async def test_long_conversations_are_driven_as_they_have_room(stage: Stage) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    runs = [await long_run(services) for _ in range(3)]
    worker = Worker(services, 10, POLL_S, max_run_bytes=50_000)
    async with working(worker):
        await gate.asked_by(2)
        short = await enqueue(services)
        await gate.asked_by(3)

        assert (worker.in_flight, gate.most) == (3, 3)
        gate.open()
        await over(stage, *runs, short)

    assert gate.asked == 4


async def test_a_worker_whose_bytes_are_used_up_looks_for_no_work(stage: Stage) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    worker = Worker(services, 10, POLL_S, max_run_bytes=10_000)
    async with working(worker):
        long = await long_run(services)  # has the worker to itself
        await gate.asked_by(1)
        short = await enqueue(services)
        await asyncio.sleep(4 * POLL_S)
        assert worker.in_flight == 1
        gate.open()
        await over(stage, long, short)

    assert worker.in_flight == 0


async def test_a_claim_that_fails_holds_no_bytes(stage: Stage) -> None:
    trouble = Trouble(cut_off, places=("before a load",), times=1)
    services = stage.process(says("There you are."), trouble=trouble)
    run = await long_run(stage.process())
    worker = Worker(services, 10, POLL_S, max_run_bytes=30_000)
    async with working(worker):
        await over(stage, run)
        while worker.in_flight:
            await asyncio.sleep(0.01)

    assert worker._memory.held == 0


async def test_a_run_without_room_is_looked_at_again_soon_however_often_it_had_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    first, second = [await long_run(services) for _ in range(2)]
    worker = Worker(services, 10, POLL_S, max_run_bytes=30_000)
    paused = list[float]()
    failed = worker._pauses.failed

    def noted(run: RunId, *most_s: float) -> float:
        # As if there had been no room for long.
        paused.append(max(failed(run, *most_s) for _ in range(20)))
        worker._pauses.rested(run)
        return paused[-1]

    monkeypatch.setattr(worker._pauses, "failed", noted)
    async with working(worker):
        while not paused:
            await asyncio.sleep(0.01)
        gate.open()
        await over(stage, first, second)

    assert max(paused) <= NO_ROOM_S
