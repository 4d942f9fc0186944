import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.responses import FunctionToolParam, ResponseInputItemParam
from pydantic import TypeAdapter

from tests.attachments import file, image
from tests.attachments import message as attached
from tests.services.model.builders import (
    ENROL,
    HASH,
    FixedSettings,
    model_request,
    output,
    received,
    user,
)
from tests.services.model.streams import FakeReply, response, responses_events, sse, typed
from twelvefold.core.events import Item, Usage
from twelvefold.core.ports import ModelRequest
from twelvefold.services.model.errors import ErrorReceived, RetryableError
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai.responses import RESPONSES

REASONING: Item = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "encrypted_content": "gAAA",
    "new_field": {"deep": [1]},
}
CONVERSATION = (
    user("enrol me"),
    {**REASONING, "provider": "api.example/v1 gpt"},
    {**message("Let me see."), "phase": "commentary"},
    function_call("call_1", "enrol", '{"course": "x"}'),
    output("call_1", "Error: full"),
    message("", refusal="I cannot."),
    user("why?"),
)


def sent(
    request: ModelRequest, settings: FixedSettings | None = None, *without: str
) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        RESPONSES.encode(request, settings or FixedSettings(), frozenset(without))
    )
    return body


def items_done(*items: Item, **fields: Any) -> list[bytes]:
    done = [{"type": "response.output_item.done", "output_index": 0, "item": i} for i in items]
    whole = response(status="completed", **fields)
    return typed(*done, {"type": "response.completed", "response": whole})


def test_a_request_asks_for_an_unstored_stream() -> None:
    assert sent(model_request(user("hello"))) == {
        "model": "gpt-test",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "instructions": "Be brief.",
        "input": [user("hello")],
        "tools": [
            {
                "type": "function",
                "name": "enrol",
                "description": "Enrol the caller in a course.",
                "parameters": ENROL.parameters,
                "strict": True,
            }
        ],
    }


def test_images_and_files_are_sent_as_they_are() -> None:
    look = attached(image(detail="low"), file(), {"type": "input_file", "file_url": "https://a/b"})
    result = {**output("call_1", ""), "output": [image("https://example.org/a.png")]}
    call = function_call("call_1", "enrol", "{}")

    assert sent(model_request(look, call, result))["input"] == [look, call, result]


def test_a_conversation_is_sent_without_server_state() -> None:
    assert sent(model_request(*CONVERSATION))["input"] == [
        user("enrol me"),
        REASONING,
        {"type": "message", "role": "assistant", "content": "Let me see.", "phase": "commentary"},
        function_call("call_1", "enrol", '{"course": "x"}'),
        output("call_1", "Error: full"),
        {"type": "message", "role": "assistant", "content": "I cannot."},
        user("why?"),
    ]


def test_the_request_is_valid_for_openais_types() -> None:
    body = sent(model_request(*CONVERSATION))

    for item in body["input"]:
        TypeAdapter(ResponseInputItemParam).validate_python(item)
    for tool in body["tools"]:
        TypeAdapter(FunctionToolParam).validate_python(tool)


def test_the_operators_settings_are_sent() -> None:
    body = sent(model_request(), FixedSettings("o3", temperature=0.0, max_output_tokens=100))

    assert (body["model"], body["temperature"], body["max_output_tokens"]) == ("o3", 0.0, 100)


def test_what_a_server_refuses_is_left_out() -> None:
    body = sent(model_request(*CONVERSATION), None, "include", "input.reasoning")

    assert "include" not in body
    assert REASONING not in body["input"]


@pytest.mark.parametrize(
    ("reasoning", "is_sent"),
    [
        ({"type": "reasoning", "id": "rs_1", "summary": []}, False),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"text": "hm"}]}, True),
    ],
)
def test_reasoning_with_nothing_in_it_is_not_sent(reasoning: Item, is_sent: bool) -> None:
    assert (
        reasoning in sent(model_request(user("hi"), reasoning, message("Hi")))["input"]
    ) == is_sent


def test_empty_tools_and_instructions_are_left_out() -> None:
    body = sent(ModelRequest("", (user("hi"),)))

    assert not {"tools", "instructions"} & set(body)


