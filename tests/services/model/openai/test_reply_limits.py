"""An endless or too long reply of a server is not read to its end."""

import json
from typing import Any

import pytest

from tests.services.model.builders import RecordingListener, fast_settings, model_request
from tests.services.model.mock_server import MockServer, streams
from tests.services.model.streams import FakeReply, chat_events, chunk, responses_events, sse
from twelvefold.core.ports import ModelReply
from twelvefold.errors import ModelRejected
from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.openai import Api, OpenAIModel
from twelvefold.services.model.openai.decoding.body import ResponseBody
from twelvefold.services.model.openai.decoding.reply_limits import ReplyLimits
from twelvefold.services.model.openai.decoding.streamed_text import StreamedText

EVENTS = {"responses": responses_events, "chat": chat_events}
APIS = pytest.mark.parametrize("api", ["responses", "chat"])
LONG = FakeReply("Hello, you there, " * 200)


async def reply_of(server: MockServer, api: Api, limits: ReplyLimits) -> ModelReply:
    settings = fast_settings(server.url, api=api, reply_limits=limits)
    model = OpenAIModel(settings)
    try:
        return await model.reply(model_request(), RecordingListener())
    finally:
        await model.close()


async def rejected(server: MockServer, api: Api, limits: ReplyLimits) -> str:
    with pytest.raises(ModelRejected) as caught:
        await reply_of(server, api, limits)
    assert len(server.calls) == 1  # nothing makes the next one shorter
    assert caught.value.usage is not None  # what was read has been paid for
    return str(caught.value)


@APIS
async def test_a_reply_within_the_limits_is_read(server: MockServer, api: Api) -> None:
    server.will(streams(EVENTS[api](LONG)))

    reply = await reply_of(server, api, ReplyLimits())

    assert reply.items[0]["content"][0]["text"] == LONG.text


@APIS
async def test_a_too_long_reply_is_not_read_to_its_end(server: MockServer, api: Api) -> None:
    server.will(streams(EVENTS[api](LONG)))

    why = await rejected(server, api, ReplyLimits(reply_bytes=1_000))

    assert "more than 1000 bytes" in why


@APIS
async def test_an_endless_stream_is_closed(server: MockServer, api: Api) -> None:
    server.will(streams([b": ping\n\n" * 100] * 100))

    why = await rejected(server, api, ReplyLimits(stream_bytes=10_000))

    assert "more than 10000 bytes" in why


def many_items(api: Api, count: int) -> list[bytes]:
    if api == "chat":
        call = {"id": "c{}", "function": {"name": "enrol", "arguments": "{}"}}
        deltas = [{"tool_calls": [{**call, "index": at, "id": f"c{at}"}]} for at in range(count)]
        return [chunk(delta) for delta in deltas]
    return [
        sse({"type": "response.output_item.added", "output_index": at, "item": item(at)})
        for at in range(count)
    ]


def item(number: int) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{number}", "call_id": f"c{number}", "name": "a"}


@APIS
async def test_a_reply_with_too_many_items_is_not_read_to_its_end(
    server: MockServer, api: Api
) -> None:
    server.will(streams(many_items(api, 50)))

    why = await rejected(server, api, ReplyLimits(items=20))

    assert "more than 20 items" in why


async def test_the_items_of_the_last_event_count_as_well(server: MockServer) -> None:
    output = [{**item(number), "arguments": "{}"} for number in range(30)]
    ended = {"type": "response.completed", "response": {"status": "completed", "output": output}}
    server.will(streams([sse(ended)]))

    assert "more than 20 items" in await rejected(server, "responses", ReplyLimits(items=20))

    server.will(streams([sse(ended)]))
    server.calls.clear()
    why = await rejected(server, "responses", ReplyLimits(reply_bytes=500))
    assert "more than 500 bytes" in why


def test_an_endless_event_is_not_buffered() -> None:
    body = ResponseBody("text/event-stream")
    body.feed(b"data: {")
    for _ in range(31):
        body.feed(b"x" * (1 << 19))

    with pytest.raises(RetryableError, match="16 MiB"):
        body.feed(b"x" * (1 << 19))


def test_the_size_of_a_text_grows_with_its_pieces() -> None:
    text = StreamedText(lambda _: None)
    for piece in ("ab", "é", "\ud83d", "\ude00"):
        text.add(piece)

    assert text.size == len("abé😀".encode()) == len(json.dumps("abé😀", ensure_ascii=False)) + 2
