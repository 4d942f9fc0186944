"""Bodies without a stream, and streams without an end: over HTTP, for both APIs."""

import json
from typing import Any

import pytest

from tests.services.model.builders import RecordingListener, fast_settings, model_request
from tests.services.model.mock_server import Behaviour, Call, MockServer, answers, stalls, streams
from tests.services.model.streams import (
    FakeReply,
    chat_events,
    chunk,
    response,
    responses_events,
    sse,
)
from tests.waiting import HANG_S
from twelvefold.core.ports import ModelReply
from twelvefold.errors import ModelRejected, ModelUnavailable
from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.items import message
from twelvefold.services.model.openai import Api, OpenAIModel
from twelvefold.services.model.openai.decoding.body import ResponseBody

HELLO = FakeReply("Hello, you there.")
EVENTS = {"responses": responses_events, "chat": chat_events}
WHOLE: dict[str, dict[str, Any]] = {
    "responses": response(status="completed", output=[message("Hi")]),
    "chat": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]},
}
APIS = pytest.mark.parametrize("api", ["responses", "chat"])


async def reply_of(server: MockServer, api: Api, **settings: Any) -> ModelReply:
    changes = {"trailing_usage_timeout_s": 0.05, **settings}
    model = OpenAIModel(fast_settings(server.url, api=api, **changes))
    try:
        return await model.reply(model_request(), RecordingListener())
    finally:
        await model.close()


def body_of(api: Api) -> bytes:
    return json.dumps(WHOLE[api]).encode()


@APIS
@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain; charset=utf-8", "text/event-stream", "text/html", ""]
)
@pytest.mark.parametrize("status", [200, 201])
async def test_a_whole_body_is_a_reply_under_any_type(
    server: MockServer, api: Api, kind: str, status: int
) -> None:
    server.will(answers(status, body_of(api), kind=kind))

    assert (await reply_of(server, api)).items == (message("Hi"),)


@APIS
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", ""])
async def test_a_stream_is_a_reply_under_any_type(server: MockServer, api: Api, kind: str) -> None:
    server.will(answers(200, b"".join(EVENTS[api](HELLO)), kind=kind))

    assert (await reply_of(server, api)).items == (message(HELLO.text),)


@APIS
async def test_a_whole_body_may_be_indented_and_begin_with_blanks(
    server: MockServer, api: Api
) -> None:
    body = b"\xef\xbb\xbf\r\n\r\n " + json.dumps(WHOLE[api], indent=2).encode() + b"\n\n"
    server.will(answers(200, body))

    assert (await reply_of(server, api)).items == (message("Hi"),)


@APIS
async def test_a_whole_body_is_read_while_the_connection_stays_open(
    server: MockServer, api: Api
) -> None:
    server.will(stalls([body_of(api)]))

    assert (await reply_of(server, api)).items == (message("Hi"),)


def then_heartbeats(events: list[bytes], beat: bytes = b": ping\n\n") -> Behaviour:
    """Send these pieces, then endless heartbeats."""
    begin = streams(events, complete=False)

    async def behave(call: Call) -> None:
        await begin(call)
        await streams([beat] * 100_000, pause_s=0.005, complete=False)(Headless(call))

    return behave


