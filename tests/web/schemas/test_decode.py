"""Decoding a body: an error names the parameter and has a code, whatever the caller sends."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attachments import PDF, PNG, file, image
from tests.engine.stage import SHOP
from twelvefold.core.conversation.attachments import ALL_INPUTS
from twelvefold.web.http.errors import ApiError
from twelvefold.web.schemas.chat_completions import parse_chat
from twelvefold.web.schemas.conversations import CreateConversation, ForkConversation
from twelvefold.web.schemas.decode import decode, name_of
from twelvefold.web.schemas.turns import parse_turn
from twelvefold.web.schemas.types import InvalidValue, RequestObject

Json = dict[str, Any]
Path = tuple[str | int, ...]
TEXT = {"type": "input_text", "text": "a"}
IMAGE = image(detail="low")
SCHEMA = {"type": "object", "properties": {"a": {}, "b": True}, "required": ["a"]}
FORMAT = {"name": "a", "schema": {}, "description": "d", "strict": True}
ITEMS = [
    {"role": "user", "content": [TEXT, IMAGE], "id": "m", "status": "completed"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": [{}]}]},
    {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": [TEXT, file()]},
    {"type": "reasoning", "summary": [{}], "encrypted_content": "e"},
    {"type": "mcp_call", "id": "i", "name": "n", "arguments": "{}", "output": {"a": None}},
    {"type": "mcp_approval_response", "approval_request_id": "x", "approve": True, "reason": "r"},
    {"id": "msg_1"},
]
RESPONSE = {
    "model": "shop",
    "input": ITEMS,
    "conversation": {"id": "conv"},
    "stream": True,
    "stream_options": {"include_obfuscation": True},
    "tools": [{"type": "function", "name": "w", "parameters": SCHEMA, "strict": True}],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "w"}],
    },
    "max_output_tokens": 20,
    "temperature": 1,
    "text": {"format": {"type": "json_schema", **FORMAT}, "verbosity": "low"},
    "reasoning": {"effort": "low"},
    "metadata": {"a": "b", "c": "d"},
    "include": ["x"],
    "truncation": "auto",
}
CALL = {"id": "c", "type": "function", "function": {"name": "w", "arguments": "{}"}, "index": 0}
CHAT = {
    "model": "shop",
    "messages": [
        {"role": "system", "content": "x", "annotations": [1]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            ],
        },
        {"role": "assistant", "tool_calls": [CALL], "reasoning": {"y": 1}},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "b"}]},
    ],
    "stop": ["a", "b"],
    "n": 1,
    "seed": 3,
    "tools": [{"type": "function", "function": {"name": "w", "parameters": SCHEMA}}],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "required",
            "tools": [{"type": "function", "function": {"name": "w"}}],
        },
    },
    "response_format": {"type": "json_schema", "json_schema": FORMAT},
    "metadata": {"a": "b"},
    "presence_penalty": 0,
    "functions": [],
}
PARSERS: list[tuple[Json, Callable[[Json], object]]] = [
    (RESPONSE, lambda body: parse_turn(body, {}, {"shop": SHOP}, lambda *_: [ALL_INPUTS])),
    (CHAT, lambda body: parse_chat(body, {}, {"shop": SHOP}, lambda *_: [ALL_INPUTS])),
    ({"metadata": {"a": "b"}, "items": ITEMS}, lambda body: decode(body, CreateConversation)),
    ({"position": 1}, lambda body: decode(body, ForkConversation)),
]
CODES = {
    *("missing_required_parameter", "unknown_parameter", "unsupported_parameter", "invalid_type"),
    *("invalid_value", "unsupported_value", "string_above_max_length", "invalid_call_id"),
    *("array_below_min_length", "array_above_max_length", "object_above_max_properties"),
    *("integer_below_min_value", "integer_above_max_value", "decimal_below_min_value"),
    *("decimal_above_max_value", "mutually_exclusive_parameters", "model_not_found"),
}
BELONGS: dict[str | int, str] = {"tools": "tool_choice", "stream": "stream_options"}
"""Parameters of which the second is checked against the first."""
NUMBERS = st.sampled_from([-1, 0, 15, 2**31, 2**63, -(2**63) - 1, 2**64 + 1, 10**400, -(10**400)])
WORDS = st.sampled_from(
    [
        *("", "x" * 513, "a\n", "user", "tool", "function", "message", "text", "auto"),
        # Parts of msgspec's own reports.
        *("a - at `$.b`", "`key` in `$`", "a`, got `b", "Object missing required field `x`"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(
    SCALARS | NUMBERS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            WORDS | st.sampled_from(["type", "id", "role", "name"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


def paths(value: object, at: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value but the value itself."""
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else ())
    )
    for step, inner in entries:
        yield (*at, step)
        yield from paths(inner, (*at, step))


