"""The body of POST /v1/responses: an invalid parameter returns an error that names it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.attachments import PDF, PNG, file, image
from tests.engine.stage import SHOP
from twelvefold.core.conversation.attachments import ALL_INPUTS
from twelvefold.core.events import DEFAULT_OPTIONS, RequestOptions
from twelvefold.web.http.errors import ApiError
from twelvefold.web.schemas.decode import parse_json
from twelvefold.web.schemas.turns import TurnRequest, parse_turn

Json = dict[str, Any]
SHOPS = {"shop": SHOP}
USER = {"type": "message", "role": "user", "content": "hi"}
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}


def parsed(
    headers: Mapping[str, str] | None = None, *, accepts: frozenset[str] = frozenset(), **body: Any
) -> TurnRequest:
    whole = {"model": "shop", "input": "hi"} | body
    return parse_turn(whole, headers or {}, SHOPS, lambda *_: [accepts])


def refusal(headers: Mapping[str, str] | None = None, **body: Any) -> tuple[Any, ...]:
    with pytest.raises(ApiError) as caught:
        parsed(headers, **body)
    assert caught.value.status in (400, 404)
    return caught.value.code, caught.value.param


def test_a_request_with_an_input_alone_has_default_options() -> None:
    request = parsed()

    assert request == TurnRequest(SHOP, (USER,), DEFAULT_OPTIONS)
    assert request.options is DEFAULT_OPTIONS


def test_null_equals_a_parameter_that_is_left_out() -> None:
    nothing: Json = dict.fromkeys(
        ("instructions", "tools", "conversation", "previous_response_id", "metadata", "stream")
    )

    assert parsed(**nothing) == parsed()


def test_every_accepted_parameter_is_in_the_options() -> None:
    request = parsed(
        instructions="Be brief.",
        tools=[WEATHER | {"strict": None, "description": "Look outside."}],
        tool_choice={"type": "function", "name": "get_weather"},
        parallel_tool_calls=False,
        max_tool_calls=3,
        max_output_tokens=16,
        temperature=1,
        top_p=0.5,
        text={"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
        reasoning={"effort": "low", "summary": None},
        stream=True,
        stream_options={"include_obfuscation": False},
        metadata={"a": "b"},
        user="ann",
        truncation="auto",
        top_logprobs=2,
        include=["reasoning.encrypted_content"],
        service_tier="auto",
        conversation={"id": "conv_1"},
    )

    assert request.options == RequestOptions(
        instructions="Be brief.",
        tools=(WEATHER | {"description": "Look outside."},),
        tool_choice={"type": "function", "name": "get_weather"},
        parallel_tool_calls=False,
        max_tool_calls=3,
        max_output_tokens=16,
        temperature=1.0,
        top_p=0.5,
        text={"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
        reasoning={"effort": "low"},
        stream=True,
        metadata={"a": "b"},
        echo={"user": "ann", "truncation": "auto", "top_logprobs": 2},
        conversation=True,
    )
    assert (request.stream, request.conversation) == (True, "conv_1")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": None}, "missing_required_parameter", "model"),
        ({"model": 7}, "invalid_type", "model"),
        ({"model": "nope"}, "model_not_found", "model"),
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": 7}, "invalid_type", "input"),
        ({"input": []}, "array_below_min_length", "input"),
        ({"temperature": 9}, "decimal_above_max_value", "temperature"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
        ({"temperature": True}, "invalid_type", "temperature"),
        ({"top_p": -0.1}, "decimal_below_min_value", "top_p"),
        ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
        ({"max_output_tokens": 10**30}, "integer_above_max_value", "max_output_tokens"),
        ({"max_output_tokens": 16.5}, "invalid_type", "max_output_tokens"),
        ({"max_tool_calls": 0}, "integer_below_min_value", "max_tool_calls"),
        ({"top_logprobs": 21}, "integer_above_max_value", "top_logprobs"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"instructions": ["x"]}, "invalid_type", "instructions"),
        ({"metadata": {str(n): "" for n in range(17)}}, "object_above_max_properties", "metadata"),
        ({"metadata": {"a": "x" * 513}}, "string_above_max_length", "metadata.a"),
        ({"metadata": {"a": 1}}, "invalid_type", "metadata.a"),
        ({"metadata": {"x" * 65: ""}}, "invalid_value", "metadata"),
        ({"truncation": "middle"}, "invalid_value", "truncation"),
        ({"text": {"format": {"type": "xml"}}}, "unsupported_value", "text.format.type"),
        (
            {"text": {"format": {"type": "json_object", "schema": {}}}},
            "unsupported_value",
            "text.format.type",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "a"}}},
            "missing_required_parameter",
            "text.format.schema",
        ),
        ({"reasoning": {"depth": 1}}, "unknown_parameter", "reasoning.depth"),
        ({"colour": "red"}, "unknown_parameter", "colour"),
        ({"prompt": {"id": "p"}}, "unsupported_parameter", "prompt"),
        ({"moderation": {}}, "unsupported_parameter", "moderation"),
        ({"context_management": []}, "unsupported_parameter", "context_management"),
        ({"background": True, "store": False}, "unsupported_value", "background"),
        ({"stream_options": {}}, "invalid_value", "stream_options"),
        (
            {"previous_response_id": "resp_1", "conversation": "conv_1"},
            "mutually_exclusive_parameters",
            "previous_response_id",
        ),
        ({"conversation": ""}, "invalid_value", "conversation"),
        ({"previous_response_id": ""}, "invalid_value", "previous_response_id"),
        ({"conversation": {"name": "x"}}, "missing_required_parameter", "conversation.id"),
    ],
)
def test_the_error_names_the_invalid_parameter(body: Json, code: str, param: str) -> None:
    assert refusal(**body) == (code, param)


@pytest.mark.parametrize(
    ("tool", "code", "param"),
    [
        ({"type": "mcp", "server_url": "http://x"}, "unsupported_value", "tools[0].type"),
        ({"type": "web_search"}, "unsupported_value", "tools[0].type"),
        ({"name": "x"}, "missing_required_parameter", "tools[0].type"),
        ({"type": "function"}, "missing_required_parameter", "tools[0].name"),
        (WEATHER | {"name": "get weather"}, "invalid_value", "tools[0].name"),
        (WEATHER | {"name": "buy"}, "invalid_value", "tools[0].name"),
        (WEATHER | {"parameters": []}, "invalid_type", "tools[0].parameters"),
        (WEATHER | {"parameters": {"type": "array"}}, "invalid_value", "tools[0].parameters"),
        (
            WEATHER | {"parameters": {"properties": {"a": 7}}},
            "invalid_type",
            "tools[0].parameters.properties.a",
        ),
        (WEATHER | {"url": "http://x"}, "unknown_parameter", "tools[0].url"),
        (
            {"type": "function", "function": {"name": "x"}},
            "missing_required_parameter",
            "tools[0].name",
        ),
    ],
)
def test_a_tool_that_is_no_function_of_the_caller_is_invalid(
    tool: Json, code: str, param: str
) -> None:
    assert refusal(tools=[tool]) == (code, param)


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_a_format_without_a_schema_is_kept(kind: str) -> None:
    assert parsed(text={"format": {"type": kind}}).options == RequestOptions(
        text={"format": {"type": kind}}
    )


@pytest.mark.parametrize("kind", ["mcp_call", "function", "hidden"])
def test_a_header_sets_how_the_servers_calls_are_shown(kind: str) -> None:
    assert parsed({"Twelvefold-Tool-Items": kind}).options == RequestOptions(tool_items=kind)


@pytest.mark.parametrize("kind", ["none", "HIDDEN", "function,hidden"])
def test_an_unknown_value_of_that_header_is_invalid(kind: str) -> None:
    found = refusal({"Twelvefold-Tool-Items": kind})

    assert found == ("invalid_value", "Twelvefold-Tool-Items")


def test_two_tools_with_one_name_are_invalid() -> None:
    assert refusal(tools=[WEATHER, WEATHER]) == ("invalid_value", "tools[1].name")


@pytest.mark.parametrize(
    ("choice", "code", "param"),
    [
        ("always", "invalid_value", "tool_choice"),
        ({"type": "function", "name": "fly"}, "invalid_value", "tool_choice.name"),
        ({"type": "web_search"}, "unsupported_value", "tool_choice.type"),
        ({"type": "allowed_tools", "tools": []}, "missing_required_parameter", "tool_choice.mode"),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function"}]},
            "missing_required_parameter",
            "tool_choice.tools[0].name",
        ),
    ],
)
def test_a_choice_of_unknown_tools_is_invalid(choice: object, code: str, param: str) -> None:
    assert refusal(tool_choice=choice) == (code, param)


def test_a_choice_may_name_tools_of_the_server_and_of_the_caller() -> None:
    tools = [{"type": "function", "name": name} for name in ("buy", "get_weather")]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": tools}

    assert parsed(tools=[WEATHER], tool_choice=choice).options.tool_choice == choice


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (7, "invalid_type", "input[0]"),
        ({"type": "computer_call"}, "unsupported_value", "input[0].type"),
        ({"type": 7}, "unsupported_value", "input[0].type"),
        ({"role": "user"}, "missing_required_parameter", "input[0].content"),
        ({"content": "hi"}, "missing_required_parameter", "input[0].role"),
        (USER | {"role": "root"}, "invalid_value", "input[0].role"),
        (USER | {"colour": "red"}, "unknown_parameter", "input[0].colour"),
        (USER | {"content": [{"text": "x"}]}, "unsupported_value", "input[0].content[0].type"),
        (
            USER | {"content": [{"type": "input_file"}]},
            "missing_required_parameter",
            "input[0].content[0].file_data",
        ),
        (
            USER | {"content": [{"type": "input_text", "text": 7}]},
            "invalid_type",
            "input[0].content[0].text",
        ),
        ({"type": "item_reference"}, "missing_required_parameter", "input[0].id"),
        (OUTPUT | {"output": None}, "missing_required_parameter", "input[0].output"),
        (
            {"type": "mcp_approval_response", "approval_request_id": "x", "approve": "yes"},
            "invalid_type",
            "input[0].approve",
        ),
    ],
)
def test_the_error_names_the_invalid_item(item: object, code: str, param: str) -> None:
    assert refusal(input=[item]) == (code, param)


TEXT = {"type": "input_text", "text": "look"}
IMAGE = image()
FILE = file()


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([USER | {"content": [IMAGE]}], "input[0].content[0].type"),
        (
            [USER, USER | {"content": [{"type": "input_text", "text": "look"}, IMAGE]}],
            "input[1].content[1].type",
        ),
        ([USER | {"role": "developer", "content": [IMAGE]}], "input[0].content[0].type"),
        ([CALL, OUTPUT | {"output": [IMAGE]}], "input[1].output[0].type"),
        ([USER | {"content": [FILE]}], "input[0].content[0].type"),
        ([CALL, OUTPUT | {"output": [FILE]}], "input[1].output[0].type"),
    ],
)
def test_an_image_or_a_file_is_invalid_for_a_model_that_takes_text_alone(
    items: list[Json], param: str
) -> None:
    assert refusal(input=items) == ("unsupported_value", param)
    assert parsed(input=items, accepts=ALL_INPUTS).items == tuple(items)


@pytest.mark.parametrize(
    ("part", "code", "member"),
    [
        ({"type": "input_image", "file_id": "f"}, "unsupported_parameter", "file_id"),
        ({"type": "input_image"}, "missing_required_parameter", "image_url"),
        (image("ftp://host"), "invalid_value", "image_url"),
        (image("data:image/svg+xml;base64,PHN2Zz4="), "unsupported_value", "image_url"),
        ({"type": "input_file", "file_id": "f"}, "unsupported_parameter", "file_id"),
        ({"type": "input_file", "file_data": PDF}, "missing_required_parameter", "filename"),
        (file(PNG), "unsupported_value", "file_data"),
        ({"type": "input_audio"}, "unsupported_value", "type"),
    ],
)
def test_the_error_names_the_invalid_member_of_an_image_or_file(
    part: Json, code: str, member: str
) -> None:
    for item, place in (({"content": [part]}, "content"), ({"output": [TEXT, part]}, "output")):
        base = USER if place == "content" else OUTPUT
        with pytest.raises(ApiError) as caught:
            parsed(input=[base | item], accepts=ALL_INPUTS)

        index = 0 if place == "content" else 1
        assert caught.value.code == code
        assert caught.value.param == f"input[0].{place}[{index}].{member}"


def test_items_are_kept_without_members_that_are_null() -> None:
    picture = image(detail="auto", file_id=None)
    text = {"type": "input_text", "text": "hi"}
    mcp = {"type": "mcp_call", "id": "mcp_1", "name": "buy", "arguments": "{}", "output": "done"}
    part = {"type": "output_text", "text": "no", "annotations": [], "logprobs": []}
    items = [
        {"role": "user", "content": [text, picture]},
        {"role": "assistant", "content": [part], "id": "msg_1", "status": "completed"},
        mcp | {"error": None, "server_label": "shop", "approval_request_id": None},
        {"id": "msg_2"},
        {"id": "msg_3", "type": None},
        CALL | {"id": None},
        OUTPUT,
    ]

    assert parsed(input=items, accepts=ALL_INPUTS).items == (
        {
            "type": "message",
            "role": "user",
            "content": [
                text,
                image(detail="auto"),
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [part],
            "id": "msg_1",
            "status": "completed",
        },
        mcp | {"server_label": "shop"},
        {"type": "item_reference", "id": "msg_2"},
        {"type": "item_reference", "id": "msg_3"},
        CALL,
        OUTPUT,
    )


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'"\\ud800"', b'"\\udc00x"', b"\xff"])
def test_a_body_that_is_not_json_is_invalid(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(body)

    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_the_order_of_members_does_not_change_the_hash_of_a_body() -> None:
    headers = {"idempotency-key": "k"}

    one = parse_turn({"model": "shop", "input": "hi", "user": "a"}, headers, SHOPS)
    two = parse_turn({"user": "a", "input": "hi", "model": "shop"}, headers, SHOPS)
    other = parse_turn({"model": "shop", "input": "hi"}, headers, SHOPS)

    assert one.key is not None
    assert other.key is not None
    assert one.key == two.key
    assert one.key.body_hash != other.key.body_hash


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
def test_an_invalid_idempotency_key_is_refused(key: str) -> None:
    assert refusal({"idempotency-key": key}) == ("invalid_value", "Idempotency-Key")


def test_a_request_that_passed_through_too_many_instances_is_refused() -> None:
    assert parsed({"x-twelvefold-hops": "5"}).options == RequestOptions(hops=5)
    assert refusal({"x-twelvefold-hops": "6"}) == ("too_many_hops", None)
    assert parsed({"x-twelvefold-hops": "many"}).options == DEFAULT_OPTIONS


def test_an_error_shortens_the_name_of_a_long_parameter() -> None:
    with pytest.raises(ApiError) as caught:
        parse_turn({"x" * 1_000: "\u2028", "model": "shop", "input": "hi"}, {}, SHOPS)

    assert len(json.dumps(caught.value.body)) < 500
