"""The client against a server that refuses, stalls, breaks off and repeats itself."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.services.model.builders import Heard, asking, output, patient_as_a_test, user
from tests.services.model.mock_server import (
    Behaviour,
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
    Said,
    chat_events,
    chunk,
    response,
    responses_events,
    sse,
    typed,
)
from twelvefold.core.ports import ModelReply
from twelvefold.errors import ModelRejected, ModelUnavailable, ServiceFault
from twelvefold.services.model import open_model
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai import Api, OpenAIModel

HELLO = Said("Hello, you there.")
EVENTS = {"responses": responses_events, "chat": chat_events}
APIS: list[Api] = ["responses", "chat"]
Ask = Callable[..., Awaitable[ModelReply]]


class Asker:
    """Asks the mock server, with one client for each test."""

    def __init__(self, server: MockServer, api: Api) -> None:
        self.api: Api = api
        self.server = server
        self.heard = Heard()
        self.model = self._new()

    def _new(self, **changes: Any) -> OpenAIModel:
        return OpenAIModel(patient_as_a_test(self.server.url, **{"api": self.api, **changes}))

    async def impatient(self, **changes: Any) -> None:
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
        """The events until some of the text was shown."""
        return self.events[: len(self.events) // 2]

    async def reply(self) -> ModelReply:
        return await self.model.reply(asking(), self.heard)

    async def fault(self) -> ServiceFault:
        with pytest.raises(ServiceFault) as caught:
            await self.reply()
        return caught.value


@pytest.fixture(params=APIS)
async def ask(request: pytest.FixtureRequest, server: MockServer) -> AsyncIterator[Asker]:
    asker = Asker(server, request.param)
    yield asker
    await asker.model.close()


# Requests


async def test_a_request_is_json_with_the_key_at_the_apis_path(ask: Asker) -> None:
    ask.server.will(ask.good)

    reply = await ask.reply()

    [call] = ask.server.calls
    assert call.path == {"responses": "/v1/responses", "chat": "/v1/chat/completions"}[ask.api]
    assert call.headers["authorization"] == "Bearer sk-secret"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["accept"] == "text/event-stream"
    assert reply.request_hash == hashlib.sha256(call.raw).hexdigest()


async def test_a_request_says_how_many_instances_it_has_come_through(ask: Asker) -> None:
    ask.server.will(ask.good)

    await ask.reply()
    await ask.model.reply(replace(asking(), hops=3), ask.heard)

    hops = [call.headers["x-twelvefold-hops"] for call in ask.server.calls]
    assert hops == ["1", "4"]


async def test_without_a_key_none_is_sent(ask: Asker) -> None:
    await ask.impatient(api_key="")
    ask.server.will(ask.good)

    await ask.reply()

    assert "authorization" not in ask.server.calls[0].headers


async def test_the_same_request_has_the_same_hash(ask: Asker) -> None:
    ask.server.will(ask.good)

    hashes = {(await ask.reply()).request_hash for _ in range(2)}
    other = await ask.model.reply(asking(user("else")), ask.heard)

    assert len(hashes) == 1
    assert other.request_hash not in hashes


async def test_a_connection_is_used_again(ask: Asker) -> None:
    ask.server.will(ask.good)

    for _ in range(5):
        await ask.reply()

    assert ask.server.connections == 1


async def test_hundreds_may_ask_at_once(ask: Asker) -> None:
    ask.server.will(ask.good)

    replies = await asyncio.gather(*(ask.reply() for _ in range(200)))

    assert all(reply.items == (message(HELLO.text),) for reply in replies)


@pytest.mark.parametrize("size", [1, 3, 50, 100_000])
async def test_pieces_may_be_of_any_size(ask: Asker, size: int) -> None:
    whole = b"".join(EVENTS[ask.api](Said("Häll😀", [("c", "enrol", '{"a": "😀"}')])))
    ask.server.will(streams(whole[at : at + size] for at in range(0, len(whole), size)))

    reply = await ask.reply()

    assert reply.items == (message("Häll😀"), function_call("c", "enrol", '{"a": "😀"}'))
    assert ask.heard.text_now == "Häll😀"


async def test_a_stream_that_stays_open_after_its_last_word_is_over(ask: Asker) -> None:
    ask.server.will(stalls(ask.events))

    async with asyncio.timeout(2):
        reply = await ask.reply()

    assert reply.items == (message(HELLO.text),)


# What is tried again


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_a_passing_refusal_is_tried_again(ask: Asker, status: int) -> None:
    ask.server.will(refuses(status), refuses(status), ask.good)

    reply = await ask.reply()

    assert reply.items == (message(HELLO.text),)
    assert len(ask.server.calls) == 3
    assert ask.heard.restarts == []


@pytest.mark.parametrize("breaks", [cuts, resets, streams])
async def test_a_reply_that_is_cut_off_is_thrown_away(
    ask: Asker, breaks: Callable[[list[bytes]], Behaviour]
) -> None:
    ask.server.will(breaks(ask.half), breaks(ask.events[:1]), breaks([]), ask.good)

    reply = await ask.reply()

    assert reply.items == (message(HELLO.text),)
    assert ask.heard.text_now == HELLO.text
    assert len(ask.heard.restarts) == 1
    assert len(ask.server.calls) == 4


@pytest.mark.parametrize("broken", [b'{"type": "resp', b"\xff\xfe", b"7"])
async def test_a_stream_with_something_else_in_it_is_thrown_away(ask: Asker, broken: bytes) -> None:
    ask.server.will(streams([*ask.half, b"data: " + broken + b"\n\n"]), ask.good)

    reply = await ask.reply()

    assert reply.items == (message(HELLO.text),)
    assert ask.heard.text_now == HELLO.text
    assert len(ask.heard.restarts) == 1


async def test_a_truncated_last_event_is_thrown_away(ask: Asker) -> None:
    whole = b"".join(ask.events)
    ask.server.will(streams([whole[: len(whole) * 2 // 3]]), ask.good)

    assert (await ask.reply()).items == (message(HELLO.text),)
    assert ask.heard.text_now == HELLO.text


async def test_a_model_that_says_nothing_is_asked_again(ask: Asker) -> None:
    await ask.impatient(first_token_timeout_s=0.2, connect_timeout_s=0.2)
    ask.server.will(stalls(), stalls(ask.events[:1]), ask.good)

    reply = await ask.reply()

    assert reply.items == (message(HELLO.text),)
    assert len(ask.server.calls) == 3


async def test_a_model_that_falls_silent_is_asked_again(ask: Asker) -> None:
    await ask.impatient(between_tokens_timeout_s=0.3)
    ask.server.will(stalls(ask.half), ask.good)

    async with asyncio.timeout(2):
        reply = await ask.reply()

    assert reply.items == (message(HELLO.text),)
    assert ask.heard.restarts == ["no data for 0.3 s"]


async def test_slow_is_not_silent(ask: Asker) -> None:
    await ask.impatient(first_token_timeout_s=0.5, between_tokens_timeout_s=0.5)
    ask.server.will(streams(ask.events, pause_s=0.08))

    await ask.reply()

    assert ask.heard.restarts == []


async def test_a_connection_that_has_died_is_replaced_at_once(ask: Asker) -> None:
    await ask.impatient(backoff_s=60.0)
    ask.server.will(ask.good, drops(), ask.good)
    await ask.reply()

    async with asyncio.timeout(2):
        await ask.reply()

    assert ask.server.connections == 2


async def test_after_six_attempts_it_is_over(ask: Asker) -> None:
    ask.server.will(refuses(503, {"message": "Overloaded"}))

    fault = await ask.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault) == f"no reply from {ask.server.url} in 6 attempts: HTTP 503: Overloaded"
    assert len(ask.server.calls) == 6


async def test_the_last_void_text_is_taken_back_too(ask: Asker) -> None:
    await ask.impatient(max_attempts=2)
    ask.server.will(cuts(ask.half))

    fault = await ask.fault()

    assert isinstance(fault, ModelUnavailable)
    assert ask.heard.text_now == ""
    assert len(ask.heard.restarts) == 2


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
async def test_the_servers_own_word_on_when_is_kept(ask: Asker, headers: dict[str, str]) -> None:
    wait_s = 1.0 if "date" in headers else 0.2
    ask.server.will(refuses(429, headers=headers), ask.good)
    began = time.monotonic()

    await ask.reply()

    assert wait_s <= time.monotonic() - began < wait_s + 0.8


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
        (answers(413, b"", kind="text/html"), ModelRejected, "{url} refuses the request: HTTP 413"),
        (refused(500, {"message": "Broken"}, x_should_retry="false"), ModelUnavailable,
         "{url} does not allow a retry: Broken"),
        (refused(302, location="https://elsewhere/v1"), ModelUnavailable,
         "OPENAI_BASE_URL: {url} redirects to https://elsewhere/v1"),
        (answers(200, b"<html>Welcome", kind="text/html; charset=utf-8"), ModelUnavailable,
         "OPENAI_BASE_URL: {url}{path} is a web page, not an API; is /v1 missing?"),
    ],
)  # fmt: skip
async def test_a_lasting_refusal_is_one_sentence(
    ask: Asker, behaviour: Behaviour, kind: type[ServiceFault], sentence: str
) -> None:
    ask.server.will(behaviour)

    fault = await ask.fault()

    path = {"responses": "/responses", "chat": "/chat/completions"}[ask.api]
    assert str(fault) == sentence.format(url=ask.server.url, path=path)
    assert type(fault) is kind
    assert len(ask.server.calls) == 1


async def test_a_missing_key_is_named(ask: Asker) -> None:
    await ask.impatient(api_key="")
    ask.server.will(refuses(401, {"message": "You didn't provide an API key"}))

    assert str(await ask.fault()) == (
        f"{ask.server.url} requires OPENAI_API_KEY, which is not set: You didn't provide an API key"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "invalid_prompt", "message": "Not that"}, ModelRejected),
        ({"code": "insufficient_quota", "message": "Nothing left"}, ModelUnavailable),
        ({"code": 400, "message": "Not that"}, ModelRejected),
    ],
)
async def test_a_lasting_failure_in_mid_stream_is_not_tried_again(
    ask: Asker, error: dict[str, Any], kind: type[ServiceFault]
) -> None:
    ask.server.will(streams([*ask.half, *failing(ask.api, error)]))

    fault = await ask.fault()

    assert type(fault) is kind
    assert error["message"] in str(fault)
    assert len(ask.server.calls) == 1
    assert ask.heard.text_now == ""


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
async def test_a_passing_failure_in_mid_stream_is_tried_again(
    ask: Asker, error: dict[str, Any]
) -> None:
    ask.server.will(streams([*ask.half, *failing(ask.api, error)]), ask.good)

    reply = await ask.reply()

    assert reply.items == (message(HELLO.text),)
    assert ask.heard.restarts == [error["message"]]


def failing(api: Api, error: dict[str, Any]) -> list[bytes]:
    if api == "chat":
        return [sse({"error": error})]
    failed = response(status="failed", error=error)
    return typed({"type": "response.failed", "response": failed})


async def test_a_body_that_is_no_stream_is_taken_as_the_reply(ask: Asker) -> None:
    whole = {
        "responses": b'{"object":"response","status":"completed","output":[{"type":"message",'
        b'"role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[]}]}]}',
        "chat": b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}',
    }
    ask.server.will(answers(200, whole[ask.api]))

    assert (await ask.reply()).items == (message("Hi"),)
    assert ask.heard.text_now == "Hi"


# What a server does not know


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Encrypted content is not supported with this model.", "param": "include"},
        {"message": "Unknown parameter: 'include'."},
    ],
)
async def test_models_that_do_not_reason_are_asked_without_its_encryption(
    server: MockServer, error: dict[str, str]
) -> None:
    model = OpenAIModel(patient_as_a_test(server.url))
    server.will(refuses(400, error), streams(responses_events(HELLO)))

    await model.reply(asking(), Heard())
    await model.reply(asking(), Heard())
    await model.close()

    assert ["include" in call.body for call in server.calls] == [True, False, False]


async def test_reasoning_of_another_model_is_left_out_of_this_conversation(
    server: MockServer,
) -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}
    error = {"message": "Could not be verified", "code": "invalid_encrypted_content"}
    good = streams(responses_events(HELLO))
    model = OpenAIModel(patient_as_a_test(server.url))
    server.will(refuses(400, error), good, good)

    await model.reply(asking(user("a"), reasoning, message("Hm.")), Heard())
    await model.reply(asking(user("b"), reasoning, message("Hm.")), Heard())
    await model.close()

    assert [reasoning in call.body["input"] for call in server.calls] == [True, False, True]
    assert all("include" in call.body for call in server.calls)


async def test_servers_that_cannot_count_are_not_asked_to(server: MockServer) -> None:
    error = b'{"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs"}]}'
    model = OpenAIModel(patient_as_a_test(server.url, api="chat"))
    server.will(answers(422, error), streams([chunk({"content": "Hi"}, "stop")]))

    reply = await model.reply(asking(), Heard())
    await model.close()

    assert reply.items == (message("Hi"),)
    assert ["stream_options" in call.body for call in server.calls] == [True, False]


async def test_a_word_in_a_refusal_names_no_part_of_the_request(server: MockServer) -> None:
    model = OpenAIModel(patient_as_a_test(server.url))
    server.will(refuses(400, {"message": "reasoning must include an answer"}))

    with pytest.raises(ModelRejected, match="reasoning must include an answer"):
        await model.reply(asking(), Heard())
    await model.close()

    assert len(server.calls) == 1


# Connections


async def test_a_cancelled_reply_closes_its_connection(ask: Asker) -> None:
    ask.server.will(stalls(ask.half))
    asking = asyncio.create_task(ask.reply())
    while not ask.heard.deltas:
        await asyncio.sleep(0.005)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    async with asyncio.timeout(1):
        await ask.server.calls[0].gone.wait()
        while ask.server.open:
            await asyncio.sleep(0.005)


async def test_a_server_that_is_not_there_is_named(ask: Asker) -> None:
    await ask.impatient(base_url="http://127.0.0.1:1/v1", backoff_s=0.01)

    fault = await ask.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault) == "cannot reach http://127.0.0.1:1/v1 in 3 attempts: Connection refused"


async def test_a_name_that_is_not_known_is_named(
    ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    await ask.impatient(base_url="https://models.example/v1", backoff_s=0.01)

    fault = await ask.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault) == (
        "cannot reach https://models.example/v1 in 3 attempts: Name or service not known"
    )


async def test_a_server_without_tls_is_named(ask: Asker) -> None:
    url = ask.server.url.replace("http:", "https:")
    await ask.impatient(base_url=url, connect_timeout_s=0.1)

    fault = await ask.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault).startswith(f"cannot reach {url} in 3 attempts: ")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v1", "127.0.0.1/v1", "http:///v1"])
async def test_a_url_of_no_server_is_named(ask: Asker, url: str) -> None:
    await ask.impatient(base_url=url)

    fault = await ask.fault()

    assert isinstance(fault, ModelUnavailable)
    assert str(fault).startswith(f"OPENAI_BASE_URL '{url}'")


async def test_a_password_in_the_url_is_never_shown(ask: Asker) -> None:
    await ask.impatient(base_url="http://ann:hidden@127.0.0.1:1/v1", api_key="")

    fault = await ask.fault()

    assert "hidden" not in str(fault)


def test_settings_hide_the_key() -> None:
    assert "sk-secret" not in repr(patient_as_a_test("http://127.0.0.1:1/v1"))


async def test_each_attempt_that_failed_is_told_in_the_log_and_no_more(
    ask: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    ask.server.will(refuses(503, {"message": "sk-secret is busy"}), cuts(ask.half), ask.good)

    with caplog.at_level(logging.INFO):
        await ask.reply()
        await ask.model.close()

    told = [(record.message, vars(record)["fields"]) for record in caplog.records]
    assert [event for event, _ in told] == ["model_request_retried"] * 2
    assert [fields["attempt"] for _, fields in told] == [1, 2]
    assert told[0][1]["why"] == "HTTP 503"


async def test_a_closed_model_opens_again_when_it_is_asked(ask: Asker) -> None:
    ask.server.will(ask.good)
    await ask.reply()
    await ask.model.close()

    assert (await ask.reply()).items == (message(HELLO.text),)


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

    reply = await model.reply(asking(user("a"), output("c", "d")), Heard())
    await model.close()

    assert reply.items == (message(HELLO.text),)
    body = server.calls[0].body
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == (
        "gpt-test",
        0.0,
        50,
    )