def test_a_reply_is_stored_without_empty_fields() -> None:
    text = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
    items = [
        {**REASONING, "content": None, "status": "completed"},
        {
            "id": "msg_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "phase": "final_answer",
            "content": [text, {"type": "new_kind", "x": 1}],
        },
        {"id": "fc_1", "status": "completed", **function_call("c1", "enrol", "{}"), "new": 1},
        {"type": "mcp_call", "id": "mcp_1", "status": "completed", "name": "x", "error": None},
    ]

    reply, _ = received(RESPONSES, *items_done(*items))

    assert reply.items == (
        REASONING,
        {
            "type": "message",
            "role": "assistant",
            "phase": "final_answer",
            "content": [
                {"type": "output_text", "text": "Hi", "annotations": []},
                {"type": "new_kind", "x": 1},
            ],
        },
        {**function_call("c1", "enrol", "{}"), "new": 1},
        {"type": "mcp_call", "id": "mcp_1", "name": "x"},
    )


def test_a_reply_has_model_and_usage() -> None:
    reply, _ = received(RESPONSES, *responses_events(FakeReply("Hi", usage=(100, 20, 30, 5))))

    assert reply.usage == Usage(100, 20, 30, 5)
    assert (reply.model, reply.request_hash, reply.ended) == ("gpt-test-2026", HASH, "completed")


def test_a_reply_may_lack_model_and_usage() -> None:
    reply, _ = received(RESPONSES, *items_done(message("Hi"), usage=None, model=None))

    assert (reply.usage, reply.model) == (Usage(), "gpt-requested")


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
def test_a_truncated_reply_has_its_reason(ended: Any) -> None:
    reply, listener = received(RESPONSES, *responses_events(FakeReply("So far", ended=ended)))

    assert reply.ended == ended
    assert listener.text_now == "So far"


def test_a_refusal_is_shown_and_stored_as_a_refusal() -> None:
    refusal = {"type": "refusal", "refusal": "I cannot."}
    item = {**message(""), "content": [refusal]}

    reply, listener = received(
        RESPONSES,
        *typed({"type": "response.refusal.delta", "delta": "I cannot."}),
        *items_done(item),
    )

    assert reply.items == (item,)
    assert listener.text_now == "I cannot."


def test_unknown_events_are_ignored() -> None:
    events = [*typed({"type": "response.brand_new", "delta": "?"}), sse({}), sse({"ping": 1})]

    reply, listener = received(RESPONSES, *events, *items_done(message("Hi")), sse("[DONE]"))

    assert reply.items == (message("Hi"),)
    assert listener.deltas == []


def test_content_may_be_a_text() -> None:
    reply, _ = received(RESPONSES, *items_done({**message(""), "content": "Hi"}))

    assert reply.items == (message("Hi"),)


def test_items_may_come_with_the_last_event_only() -> None:
    reply, _ = received(RESPONSES, *items_done(output=[message("Hi")]))

    assert reply.items == (message("Hi"),)


def test_a_call_without_id_gets_one_and_arguments_become_text() -> None:
    bare = {"type": "function_call", "name": "enrol"}

    reply, _ = received(RESPONSES, *items_done({**bare, "arguments": {"a": 1}}, bare))

    ids = [item["call_id"] for item in reply.items]
    assert [item["arguments"] for item in reply.items] == ['{"a": 1}', "{}"]
    assert ids == [f"call_{HASH[:24]}0", f"call_{HASH[:24]}1"]


def test_a_character_split_over_two_events_is_joined() -> None:
    deltas = ['"a\\ud83d"', '"\\ude00b"', '"\\ud83dc"', '"d\\ud83d"']
    events = [f'data: {{"type":"response.output_text.delta","delta":{d}}}\n\n' for d in deltas]
    whole = '{"type":"output_text","text":"a\\ud83d\\ude00b\\ud83dcd\\ud83d","annotations":[]}'
    done = '{"type":"response.output_item.done","item":{"type":"message","role":"assistant",'

    reply, listener = received(
        RESPONSES,
        *(event.encode() for event in events),
        f'data: {done}"content":[{whole}]}}}}\n\n'.encode(),
        *items_done(),
    )

    assert listener.deltas == ["a", "😀b", "\ufffdc", "d", "\ufffd"]
    assert reply.items == (message("a😀b\ufffdcd\ufffd"),)


