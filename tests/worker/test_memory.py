"""A worker holds a limited number of bytes of conversations; other runs stay in the queue."""

import asyncio
import time

from tests.builders import user
from tests.engine.stage import ANN, Stage, Trouble, cut_off
from tests.worker.running import Gate, enqueue, until_over, working
from twelvefold.core.ids import RunId
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import says
from twelvefold.worker.backoff import NO_ROOM_S, RunBackoff
from twelvefold.worker.loop import Worker

POLL_S = 0.05


async def long_run(services: Services) -> RunId:
    run, _ = await enqueue_run(
        services, RunRequest(workflow="shop", principal=ANN, items=[user("x" * 20_000)])
    )
    return run


async def test_long_conversations_are_driven_when_they_fit(stage: Stage) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    runs = [await long_run(services) for _ in range(3)]
    worker = Worker(services, 10, POLL_S, max_run_bytes=50_000)
    async with working(worker):
        await gate.until_requested(2)
        short = await enqueue(services)
        await gate.until_requested(3)

        assert (worker.in_flight, gate.most_at_once) == (3, 3)
        gate.open()
        await until_over(stage, *runs, short)

    assert gate.requests == 4


async def test_a_worker_whose_memory_is_full_claims_nothing(stage: Stage) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    worker = Worker(services, 10, POLL_S, max_run_bytes=10_000)
    async with working(worker):
        long = await long_run(services)  # larger than the budget: driven alone
        await gate.until_requested(1)
        short = await enqueue(services)
        await asyncio.sleep(4 * POLL_S)
        assert worker.in_flight == 1
        gate.open()
        await until_over(stage, long, short)

    assert worker.in_flight == 0


async def test_a_claim_that_fails_releases_its_bytes(stage: Stage) -> None:
    trouble = Trouble(cut_off, places=("before a load",), times=1)
    services = stage.process(says("There you are."), trouble=trouble)
    run = await long_run(stage.process())
    worker = Worker(services, 10, POLL_S, max_run_bytes=30_000)
    async with working(worker):
        await until_over(stage, run)
        while worker.in_flight:
            await asyncio.sleep(0.01)

    assert worker._memory.held == 0


class Postponed(RunBackoff):
    """Pauses each run as if it had not fitted for a long time, and records the pauses."""

    def __init__(self) -> None:
        super().__init__(time.monotonic)
        self.pauses: list[float] = []

    def postpone(self, run: RunId, longest_s: float | None = None) -> float:
        self.pauses.append(max(super(Postponed, self).postpone(run, longest_s) for _ in range(20)))
        self.forget(run)
        return self.pauses[-1]


async def test_a_run_that_did_not_fit_is_tried_again_soon_however_often_that_was(
    stage: Stage,
) -> None:
    gate, backoff = Gate(), Postponed()
    services = stage.process(model=gate)
    first, second = [await long_run(services) for _ in range(2)]
    worker = Worker(services, 10, POLL_S, max_run_bytes=30_000, backoff=backoff)
    async with working(worker):
        while not backoff.pauses:
            await asyncio.sleep(0.01)
        gate.open()
        await until_over(stage, first, second)

    assert max(backoff.pauses) <= NO_ROOM_S
