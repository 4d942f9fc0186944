"""Token usage: reported, estimated, and that of failed attempts."""

import asyncio
import json
from typing import Any

import pytest

from tests.loop_clock import LoopClock
from tests.services.model.builders import RecordingListener, fast_settings, model_request
from tests.services.model.mock_server import (
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
from twelvefold.core.budget import Limits
from twelvefold.core.decide import find_exhausted_budget
from twelvefold.core.events import Usage
from twelvefold.core.ports import ModelReply
from twelvefold.errors import ModelRejected, ModelUnavailable
from twelvefold.services.model.items import message
from twelvefold.services.model.openai import Api, OpenAIModel
from twelvefold.services.model.openai.decoding.usage import with_estimates

EVENTS = {"responses": responses_events, "chat": chat_events}
APIS = pytest.mark.parametrize("api", ["responses", "chat"])
TEXT = "Hello, you there."


def unreported(api: Api) -> list[bytes]:
    """A reply of 17 bytes without usage."""
    if api == "chat":
        return [chunk({"content": TEXT}), chunk({}, "stop"), sse("[DONE]")]
    done = response(status="completed", output=[message(TEXT)], usage=None)
    delta = {"type": "response.output_text.delta", "delta": TEXT}
    return typed(delta, {"type": "response.completed", "response": done})


async def reply_of(server: MockServer, api: Api, **settings: Any) -> ModelReply:
    model = OpenAIModel(fast_settings(server.url, api=api, **settings))
    try:
        return await model.reply(model_request(), RecordingListener())
    finally:
        await model.close()


def third_of(size: int) -> int:
    return -(-size // 3)


def prompt(server: MockServer) -> int:
    """The estimate for a request, of three bytes a token."""
    return third_of(len(server.calls[-1].raw))


@APIS
async def test_missing_usage_is_estimated_and_marked(server: MockServer, api: Api) -> None:
    server.will(streams(unreported(api)))

    reply = await reply_of(server, api)

    assert reply.usage == Usage(prompt(server), third_of(len(TEXT)), estimated=True)
    assert reply.lost == Usage()


@APIS
async def test_reported_usage_is_not_estimated(server: MockServer, api: Api) -> None:
    server.will(streams(EVENTS[api](FakeReply("Hi", usage=(100, 20, 30, 5)))))

    assert (await reply_of(server, api)).usage == Usage(100, 20, 30, 5)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 0, "completion_tokens": 7}, {}, None, "?"])
async def test_only_missing_values_are_estimated(server: MockServer, usage: Any) -> None:
    server.will(streams([chunk({"content": TEXT}), sse({"choices": [], "usage": usage}),
                         chunk({}, "stop")]))  # fmt: skip

    counted = (await reply_of(server, "chat")).usage

    written = 7 if isinstance(usage, dict) and usage else third_of(len(TEXT))
    assert counted == Usage(prompt(server), written, estimated=True)


async def test_calls_and_reasoning_count_as_output(server: MockServer) -> None:
    call = {"index": 0, "id": "a", "function": {"name": "add", "arguments": '{"a":1}'}}
    thought = chunk({"reasoning_content": "é" * 50})
    server.will(streams([thought, chunk({"tool_calls": [call]}), chunk({}, "tool_calls")]))

    counted = (await reply_of(server, "chat")).usage

    assert counted.output_tokens == third_of(100 + len("add") + len('{"a":1}'))


async def test_reasoning_counts_as_output_in_the_responses_api(server: MockServer) -> None:
    thought = {"type": "response.reasoning_summary_text.delta", "delta": "x" * 300}
    server.will(streams([*typed(thought), *unreported("responses")]))

    assert (await reply_of(server, "responses")).usage.output_tokens == third_of(300 + len(TEXT))


async def test_the_usage_of_a_whole_reply_is_estimated_too(server: MockServer) -> None:
    whole = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}]}
    server.will(answers(200, json.dumps(whole).encode()))

    assert (await reply_of(server, "chat")).usage == Usage(
        prompt(server), third_of(len(TEXT)), estimated=True
    )


def test_an_image_in_a_request_counts_as_an_image_not_as_text() -> None:
    request = b'{"image_url":"data:image/png;base64,%s"}' % (b"A" * 3_000_000)

    assert with_estimates(Usage(), request, 0).input_tokens < 2_000


