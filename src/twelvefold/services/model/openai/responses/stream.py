"""Reads a reply from the events of a Responses stream.

Source: OpenAI's API reference, the streaming events of `POST /responses`. Unknown events are
ignored; unknown fields of an item are kept.
"""

from typing import Any, TypeVar

import msgspec

from twelvefold.core import Item, ModelReply, ReplyEnd, Usage
from twelvefold.services.model.errors import (
    DECODE_ERRORS,
    MALFORMED_JSON,
    ErrorReceived,
    RetryableError,
)
from twelvefold.services.model.items import text_of
from twelvefold.services.model.lenient_json import decode_lenient, encode_repaired
from twelvefold.services.model.openai.api_format import DONE, TextCallback
from twelvefold.services.model.openai.decoding import StreamedText, UsageReader
from twelvefold.services.model.openai.failures import find_error
from twelvefold.services.model.openai.responses.items import ItemReader, normalize_item

_T = TypeVar("_T")
_NULL_RAW = msgspec.Raw(b"null")
_NULL = b"null"
_TEXT_DELTA = "response.output_text.delta"
_FINAL_EVENTS: dict[object, str] = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
"""The events that end a response, with its status for an event without one."""
_FAILED_STATUSES = ("failed", "cancelled", "canceled", "expired")
_PENDING_STATUSES = ("in_progress", "queued")


class _Event(msgspec.Struct):
    """The relevant fields of an event. Other fields are not decoded."""

    type: Any = ""
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    name: Any = None
    item_id: Any = None
    output_index: Any = None
    item: msgspec.Raw = _NULL_RAW
    response: msgspec.Raw = _NULL_RAW


class _Response(msgspec.Struct):
    """The relevant fields of a finished response."""

    status: Any = None
    error: Any = None
    incomplete_details: Any = None
    model: Any = None
    output: list[Item | None] | None = None
    usage: Any = None

    @property
    def items(self) -> list[Item]:
        """Its output without null items."""
        return [item for item in self.output or () if item]


_decode_event = msgspec.json.Decoder(_Event).decode


class ResponsesReply:
    """Builds a reply from the events of a stream."""

    def __init__(self, on_text: TextCallback) -> None:
        self.is_writing = False
        self._text = StreamedText(on_text)
        self._items = ItemReader()
        self._response: _Response | None = None
        self._usage = UsageReader()
        self._received_done = False

    @property
    def has_shown_text(self) -> bool:
        return bool(self._text)

    @property
    def is_complete(self) -> bool:
        return self._response is not None

    @property
    def is_closed(self) -> bool:
        return self._response is not None or self._received_done

    @property
    def usage(self) -> Usage:
        return self._usage.usage

    @property
    def received_bytes(self) -> int:
        return self._items.size + self._text.size

    @property
    def item_count(self) -> int:
        return self._items.started

    def add(self, data: bytes) -> None:
        if data.startswith(DONE) and data.strip() == DONE:
            self._received_done = True
            return
        if not data.strip():
            return  # a heartbeat
        event = _parse_event(data)
        if event.type == _TEXT_DELTA:
            self._add_text(event, refused=False)
            return
        match event.type:
            case "error" | "response.error":
                raise ErrorReceived(find_error(_decode(data, dict[str, Any])) or {})
            case str(kind) if kind in _FINAL_EVENTS:
                sent = data if bytes(event.response) == _NULL else event.response
                self._set_response(_decode(sent, _Response), _FINAL_EVENTS[kind])
            case str(kind) if kind.startswith("response."):
                self._add_to_item(kind, event)
            case _:
                self._add_untyped(data)

    def _add_text(self, event: _Event, *, refused: bool) -> None:
        self.is_writing = True
        self._text.add(event.delta)
        self._items.add_text(event, refused=refused)

    def _add_to_item(self, kind: str, event: _Event) -> None:
        match kind:
            case "response.function_call_arguments.delta":
                self.is_writing = True
                self._items.add_arguments(event)
            case "response.refusal.delta":
                self._add_text(event, refused=True)
            case "response.output_text.done" | "response.refusal.done":
                self._items.set_text(event, refused=kind == "response.refusal.done")
            case "response.function_call_arguments.done":
                self._items.set_arguments(event)
            case "response.output_item.added":
                if bytes(event.item) != _NULL:
                    self._items.start(event, _decode(event.item, dict[str, Any]))
            case "response.output_item.done":
                self.is_writing = False
                if bytes(event.item) != _NULL:
                    self._items.finish(event, _decode(event.item, dict[str, Any]))
            case _ if kind.endswith(".delta") and isinstance(event.delta, str):
                self._items.count(event.delta)
            case _:
                pass

    def build(self, request_hash: str, model: str) -> ModelReply:
        response = self._response
        if response is None:
            # Some servers end the stream with [DONE] only.
            if not (self._received_done and self._items.has_items):
                raise RetryableError("the stream ended before the reply was complete").loggable()
            response = _Response(status="completed")
        self._text.finish()
        items = self._items.with_output(response.items)
        named = isinstance(response.model, str) and response.model
        return ModelReply(
            items=tuple(
                normalize_item(item, index, request_hash) for index, item in enumerate(items)
            ),
            usage=self.usage,
            model=named or model,
            request_hash=request_hash,
            ended=_reply_end(response),
        )

    def _add_untyped(self, data: bytes) -> None:
        """Process data without a type: an error, or the whole reply of a server without streams."""
        sent = _decode(data, dict[str, Any])
        if error := find_error(sent):
            raise ErrorReceived(error)
        if sent.get("object") != "response" and not isinstance(sent.get("output"), list):
            return
        response = _decode(data, _Response)
        if response.status in _PENDING_STATUSES:
            raise ErrorReceived({"message": f"the reply is {response.status}"})
        self._set_response(response, "completed")
        self._items.count_items(response.items)
        for item in response.items:
            if item.get("type", "message") == "message":
                self._text.add(text_of(item.get("content")))

    def _set_response(self, response: _Response, status: str) -> None:
        """Set the finished response. Raises ErrorReceived if it failed."""
        found = response.status or status
        error = find_error({"error": response.error}) if response.error else None
        if error or found in _FAILED_STATUSES or status in _FAILED_STATUSES:
            raise ErrorReceived(error or {"message": f"the reply is {found}"})
        if found in _PENDING_STATUSES:
            found = status  # some servers do not update the status in the response
        if found not in ("completed", "incomplete"):
            raise ErrorReceived({"message": f"the reply is {found}"})
        response.status = "incomplete" if status == "incomplete" else found
        self._usage.read(response.usage)
        self._response = response


def _parse_event(data: bytes) -> _Event:
    try:
        return _decode_event(data)
    except DECODE_ERRORS:
        sent = decode_lenient(data)
        if not isinstance(sent, dict):
            problem = "the stream contained an event that is not an object"
            raise RetryableError(problem).loggable() from None
        # Keeps lone surrogates: the two halves of a character may arrive in two events.
        delta = sent.pop("delta", None)
        event = _decode(encode_repaired(sent), _Event)
        event.delta = delta
        return event


def _decode(raw: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except DECODE_ERRORS:
        raise RetryableError(MALFORMED_JSON).loggable() from None


def _reply_end(response: _Response) -> ReplyEnd:
    if response.status == "completed":
        return "completed"
    details = response.incomplete_details
    reason = details.get("reason") if isinstance(details, dict) else None
    return "content_filter" if reason == "content_filter" else "max_output_tokens"
