"""The events of a Responses stream as a reply.

Source: OpenAI's API reference, the streaming events of `POST /responses`. Unknown events are
ignored; unknown fields of an item are kept.
"""

from typing import Any, TypeVar

import msgspec

from twelvefold.core.events import Item, ReplyEnd, Usage
from twelvefold.core.ports import ModelReply
from twelvefold.services.model.openai.decoding.usage import UsageReader
from twelvefold.services.model.openai.responses.items import Items, kept
from twelvefold.services.model.openai.wire import (
    DONE,
    MALFORMED,
    UNREADABLE,
    ErrorSent,
    Show,
    Text,
    TryAgain,
    dumps_mended,
    error_in,
    loads,
    text_of,
)

_T = TypeVar("_T")
_NOTHING = msgspec.Raw(b"null")
_NULL = b"null"
_TEXT_DELTA = "response.output_text.delta"
_ENDS: dict[object, str] = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
"""The events that end a response, and its status where the event does not have it."""
_VOID = ("failed", "cancelled", "canceled", "expired")
_UNDER_WAY = ("in_progress", "queued")


class _Event(msgspec.Struct):
    """What matters of an event; the rest of it is not even decoded."""

    type: Any = ""
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    name: Any = None
    item_id: Any = None
    output_index: Any = None
    item: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING


class _Response(msgspec.Struct):
    """What matters of a response once it is over."""

    status: Any = None
    error: Any = None
    incomplete_details: Any = None
    model: Any = None
    output: list[Item | None] | None = None
    usage: Any = None

    @property
    def items(self) -> list[Item]:
        """Its output without what is no item."""
        return [item for item in self.output or () if item]


_decode_event = msgspec.json.Decoder(_Event).decode


class ResponsesReply:
    """A reply out of the events of its stream."""

    def __init__(self, show: Show) -> None:
        self.flowing = False
        self._text = Text(show)
        self._items = Items()
        self._response: _Response | None = None
        self._usage = UsageReader()
        self._said_done = False

    @property
    def shown(self) -> bool:
        return bool(self._text)

    @property
    def finished(self) -> bool:
        return self._response is not None

    @property
    def over(self) -> bool:
        return self._response is not None or self._said_done

    @property
    def usage(self) -> Usage:
        return self._usage.usage

    @property
    def received(self) -> int:
        return self._items.size + self._text.size

    @property
    def item_count(self) -> int:
        return self._items.begun

    def add(self, data: bytes) -> None:
        if data.startswith(DONE) and data.strip() == DONE:
            self._said_done = True
            return
        if not data.strip():
            return  # it only keeps the connection open
        event = _event(data)
        if event.type == _TEXT_DELTA:
            self._add_text(event, refused=False)
            return
        match event.type:
            case "error" | "response.error":
                raise ErrorSent(error_in(_read(data, dict[str, Any])) or {})
            case str(kind) if kind in _ENDS:
                sent = data if bytes(event.response) == _NULL else event.response
                self._end(_read(sent, _Response), _ENDS[kind])
            case str(kind) if kind.startswith("response."):
                self._add_to_item(kind, event)
            case _:
                self._add_untyped(data)

    def _add_text(self, event: _Event, *, refused: bool) -> None:
        self.flowing = True
        self._text.add(event.delta)
        self._items.add_text(event, refused=refused)

    def _add_to_item(self, kind: str, event: _Event) -> None:
        match kind:
            case "response.refusal.delta":
                self._add_text(event, refused=True)
            case "response.output_text.done" | "response.refusal.done":
                self._items.set_text(event, refused=kind == "response.refusal.done")
            case "response.function_call_arguments.delta":
                self.flowing = True
                self._items.add_arguments(event)
            case "response.function_call_arguments.done":
                self._items.set_arguments(event)
            case "response.output_item.added":
                if bytes(event.item) != _NULL:
                    self._items.begin(event, _read(event.item, dict[str, Any]))
            case "response.output_item.done":
                self.flowing = False
                if bytes(event.item) != _NULL:
                    self._items.finish(event, _read(event.item, dict[str, Any]))
            case _ if kind.endswith(".delta") and isinstance(event.delta, str):
                self._items.count(event.delta)
            case _:
                pass

    def whole(self, request_hash: str, model: str) -> ModelReply:
        response = self._response
        if response is None:
            # Some servers end with [DONE] alone.
            if not (self._said_done and self._items.are_any):
                raise TryAgain("the stream ended before the reply did").loggable()
            response = _Response(status="completed")
        self._text.end()
        items = self._items.with_output(response.items)
        named = isinstance(response.model, str) and response.model
        return ModelReply(
            items=tuple(kept(item, index, request_hash) for index, item in enumerate(items)),
            usage=self.usage,
            model=named or model,
            request_hash=request_hash,
            ended=_ended(response),
        )

    def _add_untyped(self, data: bytes) -> None:
        """What a server sends that does not know how to stream: an error, or the whole reply."""
        sent = _read(data, dict[str, Any])
        if error := error_in(sent):
            raise ErrorSent(error)
        if sent.get("object") != "response" and not isinstance(sent.get("output"), list):
            return
        response = _read(data, _Response)
        if response.status in _UNDER_WAY:
            raise ErrorSent({"message": f"the reply is {response.status}"})
        self._end(response, "completed")
        self._items.count_items(response.items)
        for item in response.items:
            if item.get("type", "message") == "message":
                self._text.add(text_of(item.get("content")))

    def _end(self, response: _Response, status: str) -> None:
        """Take the response as it ended. Raises ErrorSent where it failed."""
        found = response.status or status
        error = error_in({"error": response.error}) if response.error else None
        if error or found in _VOID or status in _VOID:
            raise ErrorSent(error or {"message": f"the reply is {found}"})
        if found in _UNDER_WAY:
            found = status  # some servers leave it as it was before
        if found not in ("completed", "incomplete"):
            raise ErrorSent({"message": f"the reply is {found}"})
        response.status = "incomplete" if status == "incomplete" else found
        self._usage.read(response.usage)
        self._response = response


def _event(data: bytes) -> _Event:
    try:
        return _decode_event(data)
    except UNREADABLE:
        sent = loads(data)
        if not isinstance(sent, dict):
            raise TryAgain("the stream had an event in it that is no object").loggable() from None
        # Of a character that is split over two events the halves are still to meet.
        delta = sent.pop("delta", None)
        event = _read(dumps_mended(sent), _Event)
        event.delta = delta
        return event


def _read(raw: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE:
        raise TryAgain(MALFORMED).loggable() from None


def _ended(response: _Response) -> ReplyEnd:
    if response.status == "completed":
        return "completed"
    details = response.incomplete_details
    reason = details.get("reason") if isinstance(details, dict) else None
    return "content_filter" if reason == "content_filter" else "max_output_tokens"
