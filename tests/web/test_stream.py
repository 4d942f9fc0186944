"""Streams: the journal read aloud, live, taken up again anywhere, or long after."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx2
import msgspec
import pytest

from tests.engine.stage import LIMITS, Stage
from tests.web.sdk import check_events
from tests.web.serving import Rules, Serve, Served, event_of
from twelvefold.core.ids import RunId
from twelvefold.core.ports import ModelReply, ModelRequest
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.web.ids import ResponseId
from twelvefold.web.streaming import sse as stream

Json = dict[str, Any]
LONG = "a long story that is told piece by piece, so that there is something to break off"


def types(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def text_of(events: list[Json]) -> str:
    return "".join(one["delta"] for one in events if one["type"].endswith("output_text.delta"))


class Reader:
    """A client that reads event by event and goes away when it likes."""

    def __init__(self, http: httpx2.AsyncClient, method: str, url: str, **how: Any) -> None:
        self._opening = http.stream(method, url, **how)

    async def __aenter__(self) -> "Reader":
        answer = await self._opening.__aenter__()
        assert answer.status_code == 200
        self._pieces = answer.aiter_text()
        self._text = ""
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._opening.__aexit__(*error)

    async def block(self) -> str:
        while "\n\n" not in self._text:
            self._text += await anext(self._pieces)
        block, _, self._text = self._text.partition("\n\n")
        return block

    async def events(self, count: int) -> list[Json]:
        events: list[Json] = []
        while len(events) < count:
            if event := event_of(await self.block()):
                events.append(event)
        return events

    async def rest(self) -> list[Json]:
        """The events up to the end of the response."""
        events: list[Json] = []
        while (block := await self.block()) != "data: [DONE]":
            if event := event_of(block):
                events.append(event)
        return events

    async def left(self) -> list[str]:
        """What there is until the stream ends, however it does."""
        blocks: list[str] = []
        with suppress(StopAsyncIteration):
            while True:
                blocks.append(await self.block())
        return blocks


def reading(api: Served, input: str, **more: Any) -> Reader:
    body = {"model": "shop", "input": input, "stream": True, **more}
    return Reader(api.http, "POST", "/v1/responses", json=body)


# --- what is told ---------------------------------------------------------------------------------


async def test_a_stream_tells_a_text_as_it_comes(serve: Serve) -> None:
    api = await serve(model=Rules(pause_s=0.06))

    events = await api.told(LONG)

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


async def test_a_stream_tells_of_the_servers_tools(api: Served) -> None:
    events = await api.told("buy a lamp")

    check_events(events)
    assert types(events)[2:8] == [
        *("output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta"),
        *("mcp_call_arguments.done", "mcp_call.completed", "output_item.done"),
    ]
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["mcp_call", "message"]


async def test_the_official_clients_accumulator_agrees(api: Served) -> None:
    async with api.sdk.responses.stream(model="shop", input="buy a lamp") as told:
        async for _ in told:
            pass
        final = await told.get_final_response()
    async with api.sdk.responses.stream(response_id=final.id, starting_after=3) as resumed:
        numbers = [event.sequence_number async for event in resumed]

    assert final.output_text == "The tool says: bought a lamp"
    assert numbers[0] == 4
    assert (await api.sdk.responses.retrieve(final.id)).output_text == final.output_text


async def test_lines_are_ends_of_lines_to_nobody_else(api: Served) -> None:
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


async def test_a_silence_is_broken_now_and_then(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    api.model.gate.clear()

    async with reading(api, "hi") as told:
        first = await told.events(2)
        silence = [await told.block() for _ in range(2)]
        api.model.gate.set()
        rest = await told.rest()

    assert types(first) == ["created", "in_progress"]
    assert silence == [": still here"] * 2
    assert rest[-1]["type"] == "response.completed"


# --- taken up again -------------------------------------------------------------------------------


async def test_a_stream_that_was_broken_off_is_taken_up_where_it_was(serve: Serve) -> None:
    api = await serve(model=Rules(pause_s=0.03))
    async with reading(api, LONG, background=True) as told:
        first = await told.events(4)
    id = first[0]["response"]["id"]

    rest = await api.replayed(id, starting_after=first[-1]["sequence_number"])

    whole = await api.replayed(id)
    check_events(whole)
    assert types(whole)[:3] == ["created", "queued", "in_progress"]
    assert first + rest == whole


async def test_a_background_stream_that_is_left_at_once_goes_on(serve: Serve) -> None:
    api = await serve(model=Rules(pause_s=0.01))
    async with reading(api, LONG, background=True) as told:
        [created] = await told.events(1)

    done = await api.settled(created["response"]["id"])

    assert done["status"] == "completed"


async def test_a_foreground_stream_that_is_left_goes_on_and_lets_the_next_turn_in(
    serve: Serve,
) -> None:
    api = await serve(model=Rules(pause_s=0.02))
    conversation = (await api.post("/conversations")).json()["id"]
    async with reading(api, LONG, conversation=conversation) as told:
        first = await told.events(6)

    second = await api.ask("and then?", conversation=conversation)

    assert second["status"] == "completed"
    assert (await api.settled(first[0]["response"]["id"]))["status"] == "completed"


@pytest.mark.parametrize("background", [False, True])
async def test_a_stream_that_is_over_is_told_again_from_any_point(
    api: Served, background: bool
) -> None:
    events = await api.told("buy a lamp", background=background)
    id = events[0]["response"]["id"]

    for after in (-1, 0, len(events) // 2, len(events) - 2):
        assert await api.replayed(id, starting_after=after) == events[after + 1 :]
    for beyond in (len(events) - 1, len(events), 10**6, 2**63, 10**3_000):
        async with asyncio.timeout(5):
            assert await api.replayed(id, starting_after=beyond) == []


@pytest.mark.parametrize("after", ["x", "1.5", "", "-2", "1e3", "9" * 5_000])
async def test_a_point_that_is_none_is_refused(api: Served, after: str) -> None:
    response = await api.ask("hi")

    query = {"stream": "true", "starting_after": after}
    refused = await api.get(f"/responses/{response['id']}", **query)

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "starting_after"


async def test_a_response_that_was_not_streamed_can_be_told_all_the_same(api: Served) -> None:
    response = await api.ask("buy a lamp")

    events = await api.replayed(response["id"])

    check_events(events)
    assert events[-1]["response"] == response


async def test_a_response_before_the_last_is_told_alone(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    first = await api.told("buy a lamp", conversation=conversation)
    await api.told("buy a bag", conversation=conversation)

    assert await api.replayed(first[0]["response"]["id"]) == first


# --- slow, gone, or at its end --------------------------------------------------------------------


async def test_a_reader_that_does_not_read_keeps_nobody_waiting(serve: Serve) -> None:
    api = await serve(model=Rules(chars=50_000))
    async with reading(api, "tell 3000000", background=True) as told:
        [created] = await told.events(1)
        async with asyncio.timeout(20):
            done = await api.settled(created["response"]["id"])
            other = await api.ask("hi")

    assert (done["status"], other["status"]) == ("completed", "completed")


async def test_a_process_that_is_about_to_end_says_so_and_another_goes_on(serve: Serve) -> None:
    one = await serve(model=Rules(pause_s=0.05), worker=False)
    async with reading(one, LONG) as told:
        first = await told.events(6)
        one.stop.set()
        rest = await told.left()
    two = await serve()
    id = first[0]["response"]["id"]
    seen = [*first, *(event for block in rest if (event := event_of(block)))]

    resumed = await two.replayed(id, starting_after=seen[-1]["sequence_number"])

    assert rest[-1] == stream.LEAVING.decode().strip()
    assert seen + resumed == await two.replayed(id)
    assert resumed[-1]["type"] == "response.completed"


# --- two processes, one database ------------------------------------------------------------------


async def test_what_one_process_does_another_tells_as_it_happens(serve: Serve) -> None:
    one = await serve(model=Rules(pause_s=0.05), worker=False)
    two = await serve(worker=False)
    async with reading(one, LONG) as told:
        first = await told.events(5)
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
    # The process that drives it hears of it much later, and neither reader has to wait for that.
    replayed = await one.replayed(queued["id"])
    behind = await two.ask("hi", conversation=conversation)
    one.model.gate.set()

    assert cancelled.json()["status"] == "cancelled"
    assert replayed[-1]["response"]["status"] == "cancelled"
    assert behind["status"] == "completed"
    assert await stage.bought() == []


class Dies(Rules):
    """A model whose process is gone in the middle of a reply."""

    async def reply(self, request: ModelRequest, listener: Any) -> ModelReply:
        await self._say("You said: a lo", listener)
        await asyncio.sleep(0.2)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_run_whose_process_dies_goes_on_elsewhere_and_nothing_told_is_told_otherwise(
    serve: Serve, stage: Stage
) -> None:
    """The process stands still instead; its lease runs out all the same."""
    dead = await serve(model=Dies(), worker=False)
    async with reading(dead, LONG) as told:
        first = await told.events(6)
        id = first[0]["response"]["id"]
        await stage.let_leases_run_out()
        alive = stage.process(model=Rules(), limits=LIMITS)
        run = ResponseId.parse(id).run
        other = await serve(worker=False)
        watching = asyncio.create_task(other.replayed(id))
        await drive(alive, await take(alive, run), dead.web.news.listener(run))
        rest = await told.rest()
    watched = await watching
    task = dead.web.executor.task(RunId(run.thread, run.ordinal))
    assert task is not None
    task.cancel()

    check_events(watched)
    assert watched[: len(first) + len(rest)] == first + rest
    output = watched[-1]["response"]["output"]
    assert [item["status"] for item in output] == ["incomplete", "completed"]
    assert output[1]["content"][0]["text"] == f"You said: {LONG}"


async def test_who_waits_at_a_process_that_ends_is_told_how_far_it_is(serve: Serve) -> None:
    one = await serve(worker=False, grace_s=0)
    one.model.gate.clear()
    waiting = asyncio.create_task(one.ask("hi"))
    await one.model.asked.wait()
    one.stop.set()
    response = await waiting
    two = await serve()

    assert (response["status"], response["output"]) == ("in_progress", [])
    assert (await two.settled(response["id"]))["status"] == "completed"


async def test_what_is_not_kept_ends_with_its_process(serve: Serve) -> None:
    one = await serve(worker=False, grace_s=0)
    one.model.gate.clear()
    asked = asyncio.create_task(one.ask("hi", store=False))
    told = asyncio.create_task(one.told("hi", store=False))
    while len(one.model.requests) < 2:
        await asyncio.sleep(0.01)

    one.stop.set()
    whole, events = await asked, await told

    assert events[-1]["type"] == "response.failed"
    for response in (whole, events[-1]["response"]):
        assert response["status"] == "failed"
        assert "try again later" in response["error"]["message"]


async def test_what_may_be_asked_for_again_goes_on_elsewhere_kept_or_not(serve: Serve) -> None:
    one = await serve(worker=False, grace_s=0)
    one.model.gate.clear()
    body = {"model": "shop", "input": "hi", "store": False}
    key = {"idempotency-key": "one"}
    first = asyncio.create_task(one.post("/responses", body, headers=key))
    await one.model.asked.wait()

    one.stop.set()
    told = (await first).json()
    two = await serve()
    again = (await two.post("/responses", body, headers=key)).json()

    assert (told["status"], again["status"]) == ("in_progress", "completed")
    assert again["id"] == told["id"]


async def test_what_is_not_kept_may_take_its_grace(serve: Serve) -> None:
    one = await serve(model=Rules(pause_s=0.02), worker=False, grace_s=20)
    async with reading(one, "hi there, you", store=False) as told:
        first = await told.events(5)
        one.stop.set()
        rest = await told.left()

    *blocks, done = rest
    events = [*first, *(event for block in blocks if (event := event_of(block)))]
    assert done == "data: [DONE]"
    assert events[-1]["type"] == "response.completed"
    assert text_of(events) == "You said: hi there, you"
