"""Streams of a response: live, resumed in any process, and replayed later."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import pytest

from tests.engine.stage import LIMITS, Stage
from tests.web.sdk import check_events
from tests.web.serving import Rules, Serve, Served, event_of
from tests.web.stream_clients import LONG, reading, text_of, types
from twelvefold.core.ids import RunId
from twelvefold.core.ports import ModelReply, ModelRequest
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.web.ids import ResponseId
from twelvefold.web.state import Waits
from twelvefold.web.streaming.reader import INTERRUPTED

# --- events ---------------------------------------------------------------------------------------


async def test_a_text_is_streamed_as_it_comes(serve: Serve) -> None:
    api = await serve(model=Rules(halts=True))

    async with reading(api, LONG) as client:
        events = await client.events(4)
        for _ in range(4):  # each piece arrives while the model has not said the next one
            events += await client.events(1)
            api.model.go_on()
        api.model.go_on(to_the_end=True)
        events += await client.rest()

    check_events(events)
    deltas = types(events).count("output_text.delta")
    assert deltas > 3
    assert types(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta",) * deltas,
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert text_of(events) == f"You said: {LONG}"
    assert await api.replayed(events[0]["response"]["id"]) == events


async def test_calls_of_the_servers_tools_are_streamed(api: Served) -> None:
    events = await api.told("buy a lamp")

    check_events(events)
    assert types(events)[2:8] == [
        *("output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta"),
        *("mcp_call_arguments.done", "mcp_call.completed", "output_item.done"),
    ]
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["mcp_call", "message"]


async def test_the_official_clients_accumulator_agrees(api: Served) -> None:
    async with api.sdk.responses.stream(model="shop", input="buy a lamp") as client:
        async for _ in client:
            pass
        final = await client.get_final_response()
    async with api.sdk.responses.stream(response_id=final.id, starting_after=3) as resumed:
        numbers = [event.sequence_number async for event in resumed]

    assert final.output_text == "The tool says: bought a lamp"
    assert numbers[0] == 4
    assert (await api.sdk.responses.retrieve(final.id)).output_text == final.output_text


async def test_unicode_line_separators_do_not_split_events(api: Served) -> None:
    text = "a\u2028b\u2029c\x85d\x0be\rf\ng"
    body = {"model": "shop", "input": text, "stream": True}

    raw = await api.http.post("/v1/responses", json=body)

    assert "\u2028" not in raw.text
    assert "\u2029" not in raw.text
    blocks = raw.text.removesuffix("data: [DONE]\n\n").split("\n\n")
    assert text_of([one for block in blocks if block and (one := event_of(block))]).endswith(text)


async def test_each_event_is_one_write(serve: Serve) -> None:
    api = await serve()
    body = msgspec.json.encode({"model": "shop", "input": "buy a lamp", "stream": True})
    chunks: list[bytes] = []

    reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(api.address).port)
    head = f"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
    writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + body)
    await reader.readuntil(b"\r\n\r\n")
    while size := int((await reader.readline()).strip(), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    writer.close()

    assert all(chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1 for chunk in chunks)
    assert chunks[-1] == b"data: [DONE]\n\n"


async def test_a_stream_without_events_sends_heartbeats(serve: Serve) -> None:
    api = await serve(waits=Waits(heartbeat_s=0.05))
    api.model.gate.clear()

    async with reading(api, "hi") as client:
        first = await client.events(2)
        silence = [await client.block() for _ in range(2)]
        api.model.gate.set()
        rest = await client.rest()

    assert types(first) == ["created", "in_progress"]
    assert silence == [": still here"] * 2
    assert rest[-1]["type"] == "response.completed"


# --- resumed and replayed -------------------------------------------------------------------------


async def test_an_interrupted_stream_is_resumed_where_it_ended(serve: Serve) -> None:
    api = await serve(model=Rules(pause_s=0.03))
    async with reading(api, LONG, background=True) as client:
        first = await client.events(4)
    id = first[0]["response"]["id"]

    rest = await api.replayed(id, starting_after=first[-1]["sequence_number"])

    whole = await api.replayed(id)
    check_events(whole)
    assert types(whole)[:3] == ["created", "queued", "in_progress"]
    assert first + rest == whole


async def test_a_background_run_continues_when_its_client_leaves_at_once(serve: Serve) -> None:
    api = await serve(model=Rules(pause_s=0.01))
    async with reading(api, LONG, background=True) as client:
        [created] = await client.events(1)

    done = await api.settled(created["response"]["id"])

    assert done["status"] == "completed"


async def test_a_foreground_run_continues_without_its_client_before_the_next_turn(
    serve: Serve,
) -> None:
    api = await serve(model=Rules(pause_s=0.02))
    conversation = (await api.post("/conversations")).json()["id"]
    async with reading(api, LONG, conversation=conversation) as client:
        first = await client.events(6)

    second = await api.ask("and then?", conversation=conversation)

    assert second["status"] == "completed"
    assert (await api.settled(first[0]["response"]["id"]))["status"] == "completed"


@pytest.mark.parametrize("background", [False, True])
async def test_a_finished_response_is_replayed_from_any_event(
    api: Served, background: bool
) -> None:
    events = await api.told("buy a lamp", background=background)
    id = events[0]["response"]["id"]

    for after in (-1, 0, len(events) // 2, len(events) - 2):
        assert await api.replayed(id, starting_after=after) == events[after + 1 :]
    for beyond in (len(events) - 1, len(events), 10**6, 2**63, 10**3_000):
        assert await api.replayed(id, starting_after=beyond) == []


@pytest.mark.parametrize("after", ["x", "1.5", "", "-2", "1e3", "9" * 5_000])
async def test_an_invalid_starting_point_is_rejected(api: Served, after: str) -> None:
    response = await api.ask("hi")

    query = {"stream": "true", "starting_after": after}
    refused = await api.get(f"/responses/{response['id']}", **query)

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "starting_after"


async def test_a_response_that_was_not_streamed_can_be_replayed(api: Served) -> None:
    response = await api.ask("buy a lamp")

    events = await api.replayed(response["id"])

    check_events(events)
    assert events[-1]["response"] == response


async def test_an_earlier_response_is_replayed_alone(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    first = await api.told("buy a lamp", conversation=conversation)
    await api.told("buy a bag", conversation=conversation)

    assert await api.replayed(first[0]["response"]["id"]) == first


# --- slow clients and draining processes ----------------------------------------------------------


async def test_a_slow_client_does_not_delay_others(serve: Serve) -> None:
    api = await serve(model=Rules(chars=50_000))
    async with reading(api, "tell 3000000", background=True) as client:
        [created] = await client.events(1)
        done = await api.settled(created["response"]["id"])
        other = await api.ask("hi")

    assert (done["status"], other["status"]) == ("completed", "completed")


async def test_a_stream_of_a_draining_process_ends_and_continues_elsewhere(serve: Serve) -> None:
    one = await serve(model=Rules(halts=True), worker=False)
    async with reading(one, LONG) as client:
        first = await client.events(5)
        one.stop.set()
        rest = await client.left()
        one.model.go_on(to_the_end=True)
    two = await serve()
    id = first[0]["response"]["id"]
    seen = [*first, *(event for block in rest if (event := event_of(block)))]

    resumed = await two.replayed(id, starting_after=seen[-1]["sequence_number"])

    assert rest[-1] == INTERRUPTED.decode().strip()
    assert seen + resumed == await two.replayed(id)
    assert resumed[-1]["type"] == "response.completed"


# --- two processes, one database ------------------------------------------------------------------


async def test_a_process_streams_what_another_one_writes(serve: Serve) -> None:
    one = await serve(model=Rules(pause_s=0.05), worker=False)
    two = await serve(worker=False)
    async with reading(one, LONG) as client:
        first = await client.events(5)
        id = first[0]["response"]["id"]
        here, there = await asyncio.gather(
            one.replayed(id), two.replayed(id), return_exceptions=False
        )

    assert here == there
    assert here[:5] == first
    check_events(there)
    assert (await two.get(f"/responses/{id}")).json() == there[-1]["response"]
    behind = await two.ask("more", previous_response_id=id)
    assert behind["status"] == "completed"


async def test_a_run_is_cancelled_from_another_process(serve: Serve, stage: Stage) -> None:
    one, two = await serve(), await serve(worker=False)
    one.model.gate.clear()
    conversation = (await one.post("/conversations")).json()["id"]
    queued = await one.ask("buy a lamp", background=True, conversation=conversation)
    await one.model.asked.wait()

    cancelled = await two.post(f"/responses/{queued['id']}/cancel")
    # The process that drives it stops much later, and no reader waits for that.
    replayed = await one.replayed(queued["id"])
    behind = await two.ask("hi", conversation=conversation)
    one.model.gate.set()

    assert cancelled.json()["status"] == "cancelled"
    assert replayed[-1]["response"]["status"] == "cancelled"
    assert behind["status"] == "completed"
    assert await stage.bought() == []


class Dies(Rules):
    """A model whose process dies in the middle of a reply."""

    async def reply(self, request: ModelRequest, listener: Any) -> ModelReply:
        await self._say("You said: a lo", listener)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_run_whose_process_dies_continues_elsewhere_with_the_same_events(
    serve: Serve, stage: Stage
) -> None:
    """The process is blocked instead, so that its lease expires."""
    # So long a lease is not renewed before the run is taken over.
    dead = await serve(model=Dies(), worker=False, limits=replace(LIMITS, lease_s=600.0))
    async with reading(dead, LONG) as client:
        first = await client.events(6)
        id = first[0]["response"]["id"]
        await stage.let_leases_run_out()
        alive = stage.process(model=Rules(), limits=LIMITS)
        run = ResponseId.parse(id).run
        other = await serve(worker=False)
        watching = asyncio.create_task(other.replayed(id))
        await drive(alive, await take(alive, run), dead.web.notifier.listener(run))
        rest = await client.rest()
    watched = await watching
    task = dead.web.executor.drive_of(RunId(run.thread, run.ordinal))
    assert task is not None
    task.cancel()

    check_events(watched)
    assert watched[: len(first) + len(rest)] == first + rest
    output = watched[-1]["response"]["output"]
    assert [item["status"] for item in output] == ["incomplete", "completed"]
    assert output[1]["content"][0]["text"] == f"You said: {LONG}"


async def test_a_foreground_request_of_a_draining_process_returns_the_response_so_far(
    serve: Serve,
) -> None:
    one = await serve(worker=False, grace_s=0)
    one.model.gate.clear()
    waiting = asyncio.create_task(one.ask("hi"))
    await one.model.asked.wait()
    one.stop.set()
    response = await waiting
    two = await serve()

    assert (response["status"], response["output"]) == ("in_progress", [])
    assert (await two.settled(response["id"]))["status"] == "completed"


async def test_a_response_that_is_not_stored_ends_with_its_process(serve: Serve) -> None:
    one = await serve(worker=False, grace_s=0)
    one.model.gate.clear()
    asked = asyncio.create_task(one.ask("hi", store=False))
    streamed = asyncio.create_task(one.told("hi", store=False))
    while len(one.model.requests) < 2:
        await asyncio.sleep(0.01)

    one.stop.set()
    whole, events = await asked, await streamed

    assert events[-1]["type"] == "response.failed"
    for response in (whole, events[-1]["response"]):
        assert response["status"] == "failed"
        assert "try again later" in response["error"]["message"]


async def test_a_response_with_a_key_continues_elsewhere_stored_or_not(serve: Serve) -> None:
    one = await serve(worker=False, grace_s=0)
    one.model.gate.clear()
    body = {"model": "shop", "input": "hi", "store": False}
    key = {"idempotency-key": "one"}
    first = asyncio.create_task(one.post("/responses", body, headers=key))
    await one.model.asked.wait()

    one.stop.set()
    interrupted = (await first).json()
    two = await serve()
    again = (await two.post("/responses", body, headers=key)).json()

    assert (interrupted["status"], again["status"]) == ("in_progress", "completed")
    assert again["id"] == interrupted["id"]


async def test_a_response_that_is_not_stored_may_use_the_grace_period(serve: Serve) -> None:
    one = await serve(model=Rules(pause_s=0.02), worker=False, grace_s=20)
    async with reading(one, "hi there, you", store=False) as client:
        first = await client.events(5)
        one.stop.set()
        rest = await client.left()

    *blocks, done = rest
    events = [*first, *(event for block in blocks if (event := event_of(block)))]
    assert done == "data: [DONE]"
    assert events[-1]["type"] == "response.completed"
    assert text_of(events) == "You said: hi there, you"