class Headless(Call):
    """The rest of a response after its head."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.path, call.headers, call.raw, call._writer)

    async def head(self, status: int, headers: Any) -> None:
        """Do nothing: the head was sent."""


def finished(api: Api) -> list[bytes]:
    """Return a complete reply without `[DONE]`, and without usage in Chat Completions."""
    if api == "chat":
        return [chunk({"content": "Hello, "}), chunk({"content": "you there."}), chunk({}, "stop")]
    return responses_events(HELLO)


@APIS
@pytest.mark.parametrize(
    "beat",
    [b": ping\n\n", b":\n\n", b"event: ping\ndata: {}\n\n", b"\n", b'data: {"type":"ping"}\n\n'],
)
async def test_a_complete_reply_is_returned_despite_heartbeats(
    server: MockServer, api: Api, beat: bytes
) -> None:
    server.will(then_heartbeats(finished(api), beat))

    assert (await reply_of(server, api)).items == (message(HELLO.text),)
    assert len(server.calls) == 1


@APIS
async def test_heartbeats_are_not_part_of_a_reply(server: MockServer, api: Api) -> None:
    beats = [beat for event in finished(api) for beat in (b": ping\n\n", event)]
    server.will(streams(beats))

    assert (await reply_of(server, api)).items == (message(HELLO.text),)


@APIS
@pytest.mark.parametrize("how", ["close", "reset", "stay"])
async def test_a_complete_reply_is_returned_however_the_connection_ends(
    server: MockServer, api: Api, how: str
) -> None:
    begin = streams(finished(api), complete=False)

    async def behave(call: Call) -> None:
        await begin(call)
        if how == "stay":
            await call.gone.wait()
        getattr(call, "reset" if how == "reset" else "close")()

    server.will(behave)

    # A reset may discard data in transit: then the next attempt receives it.
    settings = {"trailing_usage_timeout_s": 0.5, "max_attempts": 100}
    assert (await reply_of(server, api, **settings)).items == (message(HELLO.text),)


async def test_trailing_usage_is_awaited(server: MockServer) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    server.will(streams([*finished("chat"), sse({"choices": [], "usage": usage})], pause_s=0.02))

    reply = await reply_of(server, "chat", trailing_usage_timeout_s=HANG_S)

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 1)


@APIS
@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "bad", "code": 400}},
        [{"error": {"message": "bad", "code": 400}}],
        {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400},
    ],
)
async def test_an_error_body_is_recognized_with_any_status(
    server: MockServer, api: Api, status: int, error: object
) -> None:
    server.will(answers(status, json.dumps(error).encode()))

    with pytest.raises(ModelRejected, match="bad"):
        await reply_of(server, api)

    assert len(server.calls) == 1


@APIS
@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
async def test_an_html_page_is_recognized_with_any_type(
    server: MockServer, api: Api, kind: str
) -> None:
    server.will(answers(200, b"\n<!doctype html><p>Welcome", kind=kind))

    with pytest.raises(ModelUnavailable, match="is a web page, not an API"):
        await reply_of(server, api)


@APIS
async def test_a_truncated_body_is_retried(server: MockServer, api: Api) -> None:
    server.will(answers(200, body_of(api)[:-9]), answers(200, body_of(api)))

    assert (await reply_of(server, api)).items == (message("Hi"),)
    assert len(server.calls) == 2


LINE_ENDS = [b"\n", b"\r\n", b"\r"]


@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_body_does_not_depend_on_its_pieces(end: bytes, size: int, bom: bytes) -> None:
    events = [b'data: {"a":"h\xc3\xa9\xf0\x9f\x98\x80"}', b'data:{"b":1}', b'data: {\ndata: "c":2}']
    stream = bom + b"".join(event.replace(b"\n", end) + end * 2 for event in events)
    body = ResponseBody("text/event-stream")

    found = [
        data for at in range(0, len(stream), size) for data in body.feed(stream[at : at + size])
    ] + body.end()

    assert [json.loads(data) for data in found] == [{"a": "hé😀"}, {"b": 1}, {"c": 2}]


def test_events_without_a_blank_line_are_separate() -> None:
    body = ResponseBody("")

    assert body.feed(b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n\n') == [
        b'{"a":1}',
        b'{"b":2}',
        b"[DONE]",
    ]


def test_a_too_long_document_is_not_buffered() -> None:
    body = ResponseBody("")
    body.feed(b"{" + b" " * (16 << 19))

    with pytest.raises(RetryableError, match="longer than 16 MiB"):
        body.feed(b" " * (16 << 20))
