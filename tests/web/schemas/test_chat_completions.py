"""The body of POST /v1/chat/completions, and the turn that it requests."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.attachments import PDF, PNG, file, image
from tests.engine.stage import SHOP
from twelvefold.core.conversation.attachments import ALL_INPUTS
from twelvefold.core.events import Item, RequestOptions
from twelvefold.web.http.errors import ApiError
from twelvefold.web.schemas.chat_completions import ChatRequest, parse_chat

Json = dict[str, Any]
USER = {"role": "user", "content": "hi"}
WEATHER = {"name": "get_weather", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": WEATHER}
FILE = {"type": "file", "file": {"file_data": PDF, "filename": "bill.pdf"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
IMAGE = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}


def chat(
    headers: Mapping[str, str] | None = None, accepts: frozenset[str] = frozenset(), **body: Any
) -> ChatRequest:
    whole = {"model": "shop", "messages": [USER]} | body
    return parse_chat(whole, headers or {}, {"shop": SHOP}, lambda *_: [accepts])


def options(**body: Any) -> RequestOptions:
    return chat(**body).turn.options


def items(*messages: Json) -> tuple[Item, ...]:
    return chat(messages=list(messages)).turn.items


def call(id: str = "c1") -> Item:
    return {"type": "function_call", "call_id": id, "name": "get_weather", "arguments": "{}"}


def result(output: object = "sunny", id: str = "c1") -> Item:
    return {"type": "function_call_output", "call_id": id, "output": output}


def message(role: str, content: object) -> Item:
    return {"type": "message", "role": role, "content": content}


def test_a_chat_completion_is_a_turn_that_is_not_stored() -> None:
    messages = [
        {"role": "system", "content": "Be brief.", "name": "x"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE, FILE]},
        {"role": "assistant", "content": "I see.", "refusal": None, "tool_calls": []},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}}
    request = chat(
        accepts=ALL_INPUTS,
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=5,
        temperature=0.5,
        response_format=form,
        reasoning_effort="low",
        metadata={"a": "b"},
        n=1,
        stop=None,
        presence_penalty=0,
        logprobs=False,
        tools=[],
        user="ann",
        store=True,
        seed=7,
    )

    text = {"type": "input_text", "text": "look"}
    picture = image(detail="low")
    assert request.turn.items == (
        message("system", "Be brief."),
        message("user", [text, picture, file()]),
        message("assistant", "I see."),
    )
    assert request.turn.options == RequestOptions(
        max_output_tokens=16,
        temperature=0.5,
        text={"format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}},
        reasoning={"effort": "low"},
        metadata={"a": "b"},
        stream=True,
        store=False,
        tool_items="hidden",
    )
    assert request.with_usage


# --- tools ----------------------------------------------------------------------------------------


def test_the_tools_of_a_chat_are_those_of_the_turn() -> None:
    described = WEATHER | {"description": "Look outside.", "strict": None}

    wanted = options(
        tools=[{"type": "function", "function": described}, TOOL | {"function": {"name": "b"}}],
        parallel_tool_calls=False,
    )

    assert wanted.tools == (
        {"type": "function", **WEATHER, "description": "Look outside."},
        {"type": "function", "name": "b"},
    )
    assert wanted.parallel_tool_calls is False


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            {"type": "function", "name": "get_weather"},
        ),
        (
            {"type": "function", "function": {"name": "buy"}},
            {"type": "function", "name": "buy"},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "get_weather"}}],
                },
            },
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "get_weather"}],
            },
        ),
    ],
)
def test_the_tool_choice_of_a_chat_is_that_of_the_turn(choice: object, kept: object) -> None:
    assert options(tools=[TOOL], tool_choice=choice).tool_choice == kept


# --- messages -------------------------------------------------------------------------------------


def test_calls_and_results_in_the_history_are_items() -> None:
    two = CALL | {"id": "c2"}
    parts = [{"type": "text", "text": "rainy"}]

    assert items(
        USER,
        {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, two]},
        RESULT | {"name": "get_weather"},
        {"role": "tool", "tool_call_id": "c2", "content": parts},
        USER,
    ) == (
        message("user", "hi"),
        message("assistant", "Let me look."),
        call(),
        call("c2"),
        result(),
        result([{"type": "input_text", "text": "rainy"}], "c2"),
        message("user", "hi"),
    )


@pytest.mark.parametrize("content", [None, "", [], "missing"])
def test_a_message_with_calls_needs_no_content(content: object) -> None:
    message = {"role": "assistant", "content": content, "tool_calls": [CALL]}
    if content == "missing":
        del message["content"]

    assert items(message, RESULT) == (call(), result())


@pytest.mark.parametrize(
    "odd",
    [
        CALL | {"index": 0},
        CALL | {"extra_content": {"google": {"thought_signature": "x"}}},
        CALL | {"function": {"name": "get_weather", "arguments": "{}", "parsed_arguments": {}}},
        {key: value for key, value in CALL.items() if key != "type"},
    ],
)
def test_members_that_a_client_adds_to_a_call_are_ignored(odd: Json) -> None:
    assert items({"role": "assistant", "tool_calls": [odd]}, RESULT) == (call(), result())


@pytest.mark.parametrize(
    "added",
    [
        {"reasoning_content": "Hm."},
        {"provider_specific_fields": {"refusal": None}},
        {"reasoning_details": [{"type": "reasoning.text"}], "parsed": {"a": 1}},
    ],
)
def test_members_that_a_client_adds_to_an_assistant_message_are_ignored(added: Json) -> None:
    assert items(CALLS | added, RESULT) == (call(), result())
    assert items({"role": "assistant", "content": "hi"} | added) == (message("assistant", "hi"),)


def test_an_assistant_message_may_have_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]

    assert items({"role": "assistant", "content": parts}) == (
        message("assistant", [{"type": "output_text", "text": "a"}, parts[1]]),
    )
    assert items({"role": "assistant", "refusal": "no"}) == (message("assistant", "no"),)


@pytest.mark.parametrize(
    "messages",
    [
        [CALLS, RESULT, RESULT],
        [CALLS, RESULT, USER, RESULT],
        [CALLS, CALLS, RESULT],
        [CALLS, RESULT | {"content": "sunny"}, {**RESULT, "content": "changed"}],
    ],
)
def test_a_repeated_result_is_dropped(messages: list[Json]) -> None:
    kept = [item for item in items(*messages) if item["type"] != "message"]

    assert kept == [call(), result()]


def test_an_id_may_be_used_again_for_a_later_call() -> None:
    assert items(CALLS, RESULT, CALLS, RESULT) == (call(), result(), call(), result())


# --- stop sequences and formats -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "kept"),
    [
        (None, ()),
        ([], ()),
        ("\n", ("\n",)),
        (["Observation:", "Calling tools:"], ("Observation:", "Calling tools:")),
    ],
)
def test_stop_sequences_are_kept(stop: object, kept: tuple[str, ...]) -> None:
    assert options(stop=stop).stop == kept


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_a_format_without_a_schema_is_passed_on(kind: str) -> None:
    assert options(response_format={"type": kind}).text == {"format": {"type": kind}}


def test_a_call_id_may_be_as_long_as_the_models_server_made_it() -> None:
    long = "call_" + "s" * 5_000
    asks = CALLS | {"tool_calls": [CALL | {"id": long}]}

    assert items(USER, asks, RESULT | {"tool_call_id": long})[1:] == (
        call(long),
        result(id=long),
    )


# --- refusals -------------------------------------------------------------------------------------


def with_content(*parts: Json, role: str = "user") -> list[Json]:
    return [{"role": role, "content": list(parts)}]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"messages": []}, "array_below_min_length", "messages"),
        ({"model": "nope"}, "model_not_found", "model"),
        ({"n": 2}, "integer_above_max_value", "n"),
        ({"logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"presence_penalty": 1}, "unsupported_parameter", "presence_penalty"),
        ({"functions": [WEATHER]}, "unsupported_parameter", "functions"),
        ({"function_call": {"name": "a"}}, "unsupported_parameter", "function_call"),
        ({"colour": "red"}, "unknown_parameter", "colour"),
        ({"response_format": {"type": "xml"}}, "unsupported_value", "response_format.type"),
        ({"stream_options": {}}, "invalid_value", "stream_options"),
        ({"messages": [USER | {"colour": "red"}]}, "unknown_parameter", "messages[0].colour"),
        ({"stop": ""}, "invalid_value", "stop"),
        ({"stop": ["a", ""]}, "invalid_value", "stop[1]"),
        ({"stop": list("abcde")}, "array_above_max_length", "stop"),
        ({"stop": 7}, "invalid_type", "stop"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].function"),
        ({"tools": [{"function": WEATHER}]}, "missing_required_parameter", "tools[0].type"),
        ({"tools": [{"type": "custom"}]}, "unsupported_value", "tools[0].type"),
        ({"tools": [TOOL, TOOL]}, "invalid_value", "tools[1].function.name"),
        (
            {"tools": [TOOL | {"function": {"name": "buy"}}]},
            "invalid_value",
            "tools[0].function.name",
        ),
        (
            {"tools": [TOOL | {"function": WEATHER | {"parameters": {"type": "array"}}}]},
            "invalid_value",
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "always"}, "invalid_value", "tool_choice"),
        ({"tool_choice": {"type": "custom"}}, "unsupported_value", "tool_choice.type"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "fly"}}},
            "invalid_value",
            "tool_choice.function.name",
        ),
        (
            {"tool_choice": {"type": "function", "name": "buy"}},
            "missing_required_parameter",
            "tool_choice.function",
        ),
        (
            {"messages": [{"role": "function", "name": "a", "content": "x"}]},
            "unsupported_value",
            "messages[0].role",
        ),
        ({"messages": [USER | {"role": "root"}]}, "invalid_value", "messages[0].role"),
        (
            {"messages": [{"role": "assistant", "content": None}]},
            "missing_required_parameter",
            "messages[0].content",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "missing_required_parameter",
            "messages[0].tool_call_id",
        ),
        ({"messages": [USER, RESULT]}, "invalid_call_id", "messages[1].tool_call_id"),
        (
            {"messages": [CALLS, RESULT, RESULT | {"tool_call_id": "c2"}]},
            "invalid_call_id",
            "messages[2].tool_call_id",
        ),
        ({"messages": [CALLS, USER]}, "invalid_call_id", "messages"),
        (
            {"messages": [CALLS | {"tool_calls": [CALL | {"type": "custom"}]}]},
            "unsupported_value",
            "messages[0].tool_calls[0].type",
        ),
        (
            {"messages": [CALLS | {"tool_calls": [{"id": "c1"}]}]},
            "missing_required_parameter",
            "messages[0].tool_calls[0].function",
        ),
        ({"messages": with_content(IMAGE)}, "unsupported_value", "messages[0].content[0].type"),
        (
            {"messages": [USER, *with_content({"type": "text", "text": "look"}, IMAGE)]},
            "unsupported_value",
            "messages[1].content[1].type",
        ),
        (
            {"messages": with_content({"type": "file", "file": {"file_id": "f"}})},
            "unsupported_parameter",
            "messages[0].content[0].file.file_id",
        ),
        (
            {"messages": with_content({"type": "file", "file": {"file_data": PDF}})},
            "missing_required_parameter",
            "messages[0].content[0].file.filename",
        ),
        (
            {"messages": with_content({"type": "image_url", "image_url": {"url": "x"}})},
            "invalid_value",
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": with_content(FILE)},
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        (
            {"messages": with_content({"type": "input_audio", "input_audio": {}})},
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        (
            {"messages": [CALLS, RESULT | {"content": [IMAGE]}]},
            "unsupported_value",
            "messages[1].content[0].type",
        ),
        (
            {"messages": with_content(IMAGE, role="assistant")},
            "unsupported_value",
            "messages[0].content[0].type",
        ),
    ],
)
def test_the_error_names_the_invalid_parameter(body: Json, code: str, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        chat(**body)

    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.status in (400, 404)