def test_an_estimate_in_a_sum_marks_the_sum() -> None:
    assert (Usage(1, 1) + Usage(2, 2, estimated=True)) == Usage(3, 3, estimated=True)


@APIS
async def test_a_budget_holds_without_usage(server: MockServer, api: Api) -> None:
    server.will(streams(unreported(api)))
    limits = Limits(run_tokens=300)
    spent = Usage()
    replies = 0

    while find_exhausted_budget(spent, limits) is None:
        spent += (await reply_of(server, api)).usage
        replies += 1

    assert replies == -(-300 // (prompt(server) + third_of(len(TEXT))))


# Tries that broke off


@APIS
@pytest.mark.parametrize("breaks", [cuts, resets, stalls])
async def test_tokens_of_a_failed_attempt_count(
    server: MockServer, api: Api, breaks: Any, loop_clock: LoopClock
) -> None:
    half = EVENTS[api](FakeReply("Hello, you there."))[:4]
    server.will(breaks(half), streams(EVENTS[api](FakeReply("Hi", usage=(100, 20, 0, 0)))))

    replying = asyncio.ensure_future(reply_of(server, api))
    if breaks is stalls:
        await server.let_time_out(0, loop_clock)
    reply = await replying

    assert reply.lost.input_tokens == prompt(server)
    assert reply.lost.estimated
    assert reply.usage == Usage(100, 20) + reply.lost


async def test_the_text_of_a_failed_attempt_counts(server: MockServer) -> None:
    server.will(cuts([chunk({"content": TEXT})]), streams(unreported("chat")))

    reply = await reply_of(server, "chat")

    assert reply.lost == Usage(prompt(server), third_of(len(TEXT)), estimated=True)


async def test_reported_usage_of_a_failed_attempt_counts(server: MockServer) -> None:
    usage = {"prompt_tokens": 70, "completion_tokens": 9}
    first = sse({"choices": [{"delta": {"content": "H"}}], "usage": usage})
    server.will(cuts([first]), streams(chat_events(FakeReply("Hi", usage=(100, 20, 0, 0)))))

    reply = await reply_of(server, "chat")

    assert (reply.usage, reply.lost) == (Usage(170, 29), Usage(70, 9))


@APIS
@pytest.mark.parametrize("fails", [refuses(503), refuses(429), drops()])
async def test_an_attempt_without_a_response_costs_nothing(
    server: MockServer, api: Api, fails: Any
) -> None:
    server.will(fails, streams(EVENTS[api](FakeReply("Hi", usage=(100, 20, 0, 0)))))

    assert (await reply_of(server, api)).usage == Usage(100, 20)


async def test_an_error_in_place_of_a_reply_costs_nothing(server: MockServer) -> None:
    overloaded = sse({"error": {"message": "busy", "type": "overloaded_error"}})
    server.will(streams([overloaded]), streams(chat_events(FakeReply("Hi", usage=(100, 20, 0, 0)))))

    assert (await reply_of(server, "chat")).usage == Usage(100, 20)


async def test_the_error_has_the_usage_of_failed_attempts(server: MockServer) -> None:
    server.will(cuts([chunk({"content": TEXT})]))

    with pytest.raises(ModelUnavailable) as caught:
        await reply_of(server, "chat", max_attempts=3)

    one = Usage(prompt(server), third_of(len(TEXT)), estimated=True)
    assert caught.value.usage == one + one + one


async def test_a_permanent_error_within_a_stream_has_the_lost_usage(server: MockServer) -> None:
    failure = sse({"error": {"message": "bad", "code": 400}})
    server.will(streams([chunk({"content": TEXT}), failure]))

    with pytest.raises(ModelRejected) as caught:
        await reply_of(server, "chat")

    assert caught.value.usage == Usage(prompt(server), third_of(len(TEXT)), estimated=True)


async def test_the_error_has_no_usage_if_nothing_was_lost(server: MockServer) -> None:
    server.will(refuses(400))

    with pytest.raises(ModelRejected) as caught:
        await reply_of(server, "chat")

    assert caught.value.usage is None
