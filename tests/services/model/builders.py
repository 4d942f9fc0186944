"""Builders of requests, settings and listeners for the tests of models."""

from dataclasses import dataclass, field
from typing import Any

from twelvefold.core.events import Entry, Item
from twelvefold.core.ports import ModelReply, ModelRequest, ToolSpec
from twelvefold.services.model.openai import ModelSettings
from twelvefold.services.model.openai.api_format import ApiFormat
from twelvefold.services.model.openai.decoding.sse import SSEDecoder

HASH = "ab" * 32
TIMEOUT_S = 60.0
ENROL = ToolSpec(
    "enrol",
    "Enrol the caller in a course.",
    {
        "type": "object",
        "properties": {"course": {"type": "string"}},
        "required": ["course"],
        "additionalProperties": False,
    },
)


@dataclass
class RecordingListener:
    """A listener that records. `text_now` is the text that remains visible at the end."""

    deltas: list[str] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    text_now: str = ""

    def text(self, delta: str) -> None:
        self.deltas.append(delta)
        self.text_now += delta

    def restarted(self, why: str) -> None:
        self.restarts.append(why)
        self.text_now = ""

    def recorded(self, entry: Entry) -> None:
        raise AssertionError(entry)

    def shown(self) -> None:
        raise AssertionError


def user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": text}


def output(call_id: str, text: str) -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def model_request(*items: Item, instructions: str = "Be brief.") -> ModelRequest:
    return ModelRequest(instructions, items or (user("hello"),), (ENROL,))


def fast_settings(url: str, **changes: Any) -> ModelSettings:
    """Return settings with short pauses, and with timeouts that a busy machine does not reach."""
    base: dict[str, Any] = {
        "base_url": url,
        "api_key": "sk-secret",
        "model": "gpt-test",
        "connect_timeout_s": TIMEOUT_S,
        "first_token_timeout_s": TIMEOUT_S,
        "between_tokens_timeout_s": TIMEOUT_S,
        "backoff_s": 0.001,
    }
    return ModelSettings(**base | changes)


@dataclass(frozen=True)
class FixedSettings:
    """The settings of every request."""

    model: str = "gpt-test"
    temperature: float | None = None
    max_output_tokens: int | None = None


def received(api_format: ApiFormat, *events: bytes) -> tuple[ModelReply, RecordingListener]:
    """Return the reply of these server-sent events, and the listener of its text."""
    listener = RecordingListener()
    reply = api_format.new_reader(listener.text)
    for event in events:
        for data in SSEDecoder().feed(event):
            reply.add(data)
    return reply.build(HASH, "gpt-requested"), listener
