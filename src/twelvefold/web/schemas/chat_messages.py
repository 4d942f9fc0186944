"""The messages of a Chat Completions request, as items of the Responses API.

Source: `messages` of `POST /chat/completions` of the OpenAI API.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.core.events import Item
from twelvefold.web.http.errors import abbreviate, raise_invalid
from twelvefold.web.schemas.call_results import without_repeats
from twelvefold.web.schemas.items import CALL_ID, RESULT, refuse_images
from twelvefold.web.schemas.validators import (
    Check,
    an_object,
    anything,
    list_of,
    members,
    one_of,
    record,
    text,
    unless,
)

_ROLES = ("system", "developer", "user", "assistant", "tool")
_IMAGE = record({"url": text, "detail": one_of("auto", "low", "high")}, "url")
_BESIDE: Mapping[str, Check] = {
    "name": text,
    "refusal": text,
    "annotations": list_of(anything),
    "audio": unless(),
    "tool_calls": unless([]),
    "function_call": unless(),
}
"""What some clients send with every message."""


def messages_of(value: Any, at: str) -> list[list[Item]]:
    """The items of each message. Raises ApiError."""
    messages: list[list[Item]] = list_of(_message, least=1)(value, at)
    return messages


def items_of_messages(messages: Sequence[Sequence[Item]], *, images: bool) -> tuple[Item, ...]:
    """The items in order, each result once; `images`: the model is sent images.

    Raises ApiError.
    """
    places = [f"messages[{n}]" for n, items in enumerate(messages) for _ in items]
    items = [item for message in messages for item in message]
    if not images:
        refuse_images(items, places)
    params = [f"{place}.tool_call_id" for place in places]
    return without_repeats(items, at="messages", params=params)


def _message(value: Any, at: str) -> list[Item]:
    role = an_object(value, at).get("role")
    if role == "function":
        message = "role 'function' is not supported here; use role 'tool'"
        raise_invalid(message, f"{at}.role", "unsupported_value")
    if role == "tool":
        return [_result(value, at)]
    if role == "assistant":
        return _assistant(value, at)
    fields = {"role": one_of(*_ROLES), "content": _parts("text", "image_url"), **_BESIDE}
    given = members(value, fields, ("role", "content"), f"{at}.")
    return [_said(given["role"], given["content"])]


def _said(role: str, content: str | list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _result(value: Any, at: str) -> Item:
    fields = {"role": text, "content": _parts("text"), "tool_call_id": CALL_ID, **_BESIDE}
    given = members(value, fields, ("tool_call_id", "content"), f"{at}.")
    return {"type": RESULT, "call_id": given["tool_call_id"], "output": given["content"]}


def _assistant(value: Any, at: str) -> list[Item]:
    parts = _parts("text", "refusal", to="output_text")
    fields = {"role": text, "content": parts, **_BESIDE, "tool_calls": list_of(_call)}
    given = members(_known(value, fields), fields, (), f"{at}.")
    content: str | list[Item] | None = given.get("content", given.get("refusal"))
    calls: list[Item] = given.get("tool_calls", [])
    if content is None and not calls:
        raise_invalid("is missing", f"{at}.content", "missing_required_parameter")
    # Beside calls an empty text says nothing.
    return calls if calls and not content else [_said("assistant", content or ""), *calls]


def _call(value: Any, at: str) -> Item:
    fields: Mapping[str, Check] = {"id": CALL_ID, "function": _function, "type": anything}
    given = members(_known(an_object(value, at), fields), fields, ("id", "function"), f"{at}.")
    if (kind := given.get("type", "function")) != "function":
        raise_invalid(
            f"{abbreviate(kind)} is not supported here", f"{at}.type", "unsupported_value"
        )
    return {"type": "function_call", "call_id": given["id"], **given["function"]}


def _function(value: Any, at: str) -> Item:
    fields = {"name": text, "arguments": text}
    return members(_known(an_object(value, at), fields), fields, ("name", "arguments"), f"{at}.")


def _known(value: Mapping[str, Any], fields: Mapping[str, Check]) -> dict[str, Any]:
    """The members that this API has of what an assistant said.

    Clients add their own to what they have received: pieces' indexes, reasoning, parsed arguments.
    """
    return {key: one for key, one in value.items() if key in fields}


def _parts(*kinds: str, to: str = "input_text") -> Check:
    """A string, or parts of these kinds."""

    def part(value: Any, at: str) -> Item:
        given = an_object(value, at)
        kind = given.pop("type", None)
        if kind not in kinds:
            known = ", ".join(kinds)
            raise_invalid(
                f"must be one of {known}, not {abbreviate(kind)}", f"{at}.type", "unsupported_value"
            )
        if kind == "image_url":
            image = members(given, {"image_url": _IMAGE}, ("image_url",), f"{at}.")["image_url"]
            about = {"detail": image["detail"]} if "detail" in image else {}
            return {"type": "input_image", "image_url": image["url"], **about}
        said = members(given, {kind: text}, (kind,), f"{at}.")
        return {"type": to if kind == "text" else kind, **said}

    parts = list_of(part)
    return lambda value, at: value if type(value) is str else parts(value, at)
