"""Limits on queued background runs, and the error beyond them."""

from contextlib import suppress

import pytest

from tests.builders import user
from tests.engine.stage import ANN, Stage
from tests.web.asking import error
from tests.web.doubles import Clock
from tests.web.serving import Serve
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict
from twelvefold.web.http.errors import ApiError
from twelvefold.web.runs.queue_limit import CACHE_TTL_S, QueueLimiter

SHOP = ("shop",)
BOB = Principal("bob")


async def enqueue(services: Services) -> None:
    await enqueue_run(services, RunRequest(workflow="shop", principal=ANN, items=[user("hi")]))


async def test_a_full_queue_admits_no_run(stage: Stage) -> None:
    services = stage.process()
    await enqueue(services)
    queue = QueueLimiter(services.store, SHOP, 2, 2)
    async with queue.slot(ANN):
        pass

    with pytest.raises(ApiError, match="2 background runs of yours wait already") as refused:
        await queue.slot(ANN).__aenter__()

    assert (refused.value.status, refused.value.code) == (429, "queue_full")


async def test_one_principal_fills_at_most_half_of_the_queue(stage: Stage) -> None:
    services = stage.process()
    queue = QueueLimiter(services.store, SHOP, 4)
    for _ in range(2):
        async with queue.slot(ANN):
            await enqueue(services)

    with pytest.raises(ApiError, match="2 background runs of yours wait already") as refused:
        await queue.slot(ANN).__aenter__()
    for _ in range(2):
        async with queue.slot(BOB):
            pass
    with pytest.raises(ApiError, match="4 background runs wait already"):
        await queue.slot(Principal("eve")).__aenter__()

    assert (refused.value.status, refused.value.code) == (429, "queue_full")


async def test_runs_of_a_workflow_that_is_not_served_take_no_slot(stage: Stage) -> None:
    services = stage.process()
    await enqueue(services)

    for _ in range(2):
        async with QueueLimiter(services.store, ("academy",), 1).slot(ANN):
            pass


async def test_counts_are_cached_for_a_bounded_number_of_principals(stage: Stage) -> None:
    queue = QueueLimiter(stage.process().store, SHOP, 10, 2, clock=Clock(), max_principals=3)
    for name in ("ann", "ann", "bob", "eve", "ann", "zoe"):
        with suppress(ApiError):
            async with queue.slot(Principal(name)):
                pass

    with pytest.raises(ApiError):
        await queue.slot(ANN).__aenter__()
    async with queue.slot(BOB):  # forgotten, and counted anew
        pass

    assert queue.principals == ("zoe", "ann", "bob")


async def test_the_count_is_read_again_after_its_ttl(stage: Stage) -> None:
    clock = Clock()
    services = stage.process()
    queue = QueueLimiter(services.store, SHOP, 1, clock=clock)
    for _ in range(2):
        async with queue.slot(ANN):
            clock.now += CACHE_TTL_S
    await enqueue(services)

    with pytest.raises(ApiError):
        await queue.slot(ANN).__aenter__()


async def test_a_run_that_was_not_written_takes_no_slot(stage: Stage) -> None:
    queue = QueueLimiter(stage.process().store, SHOP, 1, clock=Clock())

    for _ in range(3):
        with pytest.raises(Conflict):
            async with queue.slot(ANN):
                raise Conflict("the turn before is not over")


async def test_a_background_turn_beyond_the_limit_is_429_with_a_time_to_retry(serve: Serve) -> None:
    api = await serve(worker=False, max_queued=1)
    queued = await api.ask("hi", background=True)

    refused = await api.post("/responses", {"model": "shop", "input": "hi", "background": True})

    assert error(refused) == (429, "queue_full", None)
    assert int(refused.headers["retry-after"]) > 0
    assert await api.ask("hi")
    assert (await api.get(f"/responses/{queued['id']}")).json()["status"] == "queued"
