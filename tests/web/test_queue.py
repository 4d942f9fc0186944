"""The queue of background runs: how many may wait, and what whoever comes next is told."""

from contextlib import suppress

import pytest

from tests.builders import user
from tests.engine.stage import ANN, Stage
from tests.web.asking import error
from tests.web.doubles import Clock
from tests.web.serving import Serve
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import enqueue_run
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict
from twelvefold.web.http.errors import ApiError
from twelvefold.web.runs.queue_limit import POLL_INTERVAL_S, QueueLimiter

SHOP = ("shop",)
BOB = Principal("bob")


async def enqueue(services: Services) -> None:
    await enqueue_run(services, workflow="shop", principal=ANN, items=[user("hi")])


async def test_a_full_queue_takes_no_more(stage: Stage) -> None:
    services = stage.process()
    await enqueue(services)
    queue = QueueLimiter(services.store, SHOP, 2, 2)
    async with queue.place(ANN):
        pass

    with pytest.raises(ApiError, match="2 background runs of yours wait already") as refused:
        await queue.place(ANN).__aenter__()

    assert (refused.value.status, refused.value.code) == (429, "queue_full")


async def test_one_principal_fills_half_of_the_queue_and_others_go_on(stage: Stage) -> None:
    services = stage.process()
    queue = QueueLimiter(services.store, SHOP, 4)
    for _ in range(2):
        async with queue.place(ANN):
            await enqueue(services)

    with pytest.raises(ApiError, match="2 background runs of yours wait already") as refused:
        await queue.place(ANN).__aenter__()
    for _ in range(2):
        async with queue.place(BOB):
            pass
    with pytest.raises(ApiError, match="4 background runs wait already"):
        await queue.place(Principal("eve")).__aenter__()

    assert (refused.value.status, refused.value.code) == (429, "queue_full")


async def test_runs_of_a_workflow_that_is_not_served_take_no_place(stage: Stage) -> None:
    services = stage.process()
    await enqueue(services)

    for _ in range(2):
        async with QueueLimiter(services.store, ("academy",), 1).place(ANN):
            pass


async def test_counts_are_kept_of_a_bounded_number_of_principals(stage: Stage) -> None:
    queue = QueueLimiter(stage.process().store, SHOP, 10, 2, clock=Clock(), remembered=3)
    for name in ("ann", "ann", "bob", "eve", "ann", "zoe"):
        with suppress(ApiError):
            async with queue.place(Principal(name)):
                pass

    with pytest.raises(ApiError):
        await queue.place(ANN).__aenter__()
    async with queue.place(BOB):  # forgotten, and counted anew
        pass

    assert queue.principals == ("zoe", "ann", "bob")


async def test_the_table_is_looked_at_now_and_then(stage: Stage) -> None:
    clock = Clock()
    services = stage.process()
    queue = QueueLimiter(services.store, SHOP, 1, clock=clock)
    for _ in range(2):
        async with queue.place(ANN):
            clock.now += POLL_INTERVAL_S
    await enqueue(services)

    with pytest.raises(ApiError):
        await queue.place(ANN).__aenter__()


async def test_a_run_that_was_not_written_takes_no_place(stage: Stage) -> None:
    queue = QueueLimiter(stage.process().store, SHOP, 1, clock=Clock())

    for _ in range(3):
        with pytest.raises(Conflict):
            async with queue.place(ANN):
                raise Conflict("the turn before is not over")


async def test_a_background_turn_too_many_is_told_to_come_again(serve: Serve) -> None:
    api = await serve(worker=False, max_queued=1)
    queued = await api.ask("hi", background=True)

    refused = await api.post("/responses", {"model": "shop", "input": "hi", "background": True})

    assert error(refused) == (429, "queue_full", None)
    assert int(refused.headers["retry-after"]) > 0
    assert await api.ask("hi")
    assert (await api.get(f"/responses/{queued['id']}")).json()["status"] == "queued"
