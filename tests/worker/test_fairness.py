"""Several principals on one worker: none waits for all runs that another one has queued."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.builders import user
from tests.engine.stage import Stage
from tests.worker.running import POLL_S, until_over, working
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, Principal
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn, says
from twelvefold.worker.loop import Worker


@dataclass
class Turnstile:
    """A model that replies to so many requests as a test allows, and records whose they are."""

    whose: list[str] = field(default_factory=list)
    answers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.whose.append(str(request.items[-1]["content"]))
        await self.answers.acquire()
        return await ScriptedModel(in_turn(says("There you are."))).reply(request, listener)

    def answer(self, number: int) -> None:
        for _ in range(number):
            self.answers.release()

    async def until_requested(self, number: int) -> None:
        while len(self.whose) < number:
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Nothing is open."""


async def enqueue(services: Services, principal: str, number: int = 1) -> list[RunId]:
    """Enqueue runs whose text is their principal's name."""
    runs = [
        await enqueue_run(
            services,
            RunRequest(workflow="shop", principal=Principal(principal), items=[user(principal)]),
        )
        for _ in range(number)
    ]
    return [run for run, _ in runs]


async def test_a_principal_with_many_runs_leaves_a_slot_to_others(stage: Stage) -> None:
    services = stage.process(model=(model := Turnstile()))
    bulk = await enqueue(services, "bulk", 30)

    async with working(worker := Worker(services, 8, POLL_S)):
        await model.until_requested(7)
        single = await enqueue(services, "ann")
        worker.wake()
        await model.until_requested(8)
        model.answer(31)
        await until_over(stage, *bulk, *single)

    assert model.whose[:8] == ["bulk"] * 7 + ["ann"]


async def test_the_next_free_slot_is_for_a_principal_that_has_none(stage: Stage) -> None:
    services = stage.process(model=(model := Turnstile()))
    bulk = [*await enqueue(services, "bulk", 20), *await enqueue(services, "more", 20)]

    async with working(Worker(services, 4, POLL_S)):
        await model.until_requested(4)
        single = await enqueue(services, "ann")
        for number in range(5, 42):
            model.answer(1)
            await model.until_requested(number)
        model.answer(4)
        await until_over(stage, *bulk, *single)

    assert model.whose.index("ann") <= 6


async def test_principals_take_turns(stage: Stage) -> None:
    services = stage.process(model=(model := Turnstile()))
    runs = [run for name in ("ann", "bob", "eve") for run in await enqueue(services, name, 4)]

    async with working(Worker(services, 1, POLL_S)):
        for number in range(1, 13):
            await model.until_requested(number)
            model.answer(1)
        await until_over(stage, *runs)

    assert model.whose == ["ann", "bob", "eve"] * 4


async def test_all_principals_have_their_turn_if_one_search_does_not_read_them_all(
    stage: Stage,
) -> None:
    services = stage.process(model=(model := Turnstile()))
    names = [f"p{number:02}" for number in range(40)]
    runs = [run for name in names for run in await enqueue(services, name, 3)]
    model.answer(len(runs))

    async with working(Worker(services, 2, POLL_S)):
        await until_over(stage, *runs)

    assert sorted(model.whose[:40]) == names


@pytest.mark.parametrize("share", [1, 3])
async def test_a_principal_has_its_share_and_its_next_run_follows_at_once(
    stage: Stage, share: int
) -> None:
    services = stage.process(model=(model := Turnstile()))
    runs = await enqueue(services, "ann", 9)

    async with working(worker := Worker(services, 8, 3_600.0, max_per_principal=share)):
        await model.until_requested(share)
        await asyncio.sleep(0.1)
        in_flight = worker.in_flight
        for number in range(share + 1, 10):
            model.answer(1)
            await model.until_requested(number)  # with polls an hour apart
        model.answer(share)
        await until_over(stage, *runs)

    assert in_flight == share


async def test_two_workers_share_the_runs_of_many_principals(stage: Stage) -> None:
    first, second = (stage.process(says("There.")) for _ in range(2))
    names = [f"p{number:02}" for number in range(20)]
    runs = [run for name in names for run in await enqueue(first, name, 2)]

    async with working(Worker(first, 10, POLL_S), Worker(second, 10, POLL_S)):
        await until_over(stage, *runs)
