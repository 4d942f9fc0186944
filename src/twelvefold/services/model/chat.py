"""Chat Completions: a request as JSON, and the chunks of its stream as a reply.

Items of the Responses API go in and come out, so that the journal does not depend on the API.
Many servers speak this one, each a little differently; what they are known to send is taken.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from twelvefold.core.events import Item, ReplyEnd, Usage
from twelvefold.core.ports import ModelReply, ModelRequest, ToolSpec
from twelvefold.services.model.wire import (
    DONE,
    UNREADABLE,
    Asking,
    ErrorSent,
    Part,
    Show,
    Text,
    TryAgain,
    Wire,
    count,
    function_call,
    loads,
    made_up_call_id,
    mended,
    message,
    text_of,
)

Message = dict[str, Any]
_ENDED: dict[str, ReplyEnd] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _CallDelta(msgspec.Struct):
    index: Any = None
    id: Any = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    """What matters of a delta. What a server calls `reasoning_content` is not said to anybody."""

    content: str | list[Item] | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct):
    """`message` instead of `delta` is what a server sends that does not know how to stream."""

    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: str | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def encode(request: ModelRequest, asking: Asking, without: frozenset[str]) -> bytes:
    """The body of a request; parts in `without` are left out."""
    body: dict[str, Any] = {"model": asking.model, "stream": True}
    if "stream_options" not in without:
        body["stream_options"] = {"include_usage": True}
    if asking.temperature is not None:
        body["temperature"] = asking.temperature
    options = dict(request.options)
    if limit := options.pop("max_output_tokens", asking.max_output_tokens):
        name = "max_tokens" if "max_completion_tokens" in without else "max_completion_tokens"
        body[name] = limit
    if options:
        body |= _options(**options)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    system = [{"role": "system", "content": request.instructions}] if request.instructions else []
    body["messages"] = [*system, *_messages(request.items)]
    return msgspec.json.encode(body)


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


def _messages(items: Iterable[Item]) -> list[Message]:
    messages: list[Message] = []
    reply: Message | None = None  # the assistant's, as long as nobody else has spoken
    for item in items:
        match item.get("type", "message"):
            case "message" if item.get("role") == "assistant":
                reply = _say(messages, reply, text_of(item.get("content")))
            case "message":
                reply = None
                messages.append(_said(item))
            case "function_call":
                reply = _call(messages, reply, item)
            case "function_call_output":
                reply = None
                output = text_of(item["output"])
                messages.append(
                    {"role": "tool", "tool_call_id": item["call_id"], "content": output}
                )
            case _:
                pass
    return messages


def _say(messages: list[Message], reply: Message | None, text: str) -> Message:
    if reply and "tool_calls" in reply:
        # Nothing may stand between calls and their results.
        reply["content"] = (reply["content"] or "") + text
        return reply
    messages.append({"role": "assistant", "content": text})
    return messages[-1]


def _call(messages: list[Message], reply: Message | None, item: Item) -> Message:
    if reply is None:
        reply = {"role": "assistant", "content": None}
        messages.append(reply)
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    reply.setdefault("tool_calls", []).append(call)
    return reply


def _said(item: Item) -> Message:
    # Only OpenAI knows developers; it takes their word for the system's and the other way round.
    role = "system" if item["role"] == "developer" else item["role"]
    content = item["content"]
    if not isinstance(content, str):
        content = [_part(part) for part in content]
        if len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
    return {"role": role, "content": content}


def _part(part: Item) -> Item:
    match part.get("type"):
        case "input_text":
            return {"type": "text", "text": part["text"]}
        case "input_image":
            image = {"url": part.get("image_url"), "detail": part.get("detail")}
            return {"type": "image_url", "image_url": {k: v for k, v in image.items() if v}}
        case _:
            return part


class ChatReply:
    """A reply out of the chunks of its stream."""

    def __init__(self, show: Show) -> None:
        self.flowing = False
        self.over = False
        self._text = Text(show)
        self._refusal = Text(show)
        self._calls: list[_Call] = []
        self._finish_reason = ""
        self._usage: Any = None
        self._model = ""

    @property
    def shown(self) -> bool:
        return bool(self._text or self._refusal)

    def add(self, data: bytes) -> None:
        if data == DONE:
            self.over = True
            return
        chunk = _chunk(data)
        if chunk.error:
            raise ErrorSent(chunk.error)
        self._usage = chunk.usage or self._usage
        self._model = chunk.model or self._model
        for choice in chunk.choices or ():
            self._add(choice)

    def whole(self, request_hash: str, model: str) -> ModelReply:
        text, refusal = self._text.end(), self._refusal.end()
        said = bool(text or refusal or self._calls)
        # Some servers never send [DONE], some no reason; one of them, or the reply was cut off.
        if not (self._finish_reason or (self.over and said)):
            raise TryAgain("the stream ended before the reply did")
        items = [message(text, refusal)] if text or refusal or not self._calls else []
        items += [call.item(i, request_hash) for i, call in enumerate(self._calls)]
        return ModelReply(
            items=tuple(items),
            usage=_usage(self._usage),
            model=self._model or model,
            request_hash=request_hash,
            ended=_ENDED.get(self._finish_reason, "completed"),
        )

    def _add(self, choice: _Choice) -> None:
        self._finish_reason = choice.finish_reason or self._finish_reason
        if self._finish_reason == "error":
            raise TryAgain("the server broke off the reply")
        delta = choice.delta or choice.message
        if delta is None:
            return
        if delta.content:
            self.flowing = True
            self._text.add(text_of(delta.content))
        if delta.refusal:
            self._refusal.add(delta.refusal)
        for call in delta.tool_calls or ():
            self.flowing = True
            self._add_call(call)

    def _add_call(self, delta: _CallDelta) -> None:
        same_index = (one for one in reversed(self._calls) if one.index == delta.index)
        call = next(same_index, None)
        if call is None or not call.goes_on_with(delta):
            call = _Call(delta.index)
            self._calls.append(call)
        call.add(delta)


class _Call:
    """A call as it comes in."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self._id = ""
        self._name = ""
        self._arguments: list[Any] = []

    def goes_on_with(self, delta: _CallDelta) -> bool:
        """Whether the delta, of the same index, is about this call.

        Some servers give no index, or the same one to every call: there another id begins
        another call, and so does a name once there are arguments.
        """
        if delta.id and self._id and str(delta.id) != self._id:
            return False
        name = delta.function and delta.function.name
        if not (name and self._arguments):
            return True
        return delta.index is not None and name == self._name

    def add(self, delta: _CallDelta) -> None:
        self._id = self._id or str(delta.id or "")
        function = delta.function or _Function()
        if function.name and function.name != self._name:
            self._name += function.name
        if function.arguments:
            self._arguments.append(function.arguments)

    def item(self, index: int, request_hash: str) -> Item:
        call_id = self._id or made_up_call_id(request_hash, index)
        return function_call(mended(call_id), mended(self._name), self._joined_arguments())

    def _joined_arguments(self) -> object:
        if len(self._arguments) == 1 and not isinstance(self._arguments[0], str):
            return self._arguments[0]
        return mended("".join(one for one in self._arguments if isinstance(one, str)))


def _chunk(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except UNREADABLE:
        try:
            return msgspec.convert(loads(data), _Chunk)
        except msgspec.ValidationError as error:
            raise TryAgain(f"the stream had an event in it that is no chunk: {error}") from None


def _usage(usage: Any) -> Usage:
    return Usage(
        input_tokens=count(usage, "prompt_tokens"),
        output_tokens=count(usage, "completion_tokens"),
        cached_tokens=count(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=count(usage, "completion_tokens_details", "reasoning_tokens"),
    )


CHAT = Wire(
    path="/chat/completions",
    optional=(
        Part("stream_options", ("stream_options",)),
        Part("max_completion_tokens", ("max_completion_tokens",)),
    ),
    encode=encode,
    reply=ChatReply,
)
