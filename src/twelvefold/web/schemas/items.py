"""The items that a caller may send, each as the journal is to keep it.

Source: the `input` union of the OpenAI Responses API. What only OpenAI's own tools make is refused,
never left aside: a model that was not told is worse than a client that was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.core.events import Item
from twelvefold.web.http.errors import abbreviate, raise_invalid
from twelvefold.web.schemas.validators import (
    Check,
    an_object,
    anything,
    flag,
    list_of,
    matching,
    members,
    one_of,
    record,
    short,
    text,
)

REFERENCE = "item_reference"
ANSWER = "mcp_approval_response"
RESULT = "function_call_output"
_STATUS = one_of("in_progress", "completed", "incomplete", "calling", "failed")
# Proxies of Gemini put a thought signature of some thousand characters into their ids.
CALL_ID = matching(r"(?s).{1,65536}", "a string of 1 to 65536 characters")
_OBJECTS = list_of(an_object)
_TEXT_PART: Mapping[str, Check] = {"text": text}
_PARTS: Mapping[str, tuple[Mapping[str, Check], tuple[str, ...]]] = {
    "input_text": (_TEXT_PART, ("text",)),
    "output_text": (
        {"text": text, "annotations": _OBJECTS, "logprobs": list_of(anything)},
        ("text",),
    ),
    "refusal": ({"refusal": text}, ("refusal",)),
    "input_image": (
        {"image_url": text, "file_id": text, "detail": one_of("low", "high", "auto", "original")},
        (),
    ),
}
_SAID = ("input_text", "input_image")
_OWN = ("output_text", "refusal", "input_text")
_HOLDS_PARTS = {"message": "content", RESULT: "output"}
_CALL: dict[str, Check] = {"name": text, "arguments": text, "id": text, "status": _STATUS}
_ITEMS: Mapping[str, tuple[Mapping[str, Check], tuple[str, ...]]] = {
    "function_call": (_CALL | {"call_id": CALL_ID}, ("call_id", "name", "arguments")),
    "mcp_call": (
        _CALL
        | {"server_label": text, "output": anything, "error": anything}
        | {"approval_request_id": text},
        ("id", "name", "arguments"),
    ),
    "mcp_list_tools": (
        {"id": text, "server_label": text, "tools": _OBJECTS, "error": anything},
        (),
    ),
    "mcp_approval_request": (
        {"id": text, "server_label": text, "name": text, "arguments": text},
        ("id",),
    ),
    ANSWER: (
        {"approval_request_id": text, "approve": flag, "reason": short(10_000), "id": text},
        ("approval_request_id", "approve"),
    ),
    "reasoning": (
        {"id": text, "summary": _OBJECTS, "content": _OBJECTS, "encrypted_content": text}
        | {"status": _STATUS},
        (),
    ),
    REFERENCE: ({"id": text}, ("id",)),
}


def items_of(value: Any, at: str) -> tuple[Item, ...]:
    """The items of an `input`; a string is what a user says."""
    if type(value) is str:
        return ({"type": "message", "role": "user", "content": value},)
    if type(value) is not list:
        raise_invalid("must be a string or an array of items", at, "invalid_type")
    return tuple(list_of(item_of, least=1)(value, at))


def item_of(value: Any, at: str) -> Item:
    """One item, without what is null in it."""
    given = an_object(value, at)
    kind = given.pop("type", None)
    if kind is None:
        kind = REFERENCE if given.keys() == {"id"} else "message"
    if kind == "message":
        return _message(given, at)
    if kind == RESULT:
        return _result(given, at)
    if type(kind) is not str or kind not in _ITEMS:
        raise_invalid(
            f"{abbreviate(kind)} is not supported here", f"{at}.type", "unsupported_value"
        )
    fields, needed = _ITEMS[kind]
    return {"type": kind, **members(given, fields, needed, f"{at}.")}


def _message(given: Mapping[str, Any], at: str) -> Item:
    fields = {
        "role": one_of("user", "assistant", "system", "developer"),
        "content": _parts(_OWN if given.get("role") == "assistant" else _SAID),
        "id": text,
        "status": _STATUS,
        "phase": text,
    }
    return {"type": "message", **members(given, fields, ("role", "content"), f"{at}.")}


def _result(given: Mapping[str, Any], at: str) -> Item:
    fields = {"call_id": CALL_ID, "output": _parts(_SAID), "id": text, "status": _STATUS}
    return {"type": RESULT, **members(given, fields, ("call_id", "output"), f"{at}.")}


def _parts(kinds: tuple[str, ...]) -> Check:
    """A string, or parts of these kinds."""

    def part(value: Any, at: str) -> Item:
        given = an_object(value, at)
        kind = given.pop("type", None)
        if type(kind) is not str or kind not in kinds:
            known = ", ".join(kinds)
            if kind in ("input_file", "input_audio"):
                raise_invalid(f"{kind} is not supported here", f"{at}.type", "unsupported_value")
            raise_invalid(
                f"must be one of {known}, not {abbreviate(kind)}", f"{at}.type", "unsupported_value"
            )
        fields, needed = _PARTS[kind]
        return {"type": kind, **members(given, fields, needed, f"{at}.")}

    parts = list_of(part)

    def check(value: Any, at: str) -> str | list[Item]:
        return value if type(value) is str else parts(value, at)

    return check


def refuse_images(items: Sequence[Item], places: Sequence[str]) -> None:
    """Refuse images, which the model is not sent; `places` has the name of each item.

    Raises ApiError.
    """
    for place, item in zip(places, items, strict=True):
        key = _HOLDS_PARTS.get(item["type"], "")
        parts = item.get(key)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if part["type"] == "input_image":
                message = "images are not passed on to this server's model"
                raise_invalid(message, f"{place}.{key}[{index}].type", "unsupported_value")


TOOL_NAME = matching(r"[a-zA-Z0-9_-]{1,64}", "1 to 64 letters, digits, _ or -")
_FUNCTION = record(
    {
        "name": TOOL_NAME,
        "description": text,
        "parameters": an_object,
        "strict": flag,
    },
    "name",
)


def tool_of(value: Any, at: str) -> Item:
    """A tool of the caller's own: a function, and nothing that the server would have to call."""
    given = an_object(value, at)
    kind = given.pop("type", None)
    if kind is None:
        raise_invalid("is missing", f"{at}.type", "missing_required_parameter")
    if kind != "function":
        raise_invalid(
            f"{abbreviate(kind)} is not supported here", f"{at}.type", "unsupported_value"
        )
    return function_of(given, at)


def function_of(value: Any, at: str) -> Item:
    """A function of the caller's own, as the Responses API has it."""
    tool: Item = {"type": "function", **_FUNCTION(value, at)}
    _check_schema(tool.get("parameters", {}), f"{at}.parameters")
    return tool


def _check_schema(schema: Mapping[str, Any], at: str) -> None:
    """As much as every model's server wants of a function's parameters."""
    if schema.get("type", "object") != "object":
        raise_invalid(f"must be the schema of an object, not of {abbreviate(schema['type'])}", at)
    for key, one in an_object(schema.get("properties") or {}, f"{at}.properties").items():
        if type(one) is not bool:
            an_object(one, f"{at}.properties.{key}")
    list_of(text)(schema.get("required") or [], f"{at}.required")