def test_a_whole_reply_without_a_stream_is_read() -> None:
    call = function_call("c1", "enrol", "{}")
    whole = response(status="completed", output=[message("Hi"), call])

    reply, listener = received(RESPONSES, sse(whole))

    assert reply.items == (message("Hi"), call)
    assert listener.text_now == "Hi"


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (
            {"type": "response.failed", "response": response(status="failed", error={"code": "x"})},
            {"code": "x"},
        ),
        (
            {"type": "response.completed", "response": response(status="cancelled")},
            {"message": "the reply is cancelled"},
        ),
        ({"type": "error", "code": "x", "message": "y"}, None),
        ({"type": "error", "error": {"code": "x"}}, {"code": "x"}),
        ({"error": {"code": "x"}}, {"code": "x"}),
    ],
)
def test_an_error_within_a_stream_is_raised(event: Item, error: Item | None) -> None:
    with pytest.raises(ErrorReceived) as caught:
        received(RESPONSES, sse(event))

    assert caught.value.error == (error or event)


def test_a_stream_without_its_last_event_is_retried() -> None:
    *events, _ = responses_events(FakeReply("Hi"))

    with pytest.raises(RetryableError, match="the stream ended before the reply was complete"):
        received(RESPONSES, *events)


DEEP = "[" * 100_000
DEEP_ITEM = f'{{"type": "response.output_item.done", "item": {DEEP}{DEEP.replace("[", "]")}}}'


ITEM_7 = '{"type": "response.output_item.done", "item": 7}'


@pytest.mark.parametrize(
    "data", ['{"type": "resp', "[1]", ITEM_7, "null", '"\\ud83d"', DEEP, DEEP_ITEM]
)
def test_an_invalid_event_is_retried(data: str) -> None:
    with pytest.raises(RetryableError, match=r"malformed JSON|is not an object"):
        received(RESPONSES, f"data: {data}\n\n".encode(), *items_done())


def test_invalid_utf_8_is_retried() -> None:
    item = b'data: {"type":"response.output_item.done","item":{"type":"message","role":"\xff"}}\n\n'

    with pytest.raises(RetryableError, match="malformed JSON"):
        received(RESPONSES, item, *items_done())


def test_fields_of_a_wrong_type_are_tolerated() -> None:
    odd = [{"type": 7}, {"type": "response.output_text.delta", "delta": {"text": "?"}}]

    reply, listener = received(RESPONSES, *map(sse, odd), *items_done(message("Hi")))

    assert reply.items == (message("Hi"),)
    assert listener.deltas == []


def test_the_callers_options_override_the_settings() -> None:
    options = {
        "max_output_tokens": 16,
        "tool_choice": {"type": "function", "name": "enrol"},
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "low"},
        "top_p": 0.5,
        "parallel_tool_calls": False,
    }
    request = replace(model_request(), options=options)

    body = sent(request, FixedSettings(temperature=0.5, max_output_tokens=99))

    assert body | options == body


def test_stop_sequences_are_not_sent_by_an_api_that_has_none() -> None:
    request = replace(model_request(), options={"stop": ["a"], "temperature": 0.5})

    body = sent(request)

    assert "stop" not in body
    assert body["temperature"] == 0.5
    assert body["temperature"] == 0.5


def test_calls_executed_by_another_instance_are_not_run() -> None:
    done: Item = {"type": "mcp_call", "id": "mcp_1", "name": "look", "output": "3"}

    reply, _ = received(RESPONSES, *items_done(done, message("There are three.")))

    assert reply.items == (done, message("There are three."))


@pytest.mark.parametrize(
    ("wanted", "limit", "is_sent"),
    [(2_000_000, 100, 100), (16, 100, 16), (None, 100, 100), (16, None, 16), (None, None, None)],
)
def test_the_operators_limit_bounds_the_callers(
    wanted: int | None, limit: int | None, is_sent: int | None
) -> None:
    options = {"max_output_tokens": wanted} if wanted else {}

    body = sent(replace(model_request(), options=options), FixedSettings(max_output_tokens=limit))

    assert body.get("max_output_tokens") == is_sent
