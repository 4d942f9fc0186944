"""A workflow with an output type over HTTP: what clients see, send and parse."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pydantic
import pytest
from openai import BadRequestError
from openai.lib._pydantic import to_strict_json_schema

from tests.engine.stage import buy, refund
from tests.web.asking import answer_to, chunks, error, said
from tests.web.sdk import check_events, check_items, check_response
from tests.web.serving import USAGE, Json, Serve, Served
from twelvefold.core.events import Item
from twelvefold.core.output import BESIDE_CALLS
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.core.workflow import Workflow
from twelvefold.services.model.demo import open_demo
from twelvefold.services.model.scripted import calls, says


class Guest(pydantic.BaseModel):
    name: str
    table: "Table | None" = None


class Table(pydantic.BaseModel):
    number: int = pydantic.Field(description="On the door.", ge=1)


class Booking(pydantic.BaseModel):
    """A booked table."""

    guest: Guest
    tables: list[Table] = []
    kind: str = pydantic.Field(default="dinner", pattern="^(lunch|dinner)$")


@pydantic.dataclasses.dataclass
class Offer:
    price: float


TYPED = Workflow[Any]("shop", "Book.", (buy, refund), output=Booking)
GOOD = json.dumps(
    {"guest": {"name": "Ann", "table": None}, "tables": [{"number": 7}], "kind": "lunch"}
)
BOOKING = Booking.model_validate_json(GOOD)
BAD = json.dumps({"guest": {"name": "Ann"}, "tables": [{"number": 0}], "kind": "lunch"})
PROBLEM = "tables.0.number: Input should be greater than or equal to 1"
LAMP = {"item": "a lamp"}


class Replies:
    """A model that sends these replies in turn, in pieces."""

    def __init__(self, *replies: Sequence[Item]) -> None:
        self.requests: list[ModelRequest] = []
        self._replies = list(replies)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.requests.append(request)
        items = [{**item, "call_id": "c1"} if "call_id" in item else item for item in self._next()]
        for item in items:
            for character in item["content"][0]["text"] if "content" in item else ():
                listener.text(character)
        return ModelReply(tuple(items), USAGE, "replies", "ab" * 32)

    def _next(self) -> Sequence[Item]:
        return self._replies.pop(0) if self._replies else says(GOOD)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def typed(serve: Serve) -> Served:
    """A process whose model first sends an invalid output."""
    return await serve(workflow=TYPED, model=Replies(says(BAD), says(GOOD)))


# --- what clients see -----------------------------------------------------------------------------


async def test_a_response_has_the_valid_output_alone(typed: Served) -> None:
    response = await typed.ask("a table")

    check_response(response)
    assert (response["status"], said(response)) == ("completed", GOOD)
    assert response["usage"]["total_tokens"] == 2 * USAGE.total_tokens
    assert await typed.settled(response["id"]) == response


async def test_a_stream_has_the_valid_output_alone_and_at_once(typed: Served) -> None:
    events = await typed.told("a table")

    check_events(events)
    [delta] = [event for event in events if event["type"] == "response.output_text.delta"]
    assert delta["delta"] == GOOD
    assert await typed.replayed(events[-1]["response"]["id"]) == events


async def test_a_stream_of_a_run_that_a_worker_drives_is_the_same(typed: Served) -> None:
    # A claimed run has a row that marks earlier deltas as void.
    events = await typed.told("a table", background=True)

    check_events(events)
    [delta] = [event for event in events if event["type"] == "response.output_text.delta"]
    assert delta["delta"] == GOOD
    assert await typed.replayed(events[-1]["response"]["id"]) == events


async def test_items_of_a_conversation_and_completions_do_not_have_it(serve: Serve) -> None:
    api = await serve(workflow=TYPED, model=Replies(says(BAD), says(GOOD), says(BAD), says(GOOD)))
    response = await api.ask(
        "a table", conversation=(await api.post("/conversations")).json()["id"]
    )
    items = (await api.get(f"/conversations/{response['conversation']['id']}/items")).json()["data"]
    body = {"model": "shop", "messages": [{"role": "user", "content": "a table"}]}
    completion = (await api.post("/chat/completions", body)).json()
    api.model._replies = [says(BAD), says(GOOD)]  # type: ignore[attr-defined]
    streamed = await chunks(api, messages=body["messages"])

    check_items(items, conversation=True)
    assert [item["role"] for item in items] == ["assistant", "user"]
    assert completion["choices"][0]["message"]["content"] == GOOD
    deltas = [one["choices"][0]["delta"].get("content") or "" for one in streamed if one["choices"]]
    assert "".join(deltas) == GOOD


async def test_the_journal_has_the_invalid_output_and_its_problems(typed: Served) -> None:
    response = await typed.ask("a table")
    thread = response["id"].removeprefix("resp_")[:44]

    journal = (await typed.get(f"/conversations/conv_{thread}/journal")).json()["data"]

    replies = [entry for entry in journal if entry["type"] == "ModelReplied"]
    assert [reply["text"] for reply in replies] == [BAD, GOOD]
    assert [reply.get("problems") for reply in replies] == [[PROBLEM], None]


async def test_a_run_that_never_gets_a_valid_output_fails(serve: Serve) -> None:
    api = await serve(workflow=TYPED, model=Replies(*[says(BAD)] * 3))

    response = await api.ask("a table")

    check_response(response)
    assert (response["status"], response["output"]) == ("failed", [])
    assert response["error"]["message"] == (
        f"Run failed: the model's output was invalid three times; the last problems: {PROBLEM}"
    )


async def test_a_text_beside_calls_is_hidden_and_the_calls_are_shown(serve: Serve) -> None:
    api = await serve(workflow=TYPED, model=Replies(says("I will.") + calls(("buy", LAMP))))

    response = await api.ask("a lamp and a table")

    assert [item["type"] for item in response["output"]] == ["mcp_call", "message"]
    assert said(response) == GOOD
    thread = response["id"].removeprefix("resp_")[:44]
    journal = (await api.get(f"/conversations/conv_{thread}/journal")).json()["data"]
    assert journal[1]["problems"] == [BESIDE_CALLS]


async def test_an_approval_comes_before_the_output(serve: Serve) -> None:
    api = await serve(workflow=TYPED, model=Replies(calls(("refund", LAMP)), says(BAD)))
    first = await api.ask("refund")
    [request] = first["output"]

    second = await api.ask(answer_to(request, True), previous_response_id=first["id"])

    assert [item["type"] for item in second["output"]] == ["mcp_call", "message"]
    assert said(second) == GOOD


# --- the official client --------------------------------------------------------------------------


async def test_the_official_client_parses_the_output(typed: Served) -> None:
    parsed = await typed.sdk.responses.parse(model="shop", input="a table", text_format=Booking)
    completion = await typed.sdk.chat.completions.parse(
        model="shop", messages=[{"role": "user", "content": "a table"}], response_format=Booking
    )

    assert parsed.output_parsed == BOOKING
    assert completion.choices[0].message.parsed == BOOKING


async def test_the_official_client_parses_a_stream(typed: Served) -> None:
    async with typed.sdk.responses.stream(
        model="shop", input="a table", text_format=Booking
    ) as stream:
        response = await stream.get_final_response()

    assert response.output_parsed == BOOKING


async def test_a_dataclass_is_parsed_as_well(serve: Serve) -> None:
    api = await serve(
        workflow=Workflow[Any]("shop", "Sell.", output=Offer), model=Replies(says('{"price": 7}'))
    )

    parsed = await api.sdk.responses.parse(model="shop", input="a lamp", text_format=Offer)

    assert parsed.output_parsed == Offer(7.0)


@pytest.mark.parametrize("client_format", [{"type": "text"}, None])
async def test_plain_text_means_the_output_of_the_workflow(
    typed: Served, client_format: Json | None
) -> None:
    response = await typed.ask("a table", text={"format": client_format, "verbosity": "low"})

    assert said(response) == GOOD
    options = typed.model.requests[0].options
    assert options["text"]["format"]["schema"]["description"] == "A booked table."
    assert options["text"]["verbosity"] == "low"


@pytest.mark.parametrize(
    "client_format",
    [
        {"type": "json_object"},
        {"type": "json_schema", "name": "Offer", "schema": {"type": "object"}},
        {"type": "json_schema", "name": "Booking", "schema": {}},
    ],
)
async def test_another_format_is_refused(typed: Served, client_format: Json) -> None:
    body = {"model": "shop", "input": "hi", "text": {"format": client_format}}
    refused = await typed.post("/responses", body)
    chat_format = client_format
    if "schema" in client_format:
        inner = {key: client_format[key] for key in ("name", "schema")}
        chat_format = {"type": "json_schema", "json_schema": inner}
    messages = [{"role": "user", "content": "hi"}]
    chat = await typed.post(
        "/chat/completions",
        {"model": "shop", "messages": messages, "response_format": chat_format},
    )

    assert error(refused) == (400, "invalid_value", "text.format")
    assert error(chat) == (400, "invalid_value", "response_format")
    assert refused.json()["error"]["message"] == (
        "text.format: 'shop' answers with the type 'Booking'; leave the format out, or send the "
        "JSON Schema of this type"
    )
    assert typed.model.requests == []


async def test_the_answer_to_an_approval_may_not_change_the_format(serve: Serve) -> None:
    api = await serve(workflow=TYPED, model=Replies(calls(("refund", LAMP))))
    first = await api.ask("refund")
    [request] = first["output"]

    refused = await api.post(
        "/responses",
        {
            "model": "shop",
            "input": answer_to(request, True),
            "previous_response_id": first["id"],
            "text": {"format": {"type": "json_object"}},
        },
    )

    assert error(refused) == (400, "invalid_value", "text.format")


async def test_a_typed_output_must_not_be_cut(typed: Served) -> None:
    messages: Any = [{"role": "user", "content": "hi"}]

    with pytest.raises(BadRequestError, match="stop: 'shop' has a typed output"):
        await typed.sdk.chat.completions.create(model="shop", messages=messages, stop="}")


@pytest.mark.parametrize("kind", [Booking, Guest, Offer])
def test_the_schema_that_the_official_client_sends_is_that_of_the_workflow(kind: Any) -> None:
    output = Workflow[Any]("shop", "Book.", output=kind).output_type
    assert output is not None

    assert output.has_schema(to_strict_json_schema(pydantic.TypeAdapter(kind)))


# --- the demo model -------------------------------------------------------------------------------


async def test_the_demo_model_satisfies_the_type(serve: Serve) -> None:
    api = await serve(workflow=replace(TYPED, tools=()), model=open_demo())

    parsed = await api.sdk.responses.parse(model="shop", input="a table", text_format=Booking)

    assert isinstance(parsed.output_parsed, Booking)
    assert len(parsed.output) == 1


async def test_the_demo_model_refuses_if_the_words_match_no_tool(serve: Serve) -> None:
    api = await serve(workflow=TYPED, model=open_demo())

    response = await api.ask("a table")

    check_response(response)
    [message] = response["output"]
    [part] = message["content"]
    assert (response["status"], part["type"]) == ("completed", "refusal")
    assert "I call a tool if your words name it. There are: buy, refund." in part["refusal"]
