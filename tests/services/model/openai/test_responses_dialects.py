"""Responses streams of other servers than OpenAI's."""

from typing import Any

import pytest

from tests.services.model.builders import HASH, received
from tests.services.model.streams import response, sse, typed
from twelvefold.core.events import Item, Usage
from twelvefold.services.model.errors import ErrorReceived, RetryableError
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai.responses import RESPONSES

CALL = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "add", "arguments": ""}


def text(delta: str, **where: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": delta, **where}


def arguments(delta: str, **where: Any) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", "delta": delta, **where}


def added(item: Item, **where: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "item": item, **where}


def done(item: Item, **where: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "item": item, **where}


def completed(*output: Item, **fields: Any) -> dict[str, Any]:
    whole = response(status="completed", output=list(output), **fields)
    return {"type": "response.completed", "response": whole}


def items_of(*events: dict[str, Any]) -> list[Item]:
    reply, _ = received(RESPONSES, *typed(*events))
    return list(reply.items)


@pytest.mark.parametrize(
    "where", [{}, {"item_id": "msg_1"}, {"item_id": "msg_1", "output_index": 0, "content_index": 0}]
)
@pytest.mark.parametrize("begun", [True, False])
def test_text_that_comes_in_deltas_only_is_the_reply(where: Item, begun: bool) -> None:
    begin = [added({"id": "msg_1", "type": "message", "role": "assistant", "content": []})]
    events = [*(begin if begun else []), text("h", **where), text("i", **where), completed()]

    reply, listener = received(RESPONSES, *typed(*events))

    assert list(reply.items) == [message("hi")]
    assert listener.text_now == "hi"


def test_text_that_comes_whole_only_is_the_reply() -> None:
    assert items_of({"type": "response.output_text.done", "text": "hi"}, completed()) == [
        message("hi")
    ]


def test_the_whole_text_after_its_deltas_is_not_repeated() -> None:
    events = [text("h"), text("i"), {"type": "response.output_text.done", "text": "hi"}]

    assert items_of(*events, completed()) == [message("hi")]


def test_a_refusal_that_comes_in_deltas_only_is_one() -> None:
    deltas = [{"type": "response.refusal.delta", "delta": d} for d in ("I can", "not.")]
    refused = {"type": "response.refusal.done", "refusal": "I cannot."}

    assert items_of(*deltas, refused, completed()) == [message("", refusal="I cannot.")]


@pytest.mark.parametrize("where", [{}, {"item_id": "fc_1"}, {"output_index": 0}])
def test_arguments_that_come_in_deltas_only_are_the_calls(where: Item) -> None:
    events = [added(CALL, **where), arguments('{"a"', **where), arguments(":1}", **where)]

    assert items_of(*events, completed()) == [function_call("c1", "add", '{"a":1}')]


def test_arguments_that_come_whole_only_are_the_calls() -> None:
    whole = {"type": "response.function_call_arguments.done", "arguments": '{"a":1}'}

    assert items_of(added(CALL), whole, completed()) == [function_call("c1", "add", '{"a":1}')]


def test_two_calls_without_an_output_index_are_separated_by_id() -> None:
    other = {**CALL, "id": "fc_2", "call_id": "c2", "name": "drop"}
    events = [
        added(CALL),
        added(other),
        arguments('{"a":1}', item_id="fc_1"),
        arguments('{"b":2}', item_id="fc_2"),
    ]

    assert items_of(*events, completed()) == [
        function_call("c1", "add", '{"a":1}'),
        function_call("c2", "drop", '{"b":2}'),
    ]


def test_text_and_calls_without_ids_are_separated_by_kind() -> None:
    bare = {key: value for key, value in CALL.items() if key != "id"}
    other = {**bare, "call_id": "c2"}
    events = [
        text("Let me see."),
        added(bare),
        arguments('{"a":1}'),
        added(other),
        arguments('{"a":2}'),
    ]

    assert items_of(*events, completed()) == [
        message("Let me see."),
        function_call("c1", "add", '{"a":1}'),
        function_call("c2", "add", '{"a":2}'),
    ]


def test_calls_that_all_have_the_same_output_index_stay_apart() -> None:
    other = {**CALL, "id": "fc_2", "call_id": "c2"}
    events = [
        *(added(one, output_index=0) for one in (CALL, other)),
        arguments('{"a":1}', item_id="fc_1", output_index=0),
        arguments('{"a":2}', item_id="fc_2", output_index=0),
    ]

    assert [item["arguments"] for item in items_of(*events, completed())] == ['{"a":1}', '{"a":2}']


def test_items_of_the_last_event_get_earlier_pieces() -> None:
    empty = {"type": "message", "role": "assistant", "content": []}

    assert items_of(text("hi"), completed(empty, {**CALL, "arguments": "{}"})) == [
        message("hi"),
        function_call("c1", "add", "{}"),
    ]


def test_an_incomplete_whole_item_gets_earlier_pieces() -> None:
    events = [added(CALL), arguments('{"a":1}'), done(CALL), completed()]

    assert items_of(*events) == [function_call("c1", "add", '{"a":1}')]


def test_an_empty_object_before_the_arguments_is_ignored() -> None:
    events = [added(CALL), arguments("{}"), arguments('{"a":1}'), completed()]

    assert items_of(*events) == [function_call("c1", "add", '{"a":1}')]


@pytest.mark.parametrize(
    "item",
    [
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        },
        {"type": "message", "role": "assistant", "content": "hi"},
        {"type": "message", "role": "assistant", "content": ["hi"]},
    ],
)
def test_a_message_may_lack_its_type_or_its_parts(item: Item) -> None:
    assert items_of(done(item), completed()) == [message("hi")]


