"""What every model keeps to, the real ones and the doubles."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.services.model.builders import Heard, asking, output, patient_as_a_test, user
from tests.services.model.mock_server import MockServer, streams
from tests.services.model.streams import Said, chat_events, responses_events
from twelvefold.core.events import Entry, Item, ModelReplied, Usage, decode, encode
from twelvefold.core.ports import Model, ModelReply
from twelvefold.services.model.cassette import CassetteModel
from twelvefold.services.model.demo import open_demo
from twelvefold.services.model.openai import Api, OpenAIModel
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says

MakeModel = Callable[..., Model]
ONE_CALL = Said(calls=[("call_1", "enrol", '{"course": "CS-101"}')])
BOTH = Said("Let me see.", [("call_1", "enrol", "{}"), ("call_2", "enrol", '{"course": "x"}')])
STRANGE = "\x00 \u2028 שלום 🙂 é"


def over_http(api: Api, server: MockServer) -> MakeModel:
    events = responses_events if api == "responses" else chat_events

    def make(*replies: Said) -> Model:
        server.will(*(streams(events(said)) for said in replies))
        return OpenAIModel(patient_as_a_test(server.url, api=api))

    return make


def demo(*replies: Said) -> Model:
    left = iter(replies)
    return open_demo(lambda _: items_of(next(left)))


def scripted(*replies: Said) -> Model:
    return ScriptedModel(in_turn(*(items_of(said) for said in replies)))


def cassette(*replies: Said) -> Model:
    events = [
        ModelReplied(tuple(items_of(said)), Usage(10, 5), "gpt-test", f"{n:064x}")
        for n, said in enumerate(replies)
    ]
    return CassetteModel([Entry(n, 1, event, 0) for n, event in enumerate(events, 1)])


def items_of(said: Said) -> list[Item]:
    """The reply as the journal keeps it."""
    message = says(said.text) if said.text or not said.calls else []
    named = calls(*((name, arguments) for _, name, arguments in said.calls))
    ids = (call_id for call_id, _, _ in said.calls)
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

    def remembered(*replies: Said) -> Model:
        made.append(make(*replies))
        return made[-1]

    yield remembered
    for model in made:
        await model.close()


@pytest.mark.parametrize(
    "said", [Said("Hello, you."), Said(""), Said(STRANGE), ONE_CALL, BOTH, Said("long " * 5_000)]
)
async def test_a_reply_is_kept_item_by_item(model_that: MakeModel, said: Said) -> None:
    reply = await model_that(said).reply(asking(), Heard())

    assert list(reply.items) == items_of(said)
    assert reply.ended == "completed"


@pytest.mark.parametrize("said", [Said("Hello, you."), Said(STRANGE), ONE_CALL, BOTH])
async def test_what_is_shown_is_what_is_said(model_that: MakeModel, said: Said) -> None:
    heard = Heard()

    await model_that(said).reply(asking(), heard)

    assert heard.text_now == said.text
    assert "" not in heard.deltas
    assert heard.restarts == []


async def test_replies_follow_a_conversation(model_that: MakeModel) -> None:
    model = model_that(ONE_CALL, Said("You are in."))

    first = await model.reply(asking(user("enrol me")), Heard())
    second = await model.reply(
        asking(user("enrol me"), *first.items, output("call_1", "ok")), Heard()
    )

    assert [item["type"] for item in first.items] == ["function_call"]
    assert list(second.items) == says("You are in.")


async def test_a_reply_says_what_it_cost_and_what_it_answered(model_that: MakeModel) -> None:
    reply = await model_that(Said("Hello, you.")).reply(asking(), Heard())

    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.model
    assert len(bytes.fromhex(reply.request_hash)) == 32


async def test_the_journal_can_keep_a_reply(model_that: MakeModel) -> None:
    reply = await model_that(BOTH).reply(asking(), Heard())

    event = replied(reply)
    assert decode(*encode(event)) == event


async def test_a_model_may_be_closed_twice_and_unused(model_that: MakeModel) -> None:
    model = model_that(Said("unsaid"))

    await model.close()
    await model.close()


def replied(reply: ModelReply) -> ModelReplied:
    return ModelReplied(reply.items, reply.usage, reply.model, reply.request_hash, reply.ended)
