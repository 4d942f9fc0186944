"""The limit of active requests of one owner, and the order of waiting ones."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.web.doubles import BEARER, OTHER, Clock, Keys, api_key, asking, web_on, with_routes
from tests.web.serving import Serve, Served
from twelvefold.core.owner import OWNER
from twelvefold.engine.shares import ANONYMOUS, LoopShares
from twelvefold.web.http.admission import AdmissionControl, Owners
from twelvefold.web.http.errors import ApiError


def admission(limit: int, **options: Any) -> AdmissionControl:
    return AdmissionControl(limit, LoopShares(), max_active_alone=limit, **options)


async def acquire(control: AdmissionControl, principal: str = "ann") -> AsyncExitStack:
    stack = AsyncExitStack()
    await stack.enter_async_context(control.acquire_slot(principal))
    return stack


async def run_tasks(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_a_request_above_the_limit_waits() -> None:
    control = admission(2)
    first, second = await acquire(control), await acquire(control)

    third = asyncio.create_task(acquire(control))
    await run_tasks()
    assert not third.done()
    await first.aclose()

    assert await third
    await second.aclose()


async def test_requests_wait_in_order() -> None:
    control = admission(1)
    first = await acquire(control)
    second, third = (asyncio.create_task(acquire(control)) for _ in range(2))
    await run_tasks()

    await first.aclose()
    await run_tasks()

    assert (second.done(), third.done()) == (True, False)
    await (await second).aclose()
    await (await third).aclose()


async def test_another_principal_does_not_wait() -> None:
    control = admission(1)
    anns = await acquire(control, "ann")

    assert await acquire(control, "bob")
    await anns.aclose()


async def test_a_request_that_waits_too_long_is_rejected() -> None:
    control = admission(1, wait_s=0)

    async with control.acquire_slot("ann"):
        with pytest.raises(ApiError, match="more than 1 requests are in progress") as refused:
            await acquire(control)

    assert (refused.value.status, refused.value.code) == (429, "too_many_requests")


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_slot() -> None:
    control = admission(1)
    first = await acquire(control)
    second = asyncio.create_task(acquire(control))
    await run_tasks()
    second.cancel()
    await run_tasks()

    await first.aclose()

    assert await acquire(control)


async def test_a_request_that_is_cancelled_when_assigned_passes_its_slot_on() -> None:
    control = admission(1)
    first = await acquire(control)
    second, third = (asyncio.create_task(acquire(control)) for _ in range(2))
    await run_tasks()

    await first.aclose()
    second.cancel()

    assert await third


async def test_a_slot_is_released_once() -> None:
    control = admission(1, release_delay_s=0)
    async with control.acquire_slot("ann") as slot:
        slot.release_soon()
        while slot.is_held:
            await asyncio.sleep(0)
        second = await acquire(control)

    third = asyncio.create_task(acquire(control))
    await run_tasks()
    assert not third.done()
    await second.aclose()
    assert await third


async def test_owners_without_requests_are_removed() -> None:
    control = admission(1)
    for principal in ("ann", "bob"):
        async with control.acquire_slot(principal):
            assert len(control) == 1

    assert len(control) == 0


async def test_the_number_of_waiting_requests_is_limited() -> None:
    control = admission(1, max_waiting=1, rejection_delay_s=0)
    async with control.acquire_slot("ann"):
        waiting = asyncio.create_task(acquire(control))
        await run_tasks()

        with pytest.raises(ApiError, match="try again in a moment"):
            await acquire(control)

    assert await waiting


async def test_a_cancelled_request_makes_room_for_another() -> None:
    control = admission(1, max_waiting=1)
    first = await acquire(control)
    gone = asyncio.create_task(acquire(control))
    await run_tasks()
    gone.cancel()
    await run_tasks()

    waiting = asyncio.create_task(acquire(control))
    await run_tasks()
    await first.aclose()

    assert await waiting


async def test_a_request_of_another_principal_overtakes_waiting_ones() -> None:
    gate, has_started = asyncio.Event(), asyncio.Event()

    async def held(request: Request) -> Response:
        has_started.set()
        await gate.wait()
        return Response()

    async def quick(request: Request) -> Response:
        return Response()

    keys = Keys([api_key(), api_key(OTHER, "bob", "key-2")])
    routes = Route("/v1/held", held), Route("/v1/quick", quick)
    async with (
        web_on(keys, max_concurrent_requests=1) as web,
        asking(with_routes(web, *routes)) as http,
    ):
        first = asyncio.create_task(http.get("/v1/held", headers=BEARER))
        await has_started.wait()
        second = asyncio.create_task(http.get("/v1/quick", headers=BEARER))
        bearer = {"authorization": f"Bearer {OTHER}"}
        others = [await http.get("/v1/quick", headers=bearer) for _ in range(2)]
        third = asyncio.create_task(http.get("/v1/quick", headers=BEARER))
        await run_tasks(50)

        assert [one.status_code for one in others] == [200, 200]
        assert not third.done()
        gate.set()
        assert [(await one).status_code for one in (first, second, third)] == [200] * 3


async def test_the_work_for_a_request_has_its_principal_as_owner() -> None:
    async def owner(request: Request) -> Response:
        return Response(await asyncio.create_task(named()))

    async def named() -> str:
        return OWNER.get()

    keys = Keys([api_key(), api_key(OTHER, "bob", "key-2")])
    async with web_on(keys) as web, asking(with_routes(web, Route("/v1/owner", owner))) as http:
        anns = await http.get("/v1/owner", headers=BEARER)
        bobs = await http.get("/v1/owner", headers={"authorization": f"Bearer {OTHER}"})

    assert [anns.text, bobs.text] == ["ann", "bob"]


async def wait_until_idle(api: Served) -> None:
    """Return when no request has a slot."""
    while len(api.web.admission):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_turn_that_waits_for_its_model_releases_its_slot(
    serve: Serve, stream: bool
) -> None:
    api = await serve()
    api.model.gate.clear()
    body = {"model": "shop", "input": "hi", "stream": stream}
    turn = asyncio.create_task(api.post("/responses", body))
    await api.model.asked.wait()

    await wait_until_idle(api)

    assert not turn.done()
    api.model.gate.set()
    assert (await turn).status_code == 200


async def test_a_chat_completion_that_waits_for_its_model_releases_its_slot(serve: Serve) -> None:
    api = await serve()
    api.model.gate.clear()
    body = {"model": "shop", "messages": [{"role": "user", "content": "hi"}]}
    turn = asyncio.create_task(api.post("/chat/completions", body))
    await api.model.asked.wait()

    await wait_until_idle(api)

    assert not turn.done()
    api.model.gate.set()
    assert (await turn).status_code == 200


async def test_a_followed_stream_takes_no_slot(serve: Serve) -> None:
    api = await serve()
    api.model.gate.clear()
    id = (await api.ask("hi", background=True))["id"]
    followed = asyncio.create_task(api.replayed(id))

    await wait_until_idle(api)

    assert not followed.done()
    api.model.gate.set()
    assert await followed


async def test_a_single_principal_has_a_higher_limit() -> None:
    shares = LoopShares()
    control = AdmissionControl(1, shares, max_active_alone=2)
    first, second = await acquire(control), await acquire(control)
    shares.charge("bob", 0.001)

    third = asyncio.create_task(acquire(control))
    await run_tasks()
    await first.aclose()
    await run_tasks()
    assert not third.done()

    await second.aclose()
    assert await third


async def test_an_owner_beyond_its_share_waits_for_the_excess() -> None:
    clock = Clock()
    shares = LoopShares(0.5, burst_s=0.01, clock=clock)
    shares.charge("bob", 0)
    shares.charge("ann", 0.1)
    control = AdmissionControl(4, shares)

    anns = asyncio.create_task(acquire(control, "ann"))
    bobs = await acquire(control, "bob")
    await run_tasks()
    assert not anns.done()
    clock.now += 0.5

    assert await anns
    await bobs.aclose()


async def test_a_known_key_counts_for_its_principal() -> None:
    owners = Owners()
    assert owners.find("Bearer tw_a", "192.0.2.1") == f"{ANONYMOUS}192.0.2.1"

    owners.remember("Bearer tw_a", "ann")

    assert owners.find("Bearer tw_a", "192.0.2.1") == "ann"

    owners.forget("Bearer tw_a")
    assert owners.find("Bearer tw_a", "192.0.2.1") == f"{ANONYMOUS}192.0.2.1"
