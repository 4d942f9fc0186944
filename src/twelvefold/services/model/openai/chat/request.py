"""Chat Completions: a request as JSON. `stream` reads the reply.

Items of the Responses API go in and come out, so that the journal does not depend on the API.
"""

from hashlib import sha256
from typing import Any

import msgspec

from twelvefold.core.events import Item
from twelvefold.core.ports import ModelRequest, ToolSpec
from twelvefold.core.sendable import NO_RESULT
from twelvefold.services.model.openai.chat.stream import ChatReply
from twelvefold.services.model.openai.encoding.alternation import alternating, without_system
from twelvefold.services.model.openai.encoding.optional_parts import STRICT_SCHEMAS, Part, leave_out
from twelvefold.services.model.openai.provider_fields import (
    message_fields,
    names_a_message_field,
    with_call_fields,
    without_message_fields,
)
from twelvefold.services.model.openai.wire import Asking, Wire, output_limit, text_of

Message = dict[str, Any]
_SENT = {"message", "function_call", "function_call_output"}


def encode(request: ModelRequest, asking: Asking, without: frozenset[str]) -> bytes:
    """The body of a request; parts in `without` are left out."""
    body: dict[str, Any] = {"model": asking.model, "stream": True}
    body["stream_options"] = {"include_usage": True}
    if asking.temperature is not None:
        body["temperature"] = asking.temperature
    options = dict(request.options)
    if limit := output_limit(options.pop("max_output_tokens", None), asking.max_output_tokens):
        body["max_completion_tokens"] = limit
    if options:
        body |= _options(**options)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    body["messages"] = _messages(request)
    return leave_out(msgspec.json.encode(body), _OPTIONAL, without)


def _options(
    *,
    tool_choice: str | Item | None = None,
    text: Item | None = None,
    reasoning: Item | None = None,
    **same: Any,
) -> dict[str, Any]:
    """Options of the Responses API, as this one calls them; the rest have the same name."""
    if isinstance(tool_choice, dict):
        tool_choice = {"type": "function", "function": {"name": tool_choice["name"]}}
    text = text or {}
    options = {
        "tool_choice": tool_choice,
        "response_format": _response_format(text.get("format") or {}),
        "verbosity": text.get("verbosity"),
        "reasoning_effort": (reasoning or {}).get("effort"),
    }
    return same | {name: value for name, value in options.items() if value is not None}


def _response_format(format: Item) -> Item | None:
    match format.get("type", "text"):
        case "text":
            return None
        case "json_schema":
            said = {key: value for key, value in format.items() if value is not None}
            schema = {key: value for key, value in said.items() if key != "type"}
            return {"type": "json_schema", "json_schema": schema}
        case _:
            return format


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return {"type": "function", "function": function}


def _messages(request: ModelRequest) -> list[Message]:
    system, items = without_system(request.items)
    said = [request.instructions, *(text_of(item.get("content")) for item in system)]
    text = "\n\n".join(one for one in said if one)
    messages: list[Message] = [{"role": "system", "content": text}] if text else []
    reply: Message | None = None  # the assistant's, as long as nobody else has spoken
    for item in alternating(item for item in items if item.get("type", "message") in _SENT):
        match item.get("type", "message"):
            case "message" if item["role"] == "assistant":
                reply = _say(messages, reply, text_of(item["content"]))
            case "message":
                reply = None
                messages.append(_said(item))
                continue
            case "function_call":
                reply = _call(messages, reply, item)
            case _:
                reply = None
                output = text_of(item["output"]) or NO_RESULT
                messages.append(
                    {"role": "tool", "tool_call_id": item["call_id"], "content": output}
                )
                continue
        reply |= message_fields(item)
    return messages


def _say(messages: list[Message], reply: Message | None, text: str) -> Message:
    if reply is not None:
        # Nothing may stand between calls and their results.
        reply["content"] = f"{reply['content']}\n\n{text}" if reply["content"] else text
        return reply
    messages.append({"role": "assistant", "content": text})
    return messages[-1]


def _call(messages: list[Message], reply: Message | None, item: Item) -> Message:
    if reply is None:
        reply = {"role": "assistant", "content": None}
        messages.append(reply)
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    reply.setdefault("tool_calls", []).append(with_call_fields(call, item))
    return reply


