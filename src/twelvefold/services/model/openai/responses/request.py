"""The Responses API: a request as JSON. `stream` reads the reply.

Source: OpenAI's API reference, `POST /responses`.
"""

from typing import Any

import msgspec

from twelvefold.core.events import Item
from twelvefold.core.ports import ModelRequest, ToolSpec
from twelvefold.services.model.openai.encoding.alternation import alternating
from twelvefold.services.model.openai.encoding.optional_parts import (
    STRICT_SCHEMAS,
    Part,
    Path,
    leave_out,
)
from twelvefold.services.model.openai.provider_fields import is_own, without_marks
from twelvefold.services.model.openai.responses.stream import ResponsesReply
from twelvefold.services.model.openai.wire import Asking, Wire, output_limit, text_of

_FIELDS: dict[str, frozenset[str]] = {
    "message": frozenset({"type", "role", "content", "phase"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments"}),
    "function_call_output": frozenset({"type", "call_id", "output"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content"}),
}
"""What every server takes of an item. The rest goes back to the provider that it came from."""

_KNOWN = frozenset({"status", "role", "text", "image_url"}).union(*_FIELDS.values())


def encode(request: ModelRequest, asking: Asking, without: frozenset[str]) -> bytes:
    """The body of a request; parts in `without` are left out."""
    body: dict[str, Any] = {"model": asking.model, "stream": True, "store": False}
    body["include"] = ["reasoning.encrypted_content"]
    if asking.temperature is not None:
        body["temperature"] = asking.temperature
    # This API has no stop sequences: whoever asked for them cuts the text.
    body |= {name: value for name, value in request.options.items() if name != "stop"}
    wanted = body.pop("max_output_tokens", None)
    if limit := output_limit(wanted, asking.max_output_tokens):
        body["max_output_tokens"] = limit
    if request.instructions:
        body["instructions"] = request.instructions
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    items = alternating(_without_loose_reasoning([one for one in request.items if _is_sent(one)]))
    body["input"] = [_sent(item) for item in items]
    return leave_out(msgspec.json.encode(body), _OPTIONAL, without)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _without_loose_reasoning(items: list[Item]) -> list[Item]:
    """The items without reasoning whose outcome is not sent, which OpenAI refuses."""
    kept: list[Item] = []
    leads = False
    for item in reversed(items):
        if item.get("type") != "reasoning":
            is_result = item.get("type") == "function_call_output"
            leads = not is_result and item.get("role", "assistant") == "assistant"
        if leads or item.get("type") != "reasoning":
            kept.append(item)
    return kept[::-1]


def _is_sent(item: Item) -> bool:
    match item.get("type", "message"):
        case "message" | "function_call" | "function_call_output":
            return True
        case "reasoning":
            # With store=false the server does not know one that has nothing in it but an id.
            return bool(item.get("encrypted_content") or item.get("content"))
        case _:
            return is_own(item)


def _sent(item: Item) -> Item:
    kind = item.get("type", "message")
    known = _FIELDS.get(kind, frozenset())
    sent = {key: value for key, value in item.items() if is_own(item) or key in known}
    if item.get("role") == "assistant":
        # An output message needs its id and status again; this short form is taken everywhere.
        sent = {**sent, "type": "message", "content": text_of(item.get("content"))}
    return without_marks(sent)


def _names_a_field(path: Path) -> bool:
    """Whether a refusal is of an item's field that not every server takes, or of its type."""
    return path[0] == "input" and path[-1] not in {"input", *_FIELDS, *_KNOWN}


def _without_own_fields(body: dict[str, Any]) -> bool:
    kept = [
        {key: value for key, value in item.items() if key in _FIELDS[item["type"]]}
        for item in body["input"]
        if item.get("type") in _FIELDS
    ]
    has_any: bool = kept != body["input"]
    body["input"] = kept
    return has_any


def _without_reasoning(body: dict[str, Any]) -> bool:
    kept = [item for item in body["input"] if item.get("type") != "reasoning"]
    has_any = len(kept) < len(body["input"])
    body["input"] = kept
    return has_any


def _names_reasoning(path: Path) -> bool:
    """Whether a refusal is of a reasoning item: its type, its content or its id is named."""
    within = path[1:] if path[0] == "input" else path[:1]
    told = ("encrypted_content", "reasoning_content", "invalid_encrypted_content")
    is_item = path[0] == "input" and any("reasoning" in name.lower() for name in within)
    return is_item or any(name in told or name.startswith("rs_") for name in within)


def _without_default_text(body: dict[str, Any]) -> bool:
    """Leave `text` out where it says no more than what a server does anyway."""
    text = body.get("text") or {}
    if "text" not in body or (text.get("format") or {}).get("type", "text") != "text":
        return False
    del body["text"]
    return True


_OPTIONAL = (
    # By gpt-4o and other models that do not reason.
    Part("include", ("include",), ours=True),
    # By one model, of another's reasoning, after OPENAI_MODEL was changed.
    Part(
        "input.reasoning",
        ("input", "encrypted_content"),
        ours=True,
        always=False,
        also=_names_reasoning,
        take_out=_without_reasoning,
    ),
    Part("input.phase", ("input", "phase"), ours=True),
    Part(
        "input.provider",
        ("input", "provider"),
        ours=True,
        also=_names_a_field,
        take_out=_without_own_fields,
    ),
    Part("store", ("store",), ours=True),
    STRICT_SCHEMAS,
    Part("strict", ("tools", "strict"), ours=True),
    Part("parallel_tool_calls", ("parallel_tool_calls",)),
    Part("reasoning.summary", ("reasoning", "summary")),
    Part("reasoning.effort", ("reasoning", "effort")),
    Part("reasoning", ("reasoning",)),
    Part("temperature", ("temperature",)),
    Part("top_p", ("top_p",)),
    Part("text.verbosity", ("text", "verbosity")),
    Part("text.format.strict", ("text", "format", "strict")),
    Part("text", ("text",), take_out=_without_default_text),
)

RESPONSES = Wire("/responses", _OPTIONAL, encode, ResponsesReply)
