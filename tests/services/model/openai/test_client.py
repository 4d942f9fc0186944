"""The client with a server that refuses, stalls, truncates and repeats replies."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.loop_clock import LoopClock
from tests.services.model.builders import (
    TIMEOUT_S,
    RecordingListener,
    fast_settings,
    model_request,
    output,
    user,
)
from tests.services.model.mock_server import (
    SSE,
    Behaviour,
    Call,
    MockServer,
    answers,
    cuts,
    drops,
    refuses,
    resets,
    stalls,
    streams,
)
from tests.services.model.streams import (
    FakeReply,
    chat_events,
    chunk,
    response,
    responses_events,
    sse,
    typed,
)
from tests.waiting import HANG_S
from twelvefold.core.ports import ModelReply
from twelvefold.errors import ModelRejected, ModelTooLarge, ModelUnavailable, ServiceFault
from twelvefold.services.model import open_model
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai import Api, OpenAIModel

HELLO = FakeReply("Hello, you there.")
EVENTS = {"responses": responses_events, "chat": chat_events}
APIS: list[Api] = ["responses", "chat"]
Ask = Callable[..., Awaitable[ModelReply]]


class ModelClient:
    """A client of the mock server, one for each test."""

    def __init__(self, server: MockServer, api: Api) -> None:
        self.api: Api = api
        self.server = server
        self.listener = RecordingListener()
        self.model = self._new()

    def _new(self, **changes: Any) -> OpenAIModel:
        return OpenAIModel(fast_settings(self.server.url, **{"api": self.api, **changes}))

    async def reopen(self, **changes: Any) -> None:
        await self.model.close()
        self.model = self._new(**changes)

    @property
    def good(self) -> Behaviour:
        return streams(self.events)

    @property
    def events(self) -> list[bytes]:
        return EVENTS[self.api](HELLO)

    @property
    def half(self) -> list[bytes]:
        """The events up to a part of the text."""
        return self.events[: len(self.events) // 2]

    async def reply(self) -> ModelReply:
        return await self.model.reply(model_request(), self.listener)

    async def fault(self) -> ServiceFault:
        with pytest.raises(ServiceFault) as caught:
            await self.reply()
        return caught.value


@pytest.fixture(params=APIS)
async def client(request: pytest.FixtureRequest, server: MockServer) -> AsyncIterator[ModelClient]:
    asker = ModelClient(server, request.param)
    yield asker
    await asker.model.close()


# Requests


async def test_a_request_is_json_with_the_key_at_the_apis_path(client: ModelClient) -> None:
    client.server.will(client.good)

    reply = await client.reply()

    [call] = client.server.calls
    assert call.path == {"responses": "/v1/responses", "chat": "/v1/chat/completions"}[client.api]
    assert call.headers["authorization"] == "Bearer sk-secret"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["accept"] == "text/event-stream"
    assert reply.request_hash == hashlib.sha256(call.raw).hexdigest()


async def test_a_request_counts_the_instances_it_passed(client: ModelClient) -> None:
    client.server.will(client.good)

    await client.reply()
    await client.model.reply(replace(model_request(), hops=3), client.listener)

    hops = [call.headers["x-twelvefold-hops"] for call in client.server.calls]
    assert hops == ["1", "4"]


async def test_without_a_key_none_is_sent(client: ModelClient) -> None:
    await client.reopen(api_key="")
    client.server.will(client.good)

    await client.reply()

    assert "authorization" not in client.server.calls[0].headers


async def test_the_same_request_has_the_same_hash(client: ModelClient) -> None:
    client.server.will(client.good)

    hashes = {(await client.reply()).request_hash for _ in range(2)}
    other = await client.model.reply(model_request(user("else")), client.listener)

    assert len(hashes) == 1
    assert other.request_hash not in hashes


async def test_a_connection_is_used_again(client: ModelClient) -> None:
    client.server.will(client.good)

    for _ in range(5):
        await client.reply()

    assert client.server.connections == 1


async def test_hundreds_of_requests_run_concurrently(client: ModelClient) -> None:
    client.server.will(client.good)

    replies = await asyncio.gather(*(client.reply() for _ in range(200)))

    assert all(reply.items == (message(HELLO.text),) for reply in replies)


@pytest.mark.parametrize("size", [1, 3, 50, 100_000])
async def test_pieces_may_be_of_any_size(client: ModelClient, size: int) -> None:
    whole = b"".join(EVENTS[client.api](FakeReply("Häll😀", [("c", "enrol", '{"a": "😀"}')])))
    client.server.will(streams(whole[at : at + size] for at in range(0, len(whole), size)))

    reply = await client.reply()

    assert reply.items == (message("Häll😀"), function_call("c", "enrol", '{"a": "😀"}'))
    assert client.listener.text_now == "Häll😀"


async def test_a_stream_that_stays_open_after_done_is_complete(client: ModelClient) -> None:
    client.server.will(stalls(client.events))

    reply = await client.reply()

    assert reply.items == (message(HELLO.text),)
    assert len(client.server.calls) == 1


# What is tried again


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_a_temporary_error_is_retried(client: ModelClient, status: int) -> None:
    client.server.will(refuses(status), refuses(status), client.good)

    reply = await client.reply()

    assert reply.items == (message(HELLO.text),)
    assert len(client.server.calls) == 3
    assert client.listener.restarts == []


@pytest.mark.parametrize("breaks", [cuts, resets, streams])
async def test_a_truncated_reply_is_discarded(
    client: ModelClient, breaks: Callable[[list[bytes]], Behaviour]
) -> None:
    client.server.will(breaks(client.half), breaks(client.events[:1]), breaks([]), client.good)

    reply = await client.reply()

    assert reply.items == (message(HELLO.text),)
    assert client.listener.text_now == HELLO.text
    assert len(client.listener.restarts) == 1
    assert len(client.server.calls) == 4


@pytest.mark.parametrize("broken", [b'{"type": "resp', b"\xff\xfe", b"7"])
async def test_a_malformed_stream_is_discarded(client: ModelClient, broken: bytes) -> None:
    client.server.will(streams([*client.half, b"data: " + broken + b"\n\n"]), client.good)

    reply = await client.reply()

    assert reply.items == (message(HELLO.text),)
    assert client.listener.text_now == HELLO.text
    assert len(client.listener.restarts) == 1


async def test_a_truncated_last_event_is_discarded(client: ModelClient) -> None:
    whole = b"".join(client.events)
    client.server.will(streams([whole[: len(whole) * 2 // 3]]), client.good)

    assert (await client.reply()).items == (message(HELLO.text),)
    assert client.listener.text_now == HELLO.text


async def test_a_silent_model_is_retried(client: ModelClient, loop_clock: LoopClock) -> None:
    client.server.will(stalls(), stalls(client.events[:1]), client.good)
    replying = asyncio.ensure_future(client.reply())

    for number in range(2):
        await client.server.let_time_out(number, loop_clock)
    reply = await replying

    assert reply.items == (message(HELLO.text),)
    assert len(client.server.calls) == 3


async def test_a_model_that_becomes_silent_is_retried(
    client: ModelClient, loop_clock: LoopClock
) -> None:
    client.server.will(stalls(client.half), client.good)
    replying = asyncio.ensure_future(client.reply())
    while not client.listener.deltas:
        await asyncio.sleep(0.005)

    await client.server.let_time_out(0, loop_clock)
    reply = await replying

    assert reply.items == (message(HELLO.text),)
    assert client.listener.restarts == [f"no data for {TIMEOUT_S:g} s"]


async def test_a_slow_reply_is_not_retried(client: ModelClient, loop_clock: LoopClock) -> None:
    passed_s = 0.0

    async def slowly(call: Call) -> None:
        nonlocal passed_s
        received = 0
        await call.head(200, {"content-type": SSE, "transfer-encoding": "chunked"})
        for event in client.events:
            await call.chunk(event)
            await asyncio.sleep(0.02)
            if len(client.listener.deltas) > received:
                received = len(client.listener.deltas)
                passed_s += 0.7 * TIMEOUT_S
                loop_clock.let_pass(0.7 * TIMEOUT_S)
        await call.raw_bytes(b"0\r\n\r\n")

    client.server.will(slowly)

    await client.reply()

    assert passed_s > TIMEOUT_S
    assert client.listener.restarts == []


async def test_a_dropped_connection_is_replaced_immediately(client: ModelClient) -> None:
    await client.reopen(backoff_s=3_600.0, max_backoff_s=3_600.0)
    client.server.will(client.good, drops(), client.good)

    for _ in range(2):
        await client.reply()

    assert client.server.connections == 2


async def test_six_attempts_are_the_limit(client: ModelClient) -> None:
    client.server.will(refuses(503, {"message": "Overloaded"}))

    fault = await client.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault) == f"no reply from {client.server.url} in 6 attempts: HTTP 503: Overloaded"
    assert len(client.server.calls) == 6


async def test_the_text_of_the_last_attempt_is_withdrawn_too(client: ModelClient) -> None:
    await client.reopen(max_attempts=2)
    client.server.will(cuts(client.half))

    fault = await client.fault()

    assert isinstance(fault, ModelUnavailable)
    assert client.listener.text_now == ""
    assert len(client.listener.restarts) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after-ms": "200", "retry-after": "60"},
        {"retry-after": "0.2"},
        {
            "retry-after": "Wed, 21 Oct 2015 07:28:01 GMT",
            "date": "Wed, 21 Oct 2015 07:28:00 GMT",
        },
    ],
)
async def test_the_servers_retry_delay_is_used(
    client: ModelClient, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    wait_s = 1.0 if "date" in headers else 0.2
    client.server.will(refuses(429, headers=headers), client.good)
    began = time.monotonic()

    await client.reply()

    assert time.monotonic() - began >= wait_s
    (retried,) = caplog.records
    assert wait_s <= vars(retried)["fields"]["wait_s"] < wait_s + 0.8


# What is not tried again: one sentence each


def refused(status: int, error: object = None, **headers: str) -> Behaviour:
    return refuses(status, error, headers={k.replace("_", "-"): v for k, v in headers.items()})


QUOTA = {"message": "You exceeded your quota", "code": "insufficient_quota"}
NO_MODEL = {"message": "The model `gpt-test` does not exist", "code": "model_not_found"}
RELAYED = {"message": "Provider returned error", "code": 400,
           "metadata": {"raw": '{"error": {"message": "no such role"}}'}}  # fmt: skip
BAD = {"message": "Invalid schema\nfor function", "code": "invalid_function_parameters"}


@pytest.mark.parametrize(
    ("behaviour", "kind", "sentence"),
    [
        (refused(401, {"message": "Incorrect key: sk-secret."}), ModelUnavailable,
         "OPENAI_API_KEY is refused by {url}: Incorrect key: …."),
        (refused(403, {"message": "No access"}), ModelUnavailable,
         "OPENAI_API_KEY is refused by {url}: No access"),
        (refused(403, {"message": "Your input was flagged", "code": 403}), ModelRejected,
         "{url} refuses the request: Your input was flagged"),
        (refused(403, {"message": "Not here", "metadata": {"reasons": ["violence"]}}),
         ModelRejected, "{url} refuses the request: Not here"),
        (refused(403, {"message": "Blocked", "code": "content_filter"}), ModelRejected,
         "{url} refuses the request: Blocked"),
        (refused(400, RELAYED), ModelRejected,
         "{url} refuses the request: Provider returned error: no such role"),
        (refused(400, {"message": "API key not valid. Please pass a valid API key."}),
         ModelUnavailable, "OPENAI_API_KEY is refused by {url}: API key not valid. Please pass a "
         "valid API key."),
        (refused(400, {"message": "Your credit balance is too low to access the API."}),
         ModelUnavailable, "{url} has no quota left for OPENAI_API_KEY: Your credit balance is too "
         "low to access the API."),
        (refused(400, {"message": "gpt-test is not a valid model ID"}), ModelUnavailable,
         "OPENAI_MODEL: {url} has no 'gpt-test': gpt-test is not a valid model ID"),
        (refused(400, {"message": "Invalid model: gpt-test", "type": "invalid_model"}),
         ModelUnavailable, "OPENAI_MODEL: {url} has no 'gpt-test': Invalid model: gpt-test"),
        (refused(404, NO_MODEL), ModelUnavailable,
         "OPENAI_MODEL: {url} has no 'gpt-test': The model `gpt-test` does not exist"),
        (refused(403, NO_MODEL), ModelUnavailable,
         "OPENAI_MODEL: {url} has no 'gpt-test': The model `gpt-test` does not exist"),
        (refused(400, NO_MODEL), ModelUnavailable,
         "OPENAI_MODEL: {url} has no 'gpt-test': The model `gpt-test` does not exist"),
        (refused(404, "model 'gpt-test' not found"), ModelUnavailable,
         "OPENAI_MODEL: {url} has no 'gpt-test': model 'gpt-test' not found"),
        (answers(404, b"404 page not found", kind="text/plain"), ModelUnavailable,
         "{url}{path} not found; check OPENAI_BASE_URL, OPENAI_API and OPENAI_MODEL 'gpt-test': "
         "404 page not found"),
        (refused(429, QUOTA), ModelUnavailable,
         "{url} has no quota left for OPENAI_API_KEY: You exceeded your quota"),
        (refused(402, {"message": "Insufficient Balance"}), ModelUnavailable,
         "{url} has no quota left for OPENAI_API_KEY: Insufficient Balance"),
        (refused(400, BAD), ModelRejected,
         "{url} refuses the request: Invalid schema for function"),
        (answers(422, b'{"detail": [{"msg": "no"}]}'), ModelRejected,
         "{url} refuses the request: [{{'msg': 'no'}}]"),
        (answers(413, b"", kind="text/html"), ModelTooLarge, "{url} refuses the request: HTTP 413"),
        (refused(500, {"message": "Broken"}, x_should_retry="false"), ModelUnavailable,
         "{url} does not allow a retry: Broken"),
        (refused(302, location="https://elsewhere/v1"), ModelUnavailable,
         "OPENAI_BASE_URL: {url} redirects to https://elsewhere/v1"),
        (answers(200, b"<html>Welcome", kind="text/html; charset=utf-8"), ModelUnavailable,
         "OPENAI_BASE_URL: {url}{path} is a web page, not an API; is /v1 missing?"),
    ],
)  # fmt: skip
async def test_a_permanent_error_is_one_sentence(
    client: ModelClient, behaviour: Behaviour, kind: type[ServiceFault], sentence: str
) -> None:
    client.server.will(behaviour)

    fault = await client.fault()

    path = {"responses": "/responses", "chat": "/chat/completions"}[client.api]
    assert str(fault) == sentence.format(url=client.server.url, path=path)
    assert type(fault) is kind
    assert len(client.server.calls) == 1


async def test_a_missing_key_is_reported(client: ModelClient) -> None:
    await client.reopen(api_key="")
    client.server.will(refuses(401, {"message": "You didn't provide an API key"}))

    assert str(await client.fault()) == (
        f"{client.server.url} requires OPENAI_API_KEY, which is not set: "
        "You didn't provide an API key"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "invalid_prompt", "message": "Not that"}, ModelRejected),
        ({"code": "insufficient_quota", "message": "Nothing left"}, ModelUnavailable),
        ({"code": 400, "message": "Not that"}, ModelRejected),
    ],
)
async def test_a_permanent_error_within_a_stream_is_not_retried(
    client: ModelClient, error: dict[str, Any], kind: type[ServiceFault]
) -> None:
    client.server.will(streams([*client.half, *failing(client.api, error)]))

    fault = await client.fault()

    assert type(fault) is kind
    assert error["message"] in str(fault)
    assert len(client.server.calls) == 1
    assert client.listener.text_now == ""


@pytest.mark.parametrize(
    "error",
    [
        {"code": "server_error", "message": "Sorry"},
        {"code": "rate_limit_exceeded", "message": "Slower"},
        {"code": None, "type": "overloaded_error", "message": "Busy"},
        {"code": 502, "message": "Provider returned error"},
        {"message": "?"},
    ],
)
async def test_a_temporary_error_within_a_stream_is_retried(
    client: ModelClient, error: dict[str, Any]
) -> None:
    client.server.will(streams([*client.half, *failing(client.api, error)]), client.good)

    reply = await client.reply()

    assert reply.items == (message(HELLO.text),)
    assert client.listener.restarts == [error["message"]]


def failing(api: Api, error: dict[str, Any]) -> list[bytes]:
    if api == "chat":
        return [sse({"error": error})]
    failed = response(status="failed", error=error)
    return typed({"type": "response.failed", "response": failed})


async def test_a_body_without_a_stream_is_the_reply(client: ModelClient) -> None:
    whole = {
        "responses": b'{"object":"response","status":"completed","output":[{"type":"message",'
        b'"role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[]}]}]}',
        "chat": b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}',
    }
    client.server.will(answers(200, whole[client.api]))

    assert (await client.reply()).items == (message("Hi"),)
    assert client.listener.text_now == "Hi"


# What a server does not know


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Encrypted content is not supported with this model.", "param": "include"},
        {"message": "Unknown parameter: 'include'."},
    ],
)
async def test_models_without_reasoning_get_no_include(
    server: MockServer, error: dict[str, str]
) -> None:
    model = OpenAIModel(fast_settings(server.url))
    server.will(refuses(400, error), streams(responses_events(HELLO)))

    await model.reply(model_request(), RecordingListener())
    await model.reply(model_request(), RecordingListener())
    await model.close()

    assert ["include" in call.body for call in server.calls] == [True, False, False]


async def test_reasoning_of_another_model_is_left_out_of_this_conversation(
    server: MockServer,
) -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}
    error = {"message": "Could not be verified", "code": "invalid_encrypted_content"}
    good = streams(responses_events(HELLO))
    model = OpenAIModel(fast_settings(server.url))
    server.will(refuses(400, error), good, good)

    await model.reply(model_request(user("a"), reasoning, message("Hm.")), RecordingListener())
    await model.reply(model_request(user("b"), reasoning, message("Hm.")), RecordingListener())
    await model.close()

    assert [reasoning in call.body["input"] for call in server.calls] == [True, False, True]
    assert all("include" in call.body for call in server.calls)


async def test_servers_without_usage_get_no_stream_options(server: MockServer) -> None:
    error = b'{"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs"}]}'
    model = OpenAIModel(fast_settings(server.url, api="chat"))
    server.will(answers(422, error), streams([chunk({"content": "Hi"}, "stop")]))

    reply = await model.reply(model_request(), RecordingListener())
    await model.close()

    assert reply.items == (message("Hi"),)
    assert ["stream_options" in call.body for call in server.calls] == [True, False]


async def test_a_word_in_an_error_does_not_name_a_part(server: MockServer) -> None:
    model = OpenAIModel(fast_settings(server.url))
    server.will(refuses(400, {"message": "reasoning must include an answer"}))

    with pytest.raises(ModelRejected, match="reasoning must include an answer"):
        await model.reply(model_request(), RecordingListener())
    await model.close()

    assert len(server.calls) == 1


# Connections


async def test_a_cancelled_reply_closes_its_connection(client: ModelClient) -> None:
    client.server.will(stalls(client.half))
    model_request = asyncio.create_task(client.reply())
    while not client.listener.deltas:
        await asyncio.sleep(0.005)

    model_request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await model_request

    async with asyncio.timeout(HANG_S):
        await client.server.calls[0].gone.wait()
        while client.server.open:
            await asyncio.sleep(0.005)


async def test_an_unreachable_server_is_reported(client: ModelClient) -> None:
    await client.reopen(base_url="http://127.0.0.1:1/v1", backoff_s=0.01)

    fault = await client.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault) == "cannot reach http://127.0.0.1:1/v1 in 3 attempts: Connection refused"


async def test_an_unknown_host_is_reported(
    client: ModelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    await client.reopen(base_url="https://models.example/v1", backoff_s=0.01)

    fault = await client.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault) == (
        "cannot reach https://models.example/v1 in 3 attempts: Name or service not known"
    )


async def test_a_server_without_tls_is_reported(client: ModelClient) -> None:
    url = client.server.url.replace("http:", "https:")
    await client.reopen(base_url=url, connect_timeout_s=0.1)

    fault = await client.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault).startswith(f"cannot reach {url} in 3 attempts: ")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v1", "127.0.0.1/v1", "http:///v1"])
async def test_an_invalid_url_is_reported(client: ModelClient, url: str) -> None:
    await client.reopen(base_url=url)

    fault = await client.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault).startswith(f"OPENAI_BASE_URL '{url}'")


async def test_a_password_in_the_url_is_never_shown(client: ModelClient) -> None:
    await client.reopen(base_url="http://ann:hidden@127.0.0.1:1/v1", api_key="")

    fault = await client.fault()

    assert "hidden" not in str(fault)


def test_settings_hide_the_key() -> None:
    assert "sk-secret" not in repr(fast_settings("http://127.0.0.1:1/v1"))


async def test_each_failed_attempt_is_logged_without_details(
    client: ModelClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.server.will(
        refuses(503, {"message": "sk-secret is busy"}), cuts(client.half), client.good
    )

    with caplog.at_level(logging.INFO):
        await client.reply()
        await client.model.close()

    records = [(record.message, vars(record)["fields"]) for record in caplog.records]
    assert [event for event, _ in records] == ["model_request_retried"] * 2
    assert [fields["attempt"] for _, fields in records] == [1, 2]
    assert records[0][1]["why"] == "HTTP 503"


async def test_a_closed_model_reopens_on_the_next_request(client: ModelClient) -> None:
    client.server.will(client.good)
    await client.reply()
    await client.model.close()

    assert (await client.reply()).items == (message(HELLO.text),)


async def test_open_model_takes_plain_settings(server: MockServer) -> None:
    server.will(streams(chat_events(HELLO)))
    model = open_model(
        base_url=server.url,
        api_key="sk-secret",
        model="gpt-test",
        api="chat",
        temperature=0.0,
        max_output_tokens=50,
        timeout_s=5.0,
    )

    reply = await model.reply(model_request(user("a"), output("c", "d")), RecordingListener())
    await model.close()

    assert reply.items == (message(HELLO.text),)
    body = server.calls[0].body
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == (
        "gpt-test",
        0.0,
        50,
    )
