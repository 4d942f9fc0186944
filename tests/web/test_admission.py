"""How many requests of one principal are handled at once, and what the others wait for."""

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
from twelvefold.engine.loop_shares import ANONYMOUS, LoopShares
from twelvefold.web.http.admission import AdmissionControl, Owners
from twelvefold.web.http.errors import ApiError


def admission(most: int, **more: Any) -> AdmissionControl:
    return AdmissionControl(most, LoopShares(), most_alone=most, **more)


async def entered(control: AdmissionControl, principal: str = "ann") -> AsyncExitStack:
    stack = AsyncExitStack()
    await stack.enter_async_context(control.place(principal))
    return stack


async def passes(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_a_request_too_many_waits_for_its_turn() -> None:
    control = admission(2)
    first, second = await entered(control), await entered(control)

    third = asyncio.create_task(entered(control))
    await passes()
    assert not third.done()
    await first.aclose()

    assert await third
    await second.aclose()


async def test_turns_come_in_order() -> None:
    control = admission(1)
    first = await entered(control)
    second, third = (asyncio.create_task(entered(control)) for _ in range(2))
    await passes()

    await first.aclose()
    await passes()

    assert (second.done(), third.done()) == (True, False)
    await (await second).aclose()
    await (await third).aclose()


async def test_another_principal_does_not_wait() -> None:
    control = admission(1)
    anns = await entered(control, "ann")

    assert await entered(control, "bob")
    await anns.aclose()


async def test_a_turn_that_does_not_come_in_time_is_refused() -> None:
    control = admission(1, wait_s=0)

    async with control.place("ann"):
        with pytest.raises(ApiError, match="more than 1 requests are in hand") as refused:
            await entered(control)

    assert (refused.value.status, refused.value.code) == (429, "too_many_requests")


async def test_a_request_that_leaves_while_it_waits_takes_no_place() -> None:
    control = admission(1)
    first = await entered(control)
    second = asyncio.create_task(entered(control))
    await passes()
    second.cancel()
    await passes()

    await first.aclose()

    assert await entered(control)


async def test_a_request_that_leaves_as_its_turn_comes_hands_it_on() -> None:
    control = admission(1)
    first = await entered(control)
    second, third = (asyncio.create_task(entered(control)) for _ in range(2))
    await passes()

    await first.aclose()
    second.cancel()

    assert await third


async def test_a_place_is_given_back_once() -> None:
    control = admission(1, hold_s=0)
    async with control.place("ann") as place:
        place.release_soon()
        while place.is_held:
            await asyncio.sleep(0)
        second = await entered(control)

    third = asyncio.create_task(entered(control))
    await passes()
    assert not third.done()
    await second.aclose()
    assert await third


async def test_what_is_counted_is_forgotten() -> None:
    control = admission(1)
    for principal in ("ann", "bob"):
        async with control.place(principal):
            assert len(control) == 1

    assert len(control) == 0


async def test_of_those_that_wait_there_are_only_so_many() -> None:
    control = admission(1, max_waiting=1, full_s=0)
    async with control.place("ann"):
        waiting = asyncio.create_task(entered(control))
        await passes()

        with pytest.raises(ApiError, match="try again in a moment"):
            await entered(control)

    assert await waiting


async def test_one_that_no_longer_waits_makes_room_for_another() -> None:
    control = admission(1, max_waiting=1)
    first = await entered(control)
    gone = asyncio.create_task(entered(control))
    await passes()
    gone.cancel()
    await passes()

    waiting = asyncio.create_task(entered(control))
    await passes()
    await first.aclose()

    assert await waiting


async def test_a_request_of_another_principal_overtakes_those_that_wait() -> None:
    let, has_begun = asyncio.Event(), asyncio.Event()

    async def held(request: Request) -> Response:
        has_begun.set()
        await let.wait()
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
        await has_begun.wait()
        second = asyncio.create_task(http.get("/v1/quick", headers=BEARER))
        bearer = {"authorization": f"Bearer {OTHER}"}
        others = [await http.get("/v1/quick", headers=bearer) for _ in range(2)]
        third = asyncio.create_task(http.get("/v1/quick", headers=BEARER))
        await passes(50)

        assert [one.status_code for one in others] == [200, 200]
        assert not third.done()
        let.set()
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


async def none_in_hand(api: Served) -> None:
    """Returns once no request has a place."""
    while len(api.web.admission):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_turn_that_waits_for_its_model_gives_its_place_back(
    serve: Serve, stream: bool
) -> None:
    api = await serve()
    api.model.gate.clear()
    body = {"model": "shop", "input": "hi", "stream": stream}
    turn = asyncio.create_task(api.post("/responses", body))
    await api.model.asked.wait()

    await none_in_hand(api)

    assert not turn.done()
    api.model.gate.set()
    assert (await turn).status_code == 200


async def test_a_chat_that_waits_for_its_model_gives_its_place_back(serve: Serve) -> None:
    api = await serve()
    api.model.gate.clear()
    body = {"model": "shop", "messages": [{"role": "user", "content": "hi"}]}
    turn = asyncio.create_task(api.post("/chat/completions", body))
    await api.model.asked.wait()

    await none_in_hand(api)

    assert not turn.done()
    api.model.gate.set()
    assert (await turn).status_code == 200


async def test_a_stream_that_is_followed_takes_no_place(serve: Serve) -> None:
    api = await serve()
    api.model.gate.clear()
    id = (await api.ask("hi", background=True))["id"]
    followed = asyncio.create_task(api.replayed(id))

    await none_in_hand(api)

    assert not followed.done()
    api.model.gate.set()
    assert await followed


async def test_alone_a_principal_may_have_more_in_hand() -> None:
    shares = LoopShares()
    control = AdmissionControl(1, shares, most_alone=2)
    first, second = await entered(control), await entered(control)
    shares.charge("bob", 0.001)

    third = asyncio.create_task(entered(control))
    await passes()
    await first.aclose()
    await passes()
    assert not third.done()

    await second.aclose()
    assert await third


async def test_who_has_used_more_than_a_share_waits_for_the_excess() -> None:
    clock = Clock()
    shares = LoopShares(0.5, burst_s=0.01, clock=clock)
    shares.charge("bob", 0)
    shares.charge("ann", 0.1)
    control = AdmissionControl(4, shares)

    anns = asyncio.create_task(entered(control, "ann"))
    bobs = await entered(control, "bob")
    await passes()
    assert not anns.done()
    clock.now += 0.5

    assert await anns
    await bobs.aclose()


async def test_a_key_that_was_shown_before_stands_for_its_principal() -> None:
    owners = Owners()
    assert owners.of("Bearer tw_a", "192.0.2.1") == f"{ANONYMOUS}192.0.2.1"

    owners.learn("Bearer tw_a", "ann")

    assert owners.of("Bearer tw_a", "192.0.2.1") == "ann"

    owners.forget("Bearer tw_a")
    assert owners.of("Bearer tw_a", "192.0.2.1") == f"{ANONYMOUS}192.0.2.1"
