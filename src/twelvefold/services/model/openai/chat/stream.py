"""Reads a reply from the chunks of a Chat Completions stream, in each known server's variant."""

from typing import Any

import msgspec

from twelvefold.core import ModelReply, ReplyEnd, Usage
from twelvefold.services.model.errors import DECODE_ERRORS, ErrorReceived, RetryableError
from twelvefold.services.model.items import message, text_of
from twelvefold.services.model.lenient_json import byte_length, decode_lenient
from twelvefold.services.model.openai.api_format import DONE, TextCallback
from twelvefold.services.model.openai.chat.calls import CallReader
from twelvefold.services.model.openai.decoding import StreamedText, UsageReader
from twelvefold.services.model.openai.failures import find_error
from twelvefold.services.model.openai.provider_fields import MESSAGE_FIELDS_KEY, ProviderFields

_LENGTH_REASONS = {"length", "max_tokens", "max_output_tokens", "max_length", "model_length"}
_FILTER_REASONS = {"content_filter", "content_filtered", "safety", "sensitive", "recitation"}
_FILTER_REASONS |= {"prohibited_content", "blocklist", "spii", "moderation"}
_FAILURE_REASONS = {
    "error",
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "network_error",
    "timeout",
}
_FAILURE_REASONS |= {"insufficient_system_resource", "malformed_function_call"}


class _Delta(msgspec.Struct):
    """The relevant fields of a delta. Reasoning is not shown and counts as output."""

    content: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    """A choice. `message` instead of `delta` comes from servers that cannot stream.

    `text` comes from servers of the older Completions API.
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
    """Builds a reply from the chunks of a stream."""

    def __init__(self, on_text: TextCallback) -> None:
        self.is_writing = False
        self.is_closed = False
        self.is_complete = False
        self._text = StreamedText(on_text)
        self._refusal = StreamedText(on_text)
        self._calls = CallReader()
        self._fields = ProviderFields()
        self._usage = UsageReader()
        self._ended: ReplyEnd = "completed"
        self._model = ""
        self._reasoning_size = 0

    @property
    def has_shown_text(self) -> bool:
        return bool(self._text or self._refusal)

    @property
    def usage(self) -> Usage:
        return self._usage.usage

    @property
    def received_bytes(self) -> int:
        return self._text.size + self._refusal.size + self._calls.size + self._reasoning_size

    @property
    def item_count(self) -> int:
        return self._calls.count

    def add(self, data: bytes) -> None:
        if data.startswith(DONE) and data.strip() == DONE:
            self.is_closed = True
            return
        if not data.strip():
            return  # a heartbeat
        chunk = _chunk(data)
        choices = chunk.choices
        if not choices or chunk.error:
            self._read_error(chunk, data)
        if chunk.model is not None and not self._model and isinstance(chunk.model, str):
            self._model = chunk.model
        for choice in choices or ():
            # Some servers send more choices than the one requested.
            if choice is not None and choice.index in (0, None, "0"):
                self._add(choice)
        if chunk.usage is not None or self.is_complete or not choices:
            self._read_usage(chunk)

    def _read_error(self, chunk: _Chunk, data: bytes) -> None:
        if (chunk.error or chunk.choices is None) and (error := find_error(decode_lenient(data))):
            raise ErrorReceived(error)

    def build(self, request_hash: str, model: str) -> ModelReply:
        text, refusal = self._text.finish(), self._refusal.finish()
        # Some servers omit [DONE], others the finish reason. Without both the reply was cut off.
        if not (self.is_complete or (self.is_closed and self._has_output())):
            raise RetryableError("the stream ended before the reply was complete").loggable()
        calls = self._calls.items(request_hash)
        messages = [message(text, refusal)] if text or refusal or not calls else []
        for first in (calls or messages)[:1]:
            if self._fields.found:
                first[MESSAGE_FIELDS_KEY] = self._fields.found
        return ModelReply(
            items=(*messages, *calls),
            usage=self.usage,
            model=self._model or model,
            request_hash=request_hash,
            ended=self._ended,
        )

    def _has_output(self) -> bool:
        return bool(self._text or self._refusal or self._calls)

    def _read_usage(self, chunk: _Chunk) -> None:
        if chunk.usage:
            self._usage.read(chunk.usage)
        elsewhere = (chunk.x_groq, chunk.usageMetadata, chunk.usage_metadata, chunk.timings)
        if any((*elsewhere, chunk.meta, chunk.metadata)):
            self._usage.read_enclosing(msgspec.to_builtins(chunk))
        if chunk.eval_count or chunk.prompt_eval_count:
            self._usage.read(msgspec.to_builtins(chunk))
        if not chunk.choices and chunk.usage and self._has_output():
            self.is_complete = True  # the usage is sent last

    def _add(self, choice: _Choice) -> None:
        if choice.error and (error := find_error({"error": choice.error})):
            raise ErrorReceived(error)
        if isinstance(choice.delta, dict):  # servers in PHP send an empty delta as a list
            self._fields.add_message(choice.delta)
            self._add_delta(msgspec.convert(choice.delta, _Delta))
        if choice.usage is not None:
            self._usage.read(choice.usage)
        if isinstance(choice.message, dict):
            if not self._fields.found:
                self._fields.add_message(choice.message)
            self._add_message(msgspec.convert(choice.message, _Delta))
        elif choice.text and choice.delta is None:
            self._text.add(choice.text)
        reason = choice.finish_reason
        if reason is not None and isinstance(reason, str) and reason not in ("", "null"):
            self._finish(reason.lower())

    def _finish(self, reason: str) -> None:
        # Gemini prefixes its reason with a general one: `function_call_filter: …`.
        if reason in _FAILURE_REASONS or reason.rpartition(": ")[2] in _FAILURE_REASONS:
            failed = "the server broke off the reply"
            raise RetryableError(f"{failed}: {reason}").loggable(failed)
        self.is_complete = True
        if reason in _LENGTH_REASONS:
            self._ended = "max_output_tokens"
        elif reason in _FILTER_REASONS:
            self._ended = "content_filter"

    def _add_message(self, whole: _Delta) -> None:
        """Add a whole message, without the text and calls that its deltas contained."""
        if self._text:
            text, before = text_of(whole.content), self._text.so_far
            whole.content = text.removeprefix(before) if text.startswith(before) else None
        if self._calls:
            whole.tool_calls = whole.function_call = None
        self._add_delta(whole)
        self.is_complete = True

    def _add_delta(self, delta: _Delta) -> None:
        if delta.content:
            self.is_writing = True
            self._text.add(text_of(delta.content))
        if delta.refusal:
            self._refusal.add(delta.refusal)
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning is not None and isinstance(reasoning, str):
            self._reasoning_size += byte_length(reasoning)
        if delta.tool_calls or delta.function_call:
            for call in _calls_in(delta):
                self.is_writing = True
                self._calls.add(call)


def _calls_in(delta: _Delta) -> list[Any]:
    if isinstance(delta.tool_calls, dict):
        return [delta.tool_calls]
    if isinstance(delta.tool_calls, list) and delta.tool_calls:
        return delta.tool_calls
    # Older servers send `function_call`, the predecessor of `tool_calls`.
    legacy = delta.function_call
    return [{"index": "function_call", "function": legacy}] if isinstance(legacy, dict) else []


def _chunk(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except DECODE_ERRORS:
        try:
            return msgspec.convert(decode_lenient(data), _Chunk)
        except msgspec.ValidationError as error:
            problem = "the stream contained an event that is not a chunk"
            raise RetryableError(f"{problem}: {error}").loggable(problem) from None