def test_a_call_may_lack_its_type() -> None:
    bare = {"call_id": "c1", "name": "add", "arguments": "{}"}

    assert items_of(completed(bare)) == [function_call("c1", "add", "{}")]


def test_an_item_of_which_nothing_came_is_none() -> None:
    assert items_of(added(CALL), arguments("{}"), added({"type": "reasoning"}), completed()) == [
        function_call("c1", "add", "{}")
    ]


def test_an_item_that_is_null_is_none() -> None:
    whole = response(status="completed", output=[None, message("hi")])
    null = {"type": "response.output_item.done", "item": None}

    assert items_of(null, {"type": "response.completed", "response": whole}) == [message("hi")]


@pytest.mark.parametrize("nothing", [b"data:\n\n", b"data:  \n\n"])
def test_an_event_without_data_is_a_heartbeat(nothing: bytes) -> None:
    reply, _ = received(RESPONSES, nothing, *typed(text("hi")), nothing, sse("[DONE]"))

    assert list(reply.items) == [message("hi")]


def test_a_stream_may_end_with_done_alone() -> None:
    reply, _ = received(RESPONSES, *typed(text("hi")), sse("[DONE]"))

    assert list(reply.items) == [message("hi")]


def test_done_alone_is_no_reply() -> None:
    with pytest.raises(RetryableError, match="ended before"):
        received(RESPONSES, sse("[DONE]"))


@pytest.mark.parametrize("status", ["completed", None, "in_progress"])
@pytest.mark.parametrize("kind", ["response.completed", "response.done"])
def test_the_last_event_says_that_a_response_is_completed(kind: str, status: str | None) -> None:
    whole = response(status=status, output=[message("hi")], usage={"input_tokens": "3"})

    reply, _ = received(RESPONSES, *typed({"type": kind, "response": whole}))

    assert (list(reply.items), reply.ended) == ([message("hi")], "completed")
    assert reply.usage == Usage(3, 0)


def test_the_last_event_may_be_the_response_itself() -> None:
    whole = response(status="completed", output=[message("hi")])

    assert items_of({**whole, "type": "response.completed"}) == [message("hi")]


@pytest.mark.parametrize("details", [None, {}, "?", {"reason": "max_output_tokens"}])
def test_an_incomplete_response_ended_early(details: object) -> None:
    whole = response(output=[message("hi")], incomplete_details=details)

    reply, _ = received(RESPONSES, *typed({"type": "response.incomplete", "response": whole}))

    assert reply.ended == "max_output_tokens"


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "bad"}},
        {"object": "error", "message": "bad"},
        {"type": "error", "message": "bad", "code": "x"},
        {"type": "error", "error": {"message": "bad"}},
        {"type": "response.error", "error": {"message": "bad"}},
        {"type": "response.failed", "response": response(error={"message": "bad"})},
        {"type": "response.failed", "response": response(status="failed", error="bad")},
        {"type": "response.completed", "response": response(status="failed", error="bad")},
        {"detail": "bad"},
    ],
)
def test_an_error_within_a_stream_is_recognized(event: Item) -> None:
    with pytest.raises(ErrorReceived) as caught:
        received(RESPONSES, *typed(text("hi")), sse(event))

    assert caught.value.error["message"] == "bad"


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_whole_response_that_is_not_over_is_no_reply(status: str) -> None:
    with pytest.raises(ErrorReceived, match=status):
        received(RESPONSES, sse(response(status=status)))


def test_calls_without_id_get_one_that_depends_on_the_request() -> None:
    bare = {"type": "function_call", "name": "add"}

    [item] = items_of(added(bare), arguments("{}"), completed())

    assert item["call_id"] == f"call_{HASH[:24]}0"
