"""The queue of background runs: how many may wait, and what whoever comes next is told."""

import pytest

from tests.builders import user
from tests.engine.stage import ANN, Stage
from tests.web.asking import error
from tests.web.doubles import Clock
from tests.web.serving import Serve
from twelvefold.engine.commands import enqueue_run
from twelvefold.engine.services import Services
from twelvefold.web.faults import ApiError
from twelvefold.web.queue import LOOK_S, Queue


async def enqueue(services: Services) -> None:
    await enqueue_run(services, workflow="shop", principal=ANN, items=[user("hi")])


async def test_a_full_queue_takes_no_more(stage: Stage) -> None:
    services = stage.process()
    await enqueue(services)
    queue = Queue(services.store, 2)
    await queue.enter()

    with pytest.raises(ApiError, match="2 background runs wait already") as refused:
        await queue.enter()

    assert (refused.value.status, refused.value.code) == (429, "queue_full")


async def test_the_table_is_looked_at_now_and_then(stage: Stage) -> None:
    clock = Clock()
    services = stage.process()
    queue = Queue(services.store, 1, clock)
    await queue.enter()
    clock.now += LOOK_S

    await queue.enter()
    await enqueue(services)
    clock.now += LOOK_S

    with pytest.raises(ApiError):
        await queue.enter()


async def test_a_background_turn_too_many_is_told_to_come_again(serve: Serve) -> None:
    api = await serve(worker=False, max_queued=1)
    queued = await api.ask("hi", background=True)

    refused = await api.post("/responses", {"model": "shop", "input": "hi", "background": True})

    assert error(refused) == (429, "queue_full", None)
    assert int(refused.headers["retry-after"]) > 0
    assert await api.ask("hi")
    assert (await api.get(f"/responses/{queued['id']}")).json()["status"] == "queued"
