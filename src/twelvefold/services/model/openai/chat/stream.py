"""The chunks of a Chat Completions stream as a reply.

Many servers speak this API, each a little differently; what they are known to send is read.
"""

from typing import Any

import msgspec

from twelvefold.core.events import ReplyEnd, Usage
from twelvefold.core.ports import ModelReply
from twelvefold.services.model.openai.chat.calls import Calls
from twelvefold.services.model.openai.decoding.usage import UsageReader
from twelvefold.services.model.openai.provider_fields import MESSAGE, Fields
from twelvefold.services.model.openai.wire import (
    DONE,
    UNREADABLE,
    ErrorSent,
    Show,
    Text,
    TryAgain,
    byte_length,
    error_in,
    loads,
    message,
    text_of,
)

_LENGTH = {"length", "max_tokens", "max_output_tokens", "max_length", "model_length"}
_FILTERED = {"content_filter", "content_filtered", "safety", "sensitive", "recitation"}
_FILTERED |= {"prohibited_content", "blocklist", "spii", "moderation"}
_BROKEN = {"error", "abort", "aborted", "cancelled", "canceled", "network_error", "timeout"}
_BROKEN |= {"insufficient_system_resource", "malformed_function_call"}


class _Delta(msgspec.Struct):
    """What matters of a delta. The reasoning is shown to nobody and counts as output."""

    content: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    """`message` instead of `delta` is what a server sends that does not know how to stream.

    `text` is what it sends that knows the older completions alone.
    """

    index: Any = None
    delta: Any = None
    message: Any = None
    finish_reason: Any = None
    text: Any = None
    usage: Any = None
    error: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice | None] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None
    x_groq: Any = None
    usageMetadata: Any = None
    usage_metadata: Any = None
    timings: Any = None
    meta: Any = None
    metadata: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class ChatReply:
    """A reply out of the chunks of its stream."""

    def __init__(self, show: Show) -> None:
        self.flowing = False
        self.over = False
        self.finished = False
        self._text = Text(show)
        self._refusal = Text(show)
        self._calls = Calls()
        self._fields = Fields()
        self._usage = UsageReader()
        self._ended: ReplyEnd = "completed"
        self._model = ""
        self._reasoning_size = 0

    @property
    def shown(self) -> bool:
        return bool(self._text or self._refusal)

    @property
    def usage(self) -> Usage:
        return self._usage.usage

    @property
    def received(self) -> int:
        return self._text.size + self._refusal.size + self._calls.size + self._reasoning_size

    @property
    def item_count(self) -> int:
        return self._calls.count

    def add(self, data: bytes) -> None:
        if data.startswith(DONE) and data.strip() == DONE:
            self.over = True
            return
        if not data.strip():
            return  # it only keeps the connection open
        chunk = _chunk(data)
        choices = chunk.choices
        if not choices or chunk.error:
            self._read_error(chunk, data)
        if chunk.model is not None and not self._model and isinstance(chunk.model, str):
            self._model = chunk.model
        for choice in choices or ():
            # Only one is asked for; some servers send more.
            if choice is not None and choice.index in (0, None, "0"):
                self._add(choice)
        if chunk.usage is not None or self.finished or not choices:
            self._read_usage(chunk)

    def _read_error(self, chunk: _Chunk, data: bytes) -> None:
        if (chunk.error or chunk.choices is None) and (error := error_in(loads(data))):
            raise ErrorSent(error)

    def whole(self, request_hash: str, model: str) -> ModelReply:
        text, refusal = self._text.end(), self._refusal.end()
        # Some servers never send [DONE], some no reason; one of them, or the reply was cut off.
        if not (self.finished or (self.over and self._says_something())):
            raise TryAgain("the stream ended before the reply did").loggable()
        calls = self._calls.items(request_hash)
        said = [message(text, refusal)] if text or refusal or not calls else []
        for first in (calls or said)[:1]:
            if self._fields.found:
                first[MESSAGE] = self._fields.found
        return ModelReply(
            items=(*said, *calls),
            usage=self.usage,
            model=self._model or model,
            request_hash=request_hash,
            ended=self._ended,
        )

    def _says_something(self) -> bool:
        return bool(self._text or self._refusal or self._calls)

    def _read_usage(self, chunk: _Chunk) -> None:
        if chunk.usage:
            self._usage.read(chunk.usage)
        elsewhere = (chunk.x_groq, chunk.usageMetadata, chunk.usage_metadata, chunk.timings)
        if any((*elsewhere, chunk.meta, chunk.metadata)):
            self._usage.read_around(msgspec.to_builtins(chunk))
        if chunk.eval_count or chunk.prompt_eval_count:
            self._usage.read(msgspec.to_builtins(chunk))
        if not chunk.choices and chunk.usage and self._says_something():
            self.finished = True  # the usage comes last

    def _add(self, choice: _Choice) -> None:
        if choice.error and (error := error_in({"error": choice.error})):
            raise ErrorSent(error)
        if isinstance(choice.delta, dict):  # an empty one is a list where PHP wrote it
            self._fields.add_of_message(choice.delta)
            self._add_delta(msgspec.convert(choice.delta, _Delta))
        if choice.usage is not None:
            self._usage.read(choice.usage)
        if isinstance(choice.message, dict):
            if not self._fields.found:
                self._fields.add_of_message(choice.message)
            self._add_message(msgspec.convert(choice.message, _Delta))
        elif choice.text and choice.delta is None:
            self._text.add(choice.text)
        reason = choice.finish_reason
        if reason is not None and isinstance(reason, str) and reason not in ("", "null"):
            self._finish(reason.lower())

    def _finish(self, reason: str) -> None:
        # Gemini puts a general word before its own: `function_call_filter: …`.
        if reason in _BROKEN or reason.rpartition(": ")[2] in _BROKEN:
            failed = "the server broke off the reply"
            raise TryAgain(f"{failed}: {reason}").loggable(failed)
        self.finished = True
        if reason in _LENGTH:
            self._ended = "max_output_tokens"
        elif reason in _FILTERED:
            self._ended = "content_filter"

    def _add_message(self, whole: _Delta) -> None:
        """Take a reply in one piece; behind its deltas it repeats them."""
        if self._text:
            text, before = text_of(whole.content), self._text.so_far
            whole.content = text.removeprefix(before) if text.startswith(before) else None
        if self._calls:
            whole.tool_calls = whole.function_call = None
        self._add_delta(whole)
        self.finished = True

    def _add_delta(self, delta: _Delta) -> None:
        if delta.content:
            self.flowing = True
            self._text.add(text_of(delta.content))
        if delta.refusal:
            self._refusal.add(delta.refusal)
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning is not None and isinstance(reasoning, str):
            self._reasoning_size += byte_length(reasoning)
        if delta.tool_calls or delta.function_call:
            for call in _calls_in(delta):
                self.flowing = True
                self._calls.add(call)


def _calls_in(delta: _Delta) -> list[Any]:
    if isinstance(delta.tool_calls, dict):
        return [delta.tool_calls]
    if isinstance(delta.tool_calls, list) and delta.tool_calls:
        return delta.tool_calls
    # What the API had before `tool_calls`; some servers still send it.
    legacy = delta.function_call
    return [{"index": "function_call", "function": legacy}] if isinstance(legacy, dict) else []


def _chunk(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except UNREADABLE:
        try:
            return msgspec.convert(loads(data), _Chunk)
        except msgspec.ValidationError as error:
            problem = "the stream had an event in it that is no chunk"
            raise TryAgain(f"{problem}: {error}").loggable(problem) from None