def _said(item: Item) -> Message:
    content = item["content"]
    if not isinstance(content, str):
        content = [_part(part) for part in content]
        if len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
    return {"role": item["role"], "content": content}


def _part(part: Item) -> Item:
    match part.get("type"):
        case "input_text":
            return {"type": "text", "text": part["text"]}
        case "input_image":
            image = {"url": part.get("image_url"), "detail": part.get("detail")}
            return {"type": "image_url", "image_url": {k: v for k, v in image.items() if v}}
        case _:
            return part


def _with_the_old_limit(body: dict[str, Any]) -> bool:
    """Bound the reply by `max_tokens`, which is what most servers know."""
    if "max_completion_tokens" not in body:
        return False
    body["max_tokens"] = body.pop("max_completion_tokens")
    return True


_UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""What Gemini takes for a call that it has not made. Source: its page on thought signatures."""
_SHORT_ID = 9
_UNREASONED = " "
"""DeepSeek and Kimi refuse a call without its reasoning, and take any text as that."""


def _with_signatures(body: dict[str, Any]) -> bool:
    """Say of calls without a signature that they were made elsewhere; whether there were any."""
    # Of calls side by side Gemini signs the first alone.
    firsts = [message["tool_calls"][0] for message in _calling(body)]
    unsigned = [call for call in firsts if not call.get("extra_content")]
    for call in unsigned:
        call["extra_content"] = _UNSIGNED
    return bool(unsigned)


def _with_reasoning(body: dict[str, Any]) -> bool:
    """Give calls without reasoning an empty one; whether there were any."""
    bare = [message for message in _calling(body) if not message.get("reasoning_content")]
    for message in bare:
        message["reasoning_content"] = _UNREASONED
    return bool(bare)


def _calling(body: dict[str, Any]) -> list[Message]:
    return [message for message in body["messages"] if "tool_calls" in message]


def _with_short_ids(body: dict[str, Any]) -> bool:
    """Give calls ids as Mistral makes them; whether there were any others."""
    calls = [call for message in _calling(body) for call in message["tool_calls"]]
    short = {call["id"]: _short_id(call["id"]) for call in calls}
    for call in calls:
        call["id"] = short[call["id"]]
    for message in body["messages"]:
        if "tool_call_id" in message:
            message["tool_call_id"] = short[message["tool_call_id"]]
    return any(one != other for one, other in short.items())


def _with_empty_content(body: dict[str, Any]) -> bool:
    """Give messages without content an empty one; whether there were any."""
    silent = [message for message in _calling(body) if message["content"] is None]
    for message in silent:
        message["content"] = ""
    return bool(silent)


def _short_id(call_id: str) -> str:
    fits = len(call_id) == _SHORT_ID and call_id.isascii() and call_id.isalnum()
    return call_id if fits else sha256(call_id.encode()).hexdigest()[:_SHORT_ID]


_OPTIONAL = (
    Part("null content", ("messages", "content"), ours=True, take_out=_with_empty_content),
    Part("short call ids", ("messages", "short_ids"), take_out=_with_short_ids),
    Part("no signature", ("messages", "no_signature"), take_out=_with_signatures),
    Part("no reasoning", ("messages", "no_reasoning"), take_out=_with_reasoning),
    Part("stream_options", ("stream_options",), ours=True, alias="include_usage"),
    Part("max_completion_tokens", ("max_completion_tokens",), take_out=_with_the_old_limit),
    STRICT_SCHEMAS,
    Part("strict", ("tools", "function", "strict"), ours=True),
    Part(
        "messages.provider",
        ("messages", "extra_content"),
        ours=True,
        also=names_a_message_field,
        take_out=without_message_fields,
    ),
    Part("parallel_tool_calls", ("parallel_tool_calls",)),
    Part("reasoning_effort", ("reasoning_effort",), alias="reasoning"),
    Part("verbosity", ("verbosity",)),
    Part("temperature", ("temperature",)),
    Part("top_p", ("top_p",)),
    Part("stop", ("stop",)),
    Part("response_format.strict", ("response_format", "json_schema", "strict")),
)

CHAT = Wire("/chat/completions", _OPTIONAL, encode, ChatReply)
