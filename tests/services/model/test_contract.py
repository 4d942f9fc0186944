"""The contract of the model port, for each implementation."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.services.model.builders import (
    RecordingListener,
    fast_settings,
    model_request,
    output,
    user,
)
from tests.services.model.mock_server import MockServer, streams
from tests.services.model.streams import FakeReply, chat_events, responses_events
from twelvefold.core.events import Entry, Item, ModelReplied, Usage, decode, encode
from twelvefold.core.ports import Model, ModelReply
from twelvefold.services.model.cassette import CassetteModel
from twelvefold.services.model.demo import open_demo
from twelvefold.services.model.openai import Api, OpenAIModel
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says

MakeModel = Callable[..., Model]
ONE_CALL = FakeReply(calls=[("call_1", "enrol", '{"course": "CS-101"}')])
BOTH = FakeReply("Let me see.", [("call_1", "enrol", "{}"), ("call_2", "enrol", '{"course": "x"}')])
STRANGE = "\x00 \u2028 שלום 🙂 é"


def over_http(api: Api, server: MockServer) -> MakeModel:
    events = responses_events if api == "responses" else chat_events

    def make(*replies: FakeReply) -> Model:
        server.will(*(streams(events(fake)) for fake in replies))
        return OpenAIModel(fast_settings(server.url, api=api))

    return make


def demo(*replies: FakeReply) -> Model:
    left = iter(replies)
    return open_demo(lambda _: items_of(next(left)))


def scripted(*replies: FakeReply) -> Model:
    return ScriptedModel(in_turn(*(items_of(fake) for fake in replies)))


def cassette(*replies: FakeReply) -> Model:
    events = [
        ModelReplied(tuple(items_of(fake)), Usage(10, 5), "gpt-test", f"{n:064x}")
        for n, fake in enumerate(replies)
    ]
    return CassetteModel([Entry(n, 1, event, 0) for n, event in enumerate(events, 1)])


def items_of(fake: FakeReply) -> list[Item]:
    """Return the items of a reply in the form of the journal."""
    message = says(fake.text) if fake.text or not fake.calls else []
    named = calls(*((name, arguments) for _, name, arguments in fake.calls))
    ids = (call_id for call_id, _, _ in fake.calls)
    return message + [call | {"call_id": next(ids)} for call in named]


@pytest.fixture(params=["openai responses", "openai chat", "demo", "scripted", "cassette"])
async def model_that(
    request: pytest.FixtureRequest, server: MockServer
) -> AsyncIterator[MakeModel]:
    made: list[Model] = []
    make = {
        "openai responses": over_http("responses", server),
        "openai chat": over_http("chat", server),
        "demo": demo,
        "scripted": scripted,
        "cassette": cassette,
    }[request.param]

    def remembered(*replies: FakeReply) -> Model:
        made.append(make(*replies))
        return made[-1]

    yield remembered
    for model in made:
        await model.close()


@pytest.mark.parametrize(
    "fake",
    [
        FakeReply("Hello, you."),
        FakeReply(""),
        FakeReply(STRANGE),
        ONE_CALL,
        BOTH,
        FakeReply("long " * 5_000),
    ],
)
async def test_a_reply_has_its_items(model_that: MakeModel, fake: FakeReply) -> None:
    reply = await model_that(fake).reply(model_request(), RecordingListener())

    assert list(reply.items) == items_of(fake)
    assert reply.ended == "completed"


@pytest.mark.parametrize("fake", [FakeReply("Hello, you."), FakeReply(STRANGE), ONE_CALL, BOTH])
async def test_the_shown_text_is_the_text_of_the_reply(
    model_that: MakeModel, fake: FakeReply
) -> None:
    listener = RecordingListener()

    await model_that(fake).reply(model_request(), listener)

    assert listener.text_now == fake.text
    assert "" not in listener.deltas
    assert listener.restarts == []


async def test_replies_follow_a_conversation(model_that: MakeModel) -> None:
    model = model_that(ONE_CALL, FakeReply("You are in."))

    first = await model.reply(model_request(user("enrol me")), RecordingListener())
    second = await model.reply(
        model_request(user("enrol me"), *first.items, output("call_1", "ok")), RecordingListener()
    )

    assert [item["type"] for item in first.items] == ["function_call"]
    assert list(second.items) == says("You are in.")


async def test_a_reply_has_usage_and_a_request_hash(model_that: MakeModel) -> None:
    reply = await model_that(FakeReply("Hello, you.")).reply(model_request(), RecordingListener())

    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.model
    assert len(bytes.fromhex(reply.request_hash)) == 32


async def test_a_reply_can_be_stored_in_the_journal(model_that: MakeModel) -> None:
    reply = await model_that(BOTH).reply(model_request(), RecordingListener())

    event = replied(reply)
    assert decode(*encode(event)) == event


async def test_a_model_may_be_closed_twice_and_unused(model_that: MakeModel) -> None:
    model = model_that(FakeReply("unsaid"))

    await model.close()
    await model.close()


def replied(reply: ModelReply) -> ModelReplied:
    return ModelReplied(reply.items, reply.usage, reply.model, reply.request_hash, reply.ended)
