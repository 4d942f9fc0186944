"""Encodes a request for Chat Completions.

The input is items of the Responses API, so that the journal does not depend on the API.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from twelvefold.core import NO_RESULT, Item, ModelRequest, ToolSpec
from twelvefold.services.model.items import text_of
from twelvefold.services.model.openai.api_format import ApiFormat, RequestSettings, output_limit
from twelvefold.services.model.openai.chat.stream import ChatReply
from twelvefold.services.model.openai.encoding import (
    STRICT_SCHEMAS,
    EncodedItems,
    OptionalPart,
    alternate_roles,
    build_body,
    encode_elements,
    split_system_messages,
)
from twelvefold.services.model.openai.provider_fields import (
    is_message_field_path,
    message_fields,
    remove_message_fields,
    with_call_fields,
)

Message = dict[str, Any]
_SENT_TYPES = {"message", "function_call", "function_call_output"}


def encode_body(
    request: ModelRequest,
    settings: RequestSettings,
    omitted: frozenset[str],
    items: EncodedItems,
) -> bytes:
    """Return the body of a request with these items, without the optional parts in `omitted`."""
    body: dict[str, Any] = {"model": settings.model, "stream": True}
    body["stream_options"] = {"include_usage": True}
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    options = dict(request.options)
    if limit := output_limit(options.pop("max_output_tokens", None), settings.max_output_tokens):
        body["max_completion_tokens"] = limit
    if options:
        body |= _options(**options)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    text = "\n\n".join(filter(None, (request.instructions, *items.system)))
    if text:
        items = encode_elements([{"role": "system", "content": text}]) + items
    return build_body(body, "messages", items, _OPTIONAL_PARTS, omitted)


def _options(
    *,
    tool_choice: str | Item | None = None,
    text: Item | None = None,
    reasoning: Item | None = None,
    **same: Any,
) -> dict[str, Any]:
    """Translate options of the Responses API. Those in `same` have the same name in both."""
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
            given = {key: value for key, value in format.items() if value is not None}
            schema = {key: value for key, value in given.items() if key != "type"}
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


def encode_items(items: Sequence[Item]) -> EncodedItems:
    """Return the items as elements of `messages`, without system messages."""
    system, others = split_system_messages(items)
    texts = [text for item in system if (text := text_of(item.get("content")))]
    return encode_elements(_messages(others), texts)


def _messages(items: Iterable[Item]) -> list[Message]:
    messages: list[Message] = []
    reply: Message | None = None  # the assistant's message, while it is the last one
    sendable = [item for item in items if item.get("type", "message") in _SENT_TYPES]
    for item in alternate_roles(sendable):
        match item.get("type", "message"):
            case "message" if item["role"] == "assistant":
                reply = _append_text(messages, reply, text_of(item["content"]))
            case "message":
                reply = None
                messages.append(_input_message(item))
                continue
            case "function_call":
                reply = _append_call(messages, reply, item)
            case _:
                reply = None
                output = text_of(item["output"]) or NO_RESULT
                messages.append(
                    {"role": "tool", "tool_call_id": item["call_id"], "content": output}
                )
                continue
        reply |= message_fields(item)
    return messages


def _append_text(messages: list[Message], reply: Message | None, text: str) -> Message:
    if reply is not None:
        # No message is allowed between calls and their results.
        reply["content"] = f"{reply['content']}\n\n{text}" if reply["content"] else text
        return reply
    messages.append({"role": "assistant", "content": text})
    return messages[-1]


def _append_call(messages: list[Message], reply: Message | None, item: Item) -> Message:
    if reply is None:
        reply = {"role": "assistant", "content": None}
        messages.append(reply)
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    reply.setdefault("tool_calls", []).append(with_call_fields(call, item))
    return reply


def _input_message(item: Item) -> Message:
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
        case "input_file":
            file = {key: part[key] for key in ("filename", "file_data") if key in part}
            return {"type": "file", "file": file}
        case _:
            return part


def _use_max_tokens(body: dict[str, Any]) -> bool:
    """Limit the reply by `max_tokens`, which most servers support."""
    if "max_completion_tokens" not in body:
        return False
    body["max_tokens"] = body.pop("max_completion_tokens")
    return True


_SKIP_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""Accepted by Gemini for a call of another model. Source: its page on thought signatures."""
_SHORT_ID_CHARS = 9
_EMPTY_REASONING = " "
"""DeepSeek and Kimi reject a call without reasoning, and accept any text as reasoning."""


