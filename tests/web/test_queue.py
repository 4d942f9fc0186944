"""The queue of background runs: how many may wait, and what whoever comes next is told."""

import pytest

from tests.builders import user
from tests.engine.stage import ANN, Stage
from tests.web.asking import error
from tests.web.doubles import Clock
from tests.web.serving import Serve
from twelvefold.engine.commands import enqueue_run
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict
from twelvefold.web.faults import ApiError
from twelvefold.web.queue import LOOK_S, Queue


async def enqueue(services: Services) -> None:
    await enqueue_run(services, workflow="shop", principal=ANN, items=[user("hi")])


async def test_a_full_queue_takes_no_more(stage: Stage) -> None:
    services = stage.process()
    await enqueue(services)
    queue = Queue(services.store, 2)
    async with queue.place():
        pass

    with pytest.raises(ApiError, match="2 background runs wait already") as refused:
        await queue.place().__aenter__()

    assert (refused.value.status, refused.value.code) == (429, "queue_full")


async def test_the_table_is_looked_at_now_and_then(stage: Stage) -> None:
    clock = Clock()
    services = stage.process()
    queue = Queue(services.store, 1, clock)
    for _ in range(2):
        async with queue.place():
            clock.now += LOOK_S
    await enqueue(services)

    with pytest.raises(ApiError):
        await queue.place().__aenter__()


async def test_a_run_that_was_not_written_takes_no_place(stage: Stage) -> None:
    queue = Queue(stage.process().store, 1, Clock())

    for _ in range(3):
        with pytest.raises(Conflict):
            async with queue.place():
                raise Conflict("the turn before is not over")


async def test_a_background_turn_too_many_is_told_to_come_again(serve: Serve) -> None:
    api = await serve(worker=False, max_queued=1)
    queued = await api.ask("hi", background=True)

    refused = await api.post("/responses", {"model": "shop", "input": "hi", "background": True})

    assert error(refused) == (429, "queue_full", None)
    assert int(refused.headers["retry-after"]) > 0
    assert await api.ask("hi")
    assert (await api.get(f"/responses/{queued['id']}")).json()["status"] == "queued"
