"""Replays the replies of a recorded conversation, in order.

A cassette is a journal, either as entries or in the format of `twelvefold runs export`: one JSON
object per line with position, run, type, version, body and at_us.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import msgspec

from twelvefold.core import (
    Entry,
    Listener,
    ModelAttempt,
    ModelReplied,
    ModelReply,
    ModelRequest,
    decode,
)
from twelvefold.errors import ModelRejected, ModelUnavailable, StoreRefused
from twelvefold.services.model.scripted import show_text


class CassetteModel:
    """Returns the recorded replies.

    With `model`, a name of MODELS, it returns the replies of that model alone, and raises
    ModelUnavailable where the model gave none: a chain has a cassette for each of its models.
    Unless `check` is False, it rejects a request with more or fewer tool outputs than the recording
    had at this point.
    """

    def __init__(self, entries: Iterable[Entry], *, check: bool = True, model: str = "") -> None:
        self.name = "cassette"
        replies = [e.event for e in entries if isinstance(e.event, ModelReplied)]
        self._replies = list(_replies_of(model, replies))
        self._check = check
        self._position = 0

    @classmethod
    def from_export(
        cls, lines: Iterable[str | bytes], *, check: bool = True, model: str = ""
    ) -> Self:
        """Read an exported journal. Raises ModelRejected if a line is invalid."""
        entries = (_parse_entry(n, line) for n, line in enumerate(lines, 1) if line.strip())
        return cls(filter(None, entries), check=check, model=model)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Return the next reply. Raises ModelRejected at the end, or if the request differs."""
        if self._position == len(self._replies):
            raise ModelRejected(f"the cassette is over: it has {self._position} replies")
        recorded = self._replies[self._position]
        if self._check:
            self._check_outputs(request, recorded.outputs)
        self._position += 1
        if isinstance(recorded.event, ModelAttempt):
            error = ModelUnavailable(recorded.event.error)
            error.usage = recorded.event.usage
            raise error
        event = recorded.event
        reply = ModelReply(event.items, event.usage, event.model, event.request_hash, event.ended)
        show_text(reply, listener)
        return reply

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _check_outputs(self, request: ModelRequest, expected: int) -> None:
        found = sum(item.get("type") == "function_call_output" for item in request.items)
        if found != expected:
            raise ModelRejected(
                f"the cassette does not match: its reply {self._position + 1} of "
                f"{len(self._replies)} follows {expected} tool outputs, the request has {found}"
            )


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A recorded reply, or a failure, and the number of tool outputs in its request."""

    event: ModelReplied | ModelAttempt
    outputs: int


def _replies_of(model: str, replies: Iterable[ModelReplied]) -> Iterator[_Recorded]:
    """Return the replies and failures of a model in order; "" for all replies."""
    outputs = 0
    for reply in replies:
        if model:
            for attempt in reply.attempts:
                if attempt.model == model:
                    yield _Recorded(attempt, outputs)
        if model in ("", reply.named):
            yield _Recorded(reply, outputs)
        outputs += _outputs_caused_by(reply)


class _Line(msgspec.Struct):
    position: int
    run: int
    type: str
    version: int
    body: msgspec.Raw
    at_us: int = 0
    thread: str = ""


def _parse_entry(number: int, text: str | bytes) -> Entry | None:
    """Return the entry of a line; None for one of a run that another one started."""
    try:
        line = msgspec.json.decode(text, type=_Line)
        body = bytes(line.body).decode()
        event = decode(line.type, line.version, body)
    except (msgspec.DecodeError, StoreRefused) as error:
        raise ModelRejected(f"the cassette's line {number} cannot be read: {error}") from None
    if line.thread:
        return None
    return Entry(line.position, line.run, event, len(body), line.at_us)


def _outputs_caused_by(reply: ModelReplied) -> int:
    """Return the number of tool outputs that follow a reply: a truncated reply runs no calls."""
    if reply.ended != "completed":
        return 0
    return sum(item.get("type") == "function_call" for item in reply.items)