PLACES = [(number, path) for number, (body, _) in enumerate(PARSERS) for path in paths(body)]


def inside(body: Any, path: Path) -> Any:
    for step in path:
        body = body[step]
    return body


def refusal(parser: Callable[[Json], object], body: Json) -> ApiError | None:
    try:
        parser(body)
    except ApiError as error:
        return error
    return None


@pytest.mark.parametrize(("body", "parser"), PARSERS)
def test_each_body_is_valid(body: Json, parser: Callable[[Json], object]) -> None:
    assert parser(body)


@given(place=st.sampled_from(PLACES), value=JSON, remove=st.booleans())
def test_a_changed_value_is_accepted_or_the_error_names_its_parameter(
    place: tuple[int, Path], value: object, remove: bool
) -> None:
    number, path = place
    original, parser = PARSERS[number]
    body = copy.deepcopy(original)
    if remove:
        del inside(body, path[:-1])[path[-1]]
    else:
        inside(body, path[:-1])[path[-1]] = value

    error = refusal(parser, body)

    if error is not None:
        assert error.code in CODES
        assert error.status == (404 if error.code == "model_not_found" else 400)
        assert len(str(error)) < 1_000
        top, _, _ = re.sub(r"\[\d+\]", "", str(error.param)).partition(".")
        assert top in (path[0], BELONGS.get(path[0])), (error.param, path)


@given(key=st.text(), value=JSON, place=st.sampled_from(PLACES))
def test_an_additional_member_is_accepted_or_has_an_error_code(
    key: str, value: object, place: tuple[int, Path]
) -> None:
    number, path = place
    original, parser = PARSERS[number]
    body = copy.deepcopy(original)
    around = inside(body, path[:-1])
    if not isinstance(around, dict) or key in around:
        return
    around[key] = value

    error = refusal(parser, body)

    assert error is None or error.code in CODES


# --- reports --------------------------------------------------------------------------------------


class Part(RequestObject, tag="part"):
    size: int


class Whole(RequestObject):
    parts: list[Part]

    def __post_init__(self) -> None:
        if len(self.parts) > 1:
            raise InvalidValue("must be one", "parts", 1)
        if self.parts and self.parts[0].size == 13:
            raise TypeError("a fault of this server")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({}, "missing_required_parameter", "parts: is missing"),
        ({"parts": [None]}, "invalid_type", "parts[0]: must be an object, not null"),
        ({"parts": [{"size": 1}]}, "unsupported_value", "parts[0].type: is missing"),
        (
            {"parts": [{"type": "whole", "size": 1}]},
            "unsupported_value",
            "parts[0].type: 'whole' is not supported here; use part",
        ),
        (
            {"parts": [{"type": "part", "size": "big"}]},
            "invalid_type",
            "parts[0].size: must be an integer, not a string",
        ),
        (
            {"parts": [{"type": "part", "size": 1}] * 2},
            "invalid_value",
            "parts[1]: must be one",
        ),
        (
            {"parts": [{"type": "part", "size": 1, "x": 1}]},
            "unknown_parameter",
            "parts[0].x: is not known",
        ),
    ],
)
def test_a_message_names_the_place_and_what_is_valid(body: object, code: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode(body, Whole)

    assert (caught.value.code, str(caught.value)) == (code, message)


def test_an_unknown_member_that_is_null_is_ignored() -> None:
    assert decode({"parts": [], "x": None}, Whole) == Whole([])


def test_an_exception_in_a_check_is_not_an_error_of_the_caller() -> None:
    with pytest.raises(TypeError, match="a fault of this server"):
        decode({"parts": [{"type": "part", "size": 13}]}, Whole)


def test_a_path_has_the_notation_of_the_api() -> None:
    assert name_of(("input", 0, "content", 12, "text")) == "input[0].content[12].text"
    assert name_of(()) == ""
