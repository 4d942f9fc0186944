"""Requests that another model of a chain can answer: fewer attempts, and usage when cancelled."""

import asyncio
from dataclasses import replace

import pytest

from tests.services.model.builders import RecordingListener, fast_settings, model_request
from tests.services.model.mock_server import Behaviour, MockServer, cuts, refuses, stalls
from tests.services.model.streams import FakeReply, chat_events, responses_events
from tests.waiting import HANG_S
from twelvefold.core import Usage
from twelvefold.errors import ModelRejected, ModelTooLarge, ModelUnavailable
from twelvefold.services.model.openai import Api, OpenAIModel

EVENTS = {"responses": responses_events, "chat": chat_events}
APIS = pytest.mark.parametrize("api", ["responses", "chat"])
REPLACEABLE = replace(model_request(), attempts=2)
OVERFLOW = {"message": "This model's maximum context length is 8192 tokens.", "code": "x"}


async def fails_with(server: MockServer, behaviour: Behaviour, **settings: object) -> Exception:
    """Return the error of a request that another model can answer."""
    server.will(behaviour)
    model = OpenAIModel(fast_settings(server.url, **settings))
    try:
        with pytest.raises((ModelUnavailable, ModelRejected)) as raised:
            await model.reply(REPLACEABLE, RecordingListener())
    finally:
        await model.close()
    return raised.value


@pytest.mark.parametrize("status", [500, 503])
async def test_it_is_sent_as_often_as_the_chain_allows(server: MockServer, status: int) -> None:
    error = await fails_with(server, refuses(status))

    assert isinstance(error, ModelUnavailable)
    # No probe follows: it would only delay the other model.
    assert len(server.calls) == 2


async def test_a_long_delay_that_the_server_requests_is_not_waited_for(server: MockServer) -> None:
    error = await fails_with(server, refuses(429, headers={"retry-after": "60"}))

    assert isinstance(error, ModelUnavailable)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(400, OVERFLOW), (413, {"message": "Payload Too Large"})]
)
async def test_a_refusal_by_size_is_told_apart(
    server: MockServer, status: int, error: object
) -> None:
    raised = await fails_with(server, refuses(status, error))

    assert isinstance(raised, ModelTooLarge)
    assert len(server.calls) == 1


async def test_another_refusal_is_none_by_size(server: MockServer) -> None:
    raised = await fails_with(server, refuses(400, {"message": "unknown parameter"}))

    assert type(raised) is ModelRejected


@APIS
async def test_a_reply_that_is_cancelled_reports_its_usage(server: MockServer, api: Api) -> None:
    events = EVENTS[api](FakeReply("Hello, you there."))
    server.will(stalls(events[: len(events) // 2]))
    model = OpenAIModel(fast_settings(server.url, api=api))
    listener = RecordingListener()
    asking = asyncio.ensure_future(model.reply(model_request(), listener))
    async with asyncio.timeout(HANG_S):
        while not listener.deltas:
            await asyncio.sleep(0.005)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await asking
    await model.close()

    cause = cancelled.value.__cause__
    assert isinstance(cause, ModelUnavailable)
    assert cause.usage is not None
    assert cause.usage.input_tokens > 0
    assert cause.usage.output_tokens > 0


async def test_the_usage_of_attempts_before_a_cancellation_is_reported(server: MockServer) -> None:
    events = responses_events(FakeReply("Hello, you there."))
    server.will(stalls(events[: len(events) // 2]))
    model = OpenAIModel(
        fast_settings(server.url, between_tokens_timeout_s=0.05, backoff_s=60, max_backoff_s=60)
    )
    listener = RecordingListener()
    asking = asyncio.ensure_future(model.reply(model_request(), listener))
    async with asyncio.timeout(HANG_S):
        while not listener.restarts:
            await asyncio.sleep(0.005)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await asking
    await model.close()

    cause = cancelled.value.__cause__
    assert isinstance(cause, ModelUnavailable)
    assert cause.usage is not None


async def test_a_reply_that_is_cancelled_before_anything_was_sent_has_no_usage() -> None:
    async with MockServer() as server:
        server.will(stalls())
        model = OpenAIModel(fast_settings(server.url))
        asking = asyncio.ensure_future(model.reply(model_request(), RecordingListener()))
        await asyncio.sleep(0)

        asking.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asking
        await model.close()

    assert cancelled.value.__cause__ is None


# --- requests whose caller decides about each further attempt ------------------------------------


@pytest.mark.parametrize(("allowed", "calls"), [(0, 1), (2, 3), (9, 6)])
async def test_the_caller_is_asked_before_each_further_attempt(
    server: MockServer, allowed: int, calls: int
) -> None:
    lost: list[Usage] = []

    async def before_retry(usage: Usage) -> bool:
        lost.append(usage)
        return len(lost) <= allowed

    server.will(refuses(503))
    model = OpenAIModel(fast_settings(server.url))
    request = replace(model_request(), before_retry=before_retry)
    with pytest.raises(ModelUnavailable):
        await model.reply(request, RecordingListener())
    await model.close()

    assert len(server.calls) == calls
    assert lost == [Usage()] * min(allowed + 1, 5)


async def test_without_another_attempt_there_is_no_probe_and_the_usage_is_reported(
    server: MockServer,
) -> None:
    lost: list[Usage] = []

    async def before_retry(usage: Usage) -> bool:
        lost.append(usage)
        return False

    events = responses_events(FakeReply("Hello, you there."))
    server.will(cuts(events[: len(events) // 2]))
    model = OpenAIModel(fast_settings(server.url))
    request = replace(model_request(), before_retry=before_retry)
    with pytest.raises(ModelUnavailable) as raised:
        await model.reply(request, RecordingListener())
    await model.close()

    assert len(server.calls) == 1
    assert raised.value.usage == lost[0]
    assert lost[0].estimated