def _add_signatures(body: dict[str, Any]) -> bool:
    """Mark calls without a signature as made elsewhere. Returns whether there were any."""
    # Gemini signs only the first of parallel calls.
    firsts = [message["tool_calls"][0] for message in _messages_with_calls(body)]
    unsigned = [call for call in firsts if not call.get("extra_content")]
    for call in unsigned:
        call["extra_content"] = _SKIP_SIGNATURE
    return bool(unsigned)


def _add_reasoning(body: dict[str, Any]) -> bool:
    """Add empty reasoning to calls without reasoning. Returns whether there were any."""
    calling = _messages_with_calls(body)
    bare = [message for message in calling if not message.get("reasoning_content")]
    for message in bare:
        message["reasoning_content"] = _EMPTY_REASONING
    return bool(bare)


def _messages_with_calls(body: dict[str, Any]) -> list[Message]:
    return [message for message in body["messages"] if "tool_calls" in message]


def _shorten_ids(body: dict[str, Any]) -> bool:
    """Replace the ids of calls by ids in Mistral's format. Returns whether any changed."""
    calls = [call for message in _messages_with_calls(body) for call in message["tool_calls"]]
    short = {call["id"]: _short_id(call["id"]) for call in calls}
    for call in calls:
        call["id"] = short[call["id"]]
    for message in body["messages"]:
        if "tool_call_id" in message:
            message["tool_call_id"] = short[message["tool_call_id"]]
    return any(one != other for one, other in short.items())


def _fill_content(body: dict[str, Any]) -> bool:
    """Set null content to an empty text. Returns whether there was any."""
    empty = [message for message in _messages_with_calls(body) if message["content"] is None]
    for message in empty:
        message["content"] = ""
    return bool(empty)


def _short_id(call_id: str) -> str:
    fits = len(call_id) == _SHORT_ID_CHARS and call_id.isascii() and call_id.isalnum()
    return call_id if fits else sha256(call_id.encode()).hexdigest()[:_SHORT_ID_CHARS]


_OPTIONAL_PARTS = (
    OptionalPart("null content", ("messages", "content"), set_by_us=True, remove=_fill_content),
    OptionalPart("short call ids", ("messages", "short_ids"), remove=_shorten_ids),
    OptionalPart("no signature", ("messages", "no_signature"), remove=_add_signatures),
    OptionalPart("no reasoning", ("messages", "no_reasoning"), remove=_add_reasoning),
    OptionalPart("stream_options", ("stream_options",), set_by_us=True, alias="include_usage"),
    OptionalPart("max_completion_tokens", ("max_completion_tokens",), remove=_use_max_tokens),
    STRICT_SCHEMAS,
    OptionalPart("strict", ("tools", "function", "strict"), set_by_us=True),
    OptionalPart(
        "messages.provider",
        ("messages", "extra_content"),
        set_by_us=True,
        matches=is_message_field_path,
        remove=remove_message_fields,
    ),
    OptionalPart("parallel_tool_calls", ("parallel_tool_calls",)),
    OptionalPart("reasoning_effort", ("reasoning_effort",), alias="reasoning"),
    OptionalPart("verbosity", ("verbosity",)),
    OptionalPart("temperature", ("temperature",)),
    OptionalPart("top_p", ("top_p",)),
    OptionalPart("stop", ("stop",)),
    OptionalPart("response_format.strict", ("response_format", "json_schema", "strict")),
)

CHAT = ApiFormat("/chat/completions", _OPTIONAL_PARTS, encode_items, encode_body, ChatReply)
