"""Encodes a request for the Responses API.

Source: OpenAI's API reference, `POST /responses`.
"""

from collections.abc import Sequence
from typing import Any

from twelvefold.core import Item, ModelRequest, ToolSpec
from twelvefold.services.model.items import text_of
from twelvefold.services.model.openai.api_format import ApiFormat, RequestSettings, output_limit
from twelvefold.services.model.openai.encoding import (
    STRICT_SCHEMAS,
    EncodedItems,
    OptionalPart,
    alternate_roles,
    build_body,
    encode_elements,
)
from twelvefold.services.model.openai.failures import Path
from twelvefold.services.model.openai.provider_fields import has_provider_fields, strip_marks
from twelvefold.services.model.openai.responses.stream import ResponsesReply

_STANDARD_FIELDS: dict[str, frozenset[str]] = {
    "message": frozenset({"type", "role", "content", "phase"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments"}),
    "function_call_output": frozenset({"type", "call_id", "output"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content"}),
}
"""Fields that every server accepts. Other fields are returned to their provider only."""

_PART_NAMES = ("text", "image_url", "detail", "file_data", "file_url", "filename")
_KNOWN_NAMES = frozenset({"status", "role", *_PART_NAMES}).union(*_STANDARD_FIELDS.values())


def encode_body(
    request: ModelRequest,
    settings: RequestSettings,
    omitted: frozenset[str],
    items: EncodedItems,
) -> bytes:
    """Return the body of a request with these items, without the optional parts in `omitted`."""
    body: dict[str, Any] = {"model": settings.model, "stream": True, "store": False}
    body["include"] = ["reasoning.encrypted_content"]
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    # This API has no stop sequences; the caller of this model truncates the text.
    body |= {name: value for name, value in request.options.items() if name != "stop"}
    requested = body.pop("max_output_tokens", None)
    if limit := output_limit(requested, settings.max_output_tokens):
        body["max_output_tokens"] = limit
    if request.instructions:
        body["instructions"] = request.instructions
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    return build_body(body, "input", items, _OPTIONAL_PARTS, omitted)


def encode_items(items: Sequence[Item]) -> EncodedItems:
    """Return the items as elements of `input`."""
    sendable = [item for item in items if _is_sendable(item)]
    sent = alternate_roles(_drop_dangling_reasoning(sendable))
    return encode_elements([_encode_item(item) for item in sent])


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _drop_dangling_reasoning(items: list[Item]) -> list[Item]:
    """Drop reasoning that no output of the assistant follows, because OpenAI rejects it."""
    kept: list[Item] = []
    precedes_output = False
    for item in reversed(items):
        if item.get("type") != "reasoning":
            is_result = item.get("type") == "function_call_output"
            precedes_output = not is_result and item.get("role", "assistant") == "assistant"
        if precedes_output or item.get("type") != "reasoning":
            kept.append(item)
    return kept[::-1]


def _is_sendable(item: Item) -> bool:
    match item.get("type", "message"):
        case "message" | "function_call" | "function_call_output":
            return True
        case "reasoning":
            # With store=false the server does not know a reasoning item by its id.
            return bool(item.get("encrypted_content") or item.get("content"))
        case _:
            return has_provider_fields(item)


def _encode_item(item: Item) -> Item:
    kind = item.get("type", "message")
    known = _STANDARD_FIELDS.get(kind, frozenset())
    sent = {key: value for key, value in item.items() if has_provider_fields(item) or key in known}
    if item.get("role") == "assistant":
        # A full output message requires its id and status. Every server accepts the short form.
        sent = {**sent, "type": "message", "content": text_of(item.get("content"))}
    return strip_marks(sent)


def _is_provider_field_path(path: Path) -> bool:
    """Return whether a path is a non-standard field of an item, or its type."""
    return path[0] == "input" and path[-1] not in {"input", *_STANDARD_FIELDS, *_KNOWN_NAMES}


def _remove_provider_fields(body: dict[str, Any]) -> bool:
    kept = [
        {key: value for key, value in item.items() if key in _STANDARD_FIELDS[item["type"]]}
        for item in body["input"]
        if item.get("type") in _STANDARD_FIELDS
    ]
    has_any: bool = kept != body["input"]
    body["input"] = kept
    return has_any


def _remove_reasoning(body: dict[str, Any]) -> bool:
    kept = [item for item in body["input"] if item.get("type") != "reasoning"]
    has_any = len(kept) < len(body["input"])
    body["input"] = kept
    return has_any


def _is_reasoning_path(path: Path) -> bool:
    """Return whether a path contains the type, the content or the id of a reasoning item."""
    within = path[1:] if path[0] == "input" else path[:1]
    contents = ("encrypted_content", "reasoning_content", "invalid_encrypted_content")
    is_item = path[0] == "input" and any("reasoning" in name.lower() for name in within)
    return is_item or any(name in contents or name.startswith("rs_") for name in within)


def _remove_default_text(body: dict[str, Any]) -> bool:
    """Remove `text` if it requests plain text, which is the default."""
    text = body.get("text") or {}
    if "text" not in body or (text.get("format") or {}).get("type", "text") != "text":
        return False
    del body["text"]
    return True


_OPTIONAL_PARTS = (
    # Refused by gpt-4o and other models without reasoning.
    OptionalPart("include", ("include",), set_by_us=True),
    # Refused if OPENAI_MODEL was changed, because the reasoning is that of another model.
    OptionalPart(
        "input.reasoning",
        ("input", "encrypted_content"),
        set_by_us=True,
        permanent=False,
        matches=_is_reasoning_path,
        remove=_remove_reasoning,
    ),
    OptionalPart("input.phase", ("input", "phase"), set_by_us=True),
    OptionalPart(
        "input.provider",
        ("input", "provider"),
        set_by_us=True,
        matches=_is_provider_field_path,
        remove=_remove_provider_fields,
    ),
    OptionalPart("store", ("store",), set_by_us=True),
    STRICT_SCHEMAS,
    OptionalPart("strict", ("tools", "strict"), set_by_us=True),
    OptionalPart("parallel_tool_calls", ("parallel_tool_calls",)),
    OptionalPart("reasoning.summary", ("reasoning", "summary")),
    OptionalPart("reasoning.effort", ("reasoning", "effort")),
    OptionalPart("reasoning", ("reasoning",)),
    OptionalPart("temperature", ("temperature",)),
    OptionalPart("top_p", ("top_p",)),
    OptionalPart("text.verbosity", ("text", "verbosity")),
    OptionalPart("text.format.strict", ("text", "format", "strict")),
    OptionalPart("text", ("text",), remove=_remove_default_text),
)

RESPONSES = ApiFormat("/responses", _OPTIONAL_PARTS, encode_items, encode_body, ResponsesReply)
