"""The Responses API: a request as JSON, and the events of its stream as a reply.

Source: OpenAI's API reference, `POST /responses` and its streaming events. Unknown events are
left aside; unknown fields of an item are kept.
"""

from typing import Any, TypeVar

import msgspec

from twelvefold.core.events import Item, ReplyEnd, Usage
from twelvefold.core.ports import ModelReply, ModelRequest, ToolSpec
from twelvefold.services.model.wire import (
    DONE,
    MALFORMED,
    UNREADABLE,
    Asking,
    ErrorSent,
    Part,
    Show,
    Text,
    TryAgain,
    Wire,
    count,
    dumps_mended,
    function_call,
    loads,
    made_up_call_id,
    text_of,
)

_T = TypeVar("_T")
_NOTHING = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    """What matters of an event; the rest of it is not even decoded."""

    type: Any = ""
    delta: Any = None
    item: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING


class _Response(msgspec.Struct):
    """What matters of a response once it is over."""

    status: Any = None
    error: Any = None
    incomplete_details: dict[str, Any] | None = None
    model: str | None = None
    output: list[Item] | None = None
    usage: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


def encode(request: ModelRequest, asking: Asking, without: frozenset[str]) -> bytes:
    """The body of a request; parts in `without` are left out."""
    body: dict[str, Any] = {"model": asking.model, "stream": True, "store": False}
    if "include" not in without:
        body["include"] = ["reasoning.encrypted_content"]
    if asking.temperature is not None:
        body["temperature"] = asking.temperature
    if asking.max_output_tokens is not None:
        body["max_output_tokens"] = asking.max_output_tokens
    # This API has no stop sequences: whoever asked for them cuts the text.
    body |= {name: value for name, value in request.options.items() if name != "stop"}
    if request.instructions:
        body["instructions"] = request.instructions
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    body["input"] = [_sent(item) for item in request.items if _is_sent(item, without)]
    return msgspec.json.encode(body)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _is_sent(item: Item, without: frozenset[str]) -> bool:
    if item.get("type") != "reasoning":
        return True
    # With store=false the server does not know a reasoning item that has nothing in it but an id.
    return "reasoning" not in without and bool(item.get("encrypted_content") or item.get("content"))


def _sent(item: Item) -> Item:
    if item.get("role") != "assistant":
        return item
    # An output message needs its id and status again; this short form is taken everywhere.
    sent = {"type": "message", "role": "assistant", "content": text_of(item.get("content"))}
    return sent | {"phase": item["phase"]} if "phase" in item else sent


class ResponsesReply:
    """A reply out of the events of its stream."""

    def __init__(self, show: Show) -> None:
        self.flowing = False
        self._text = Text(show)
        self._items: list[msgspec.Raw] = []
        self._response: _Response | None = None

    @property
    def shown(self) -> bool:
        return bool(self._text)

    @property
    def over(self) -> bool:
        return self._response is not None

    def add(self, data: bytes) -> None:
        if data == DONE:
            return
        event = _event(data)
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta":
                self.flowing = True
                self._text.add(event.delta)
            case "response.function_call_arguments.delta":
                self.flowing = True
            case "response.output_item.done":
                self.flowing = False
                self._items.append(event.item)
            case "response.completed" | "response.incomplete" | "response.failed":
                self._response = _finished(_read(event.response, _Response))
            case "error":
                sent = _read(data, dict[str, Any])
                raise ErrorSent(sent.get("error") or sent)
            case "":
                self._add_untyped(data)
            case _:
                pass

    def whole(self, request_hash: str, model: str) -> ModelReply:
        response = self._response
        if response is None:
            raise TryAgain("the stream ended before the reply did")
        self._text.end()
        # The items' own events first: that of the response may come without them.
        items = [_read(item, Item) for item in self._items]
        if len(items) < len(response.output or ()):
            items = response.output or []
        return ModelReply(
            items=tuple(_kept(item, index, request_hash) for index, item in enumerate(items)),
            usage=_usage(response.usage),
            model=response.model or model,
            request_hash=request_hash,
            ended=_ended(response),
        )

    def _add_untyped(self, data: bytes) -> None:
        """What a server sends that does not know how to stream: an error, or the whole reply."""
        sent = _read(data, dict[str, Any])
        if sent.get("error"):
            raise ErrorSent(sent["error"])
        if sent.get("object") != "response":
            return
        response = _finished(_read(data, _Response))
        for item in response.output or ():
            if item.get("type") == "message":
                self._text.add(text_of(item.get("content")))
        self._response = response


def _event(data: bytes) -> _Event:
    try:
        return _decode_event(data)
    except UNREADABLE:
        sent = loads(data)
        if not isinstance(sent, dict):
            raise TryAgain("the stream had an event in it that is no object") from None
        # Of a character that is split over two events the halves are still to meet.
        delta = sent.pop("delta", None)
        event = _read(dumps_mended(sent), _Event)
        event.delta = delta
        return event


def _read(raw: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE:
        raise TryAgain(MALFORMED) from None


def _finished(response: _Response) -> _Response:
    if response.status in ("completed", "incomplete"):
        return response
    raise ErrorSent(response.error or f"the reply is {response.status}")


def _kept(item: Item, index: int, request_hash: str) -> Item:
    """The item without what says nothing. Only a reasoning item's id is ever asked for again."""
    kept = {key: value for key, value in item.items() if value is not None}
    match kept.get("type"):
        case "message":
            kept.pop("id", None)
            kept["content"] = [_kept_part(part) for part in _parts(kept.get("content"))]
        case "function_call":
            kept.pop("id", None)
            call_id = kept.get("call_id") or made_up_call_id(request_hash, index)
            kept |= function_call(call_id, kept.get("name", ""), kept.get("arguments"))
        case "reasoning":
            kept.pop("status", None)
    if kept.get("status") == "completed":
        del kept["status"]
    return kept


def _parts(content: str | list[Item] | None) -> list[Item]:
    if isinstance(content, str):
        return [{"type": "output_text", "text": content, "annotations": []}]
    return content or []


def _kept_part(part: Item) -> Item:
    return {key: value for key, value in part.items() if key != "logprobs" or value}


def _usage(usage: Any) -> Usage:
    return Usage(
        input_tokens=count(usage, "input_tokens"),
        output_tokens=count(usage, "output_tokens"),
        cached_tokens=count(usage, "input_tokens_details", "cached_tokens"),
        reasoning_tokens=count(usage, "output_tokens_details", "reasoning_tokens"),
    )


def _ended(response: _Response) -> ReplyEnd:
    if response.status == "completed":
        return "completed"
    reason = (response.incomplete_details or {}).get("reason")
    return "content_filter" if reason == "content_filter" else "max_output_tokens"


RESPONSES = Wire(
    path="/responses",
    optional=(
        # By gpt-4o and other models that do not reason.
        Part("include", ("include",)),
        # By one model, of another's reasoning, after OPENAI_MODEL was changed.
        Part("reasoning", ("ncrypted", "reasoning", "'rs_"), always=False),
    ),
    encode=encode,
    reply=ResponsesReply,
)
