"""Replays the replies of a recorded conversation, in order.

A cassette is a journal, either as entries or in the format of `twelvefold runs export`: one JSON
object per line with position, run, type, version, body and at_us.
"""

from collections.abc import Iterable
from typing import Self

import msgspec

from twelvefold.core import Entry, Listener, ModelReplied, ModelReply, ModelRequest, decode
from twelvefold.errors import ModelRejected, StoreRefused
from twelvefold.services.model.scripted import show_text


class CassetteModel:
    """Returns the recorded replies.

    Unless `check` is False, it rejects a request with more or fewer tool outputs than the
    recording had at this point.
    """

    def __init__(self, entries: Iterable[Entry], *, check: bool = True) -> None:
        self.name = "cassette"
        self._replies = [e.event for e in entries if isinstance(e.event, ModelReplied)]
        self._check = check
        self._position = 0

    @classmethod
    def from_export(cls, lines: Iterable[str | bytes], *, check: bool = True) -> Self:
        """Read an exported journal. Raises ModelRejected if a line is invalid."""
        entries = (_parse_entry(n, line) for n, line in enumerate(lines, 1) if line.strip())
        return cls(entries, check=check)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Return the next reply. Raises ModelRejected at the end, or if the request differs."""
        if self._position == len(self._replies):
            raise ModelRejected(f"the cassette is over: it has {self._position} replies")
        if self._check:
            self._check_outputs(request)
        event = self._replies[self._position]
        self._position += 1
        reply = ModelReply(event.items, event.usage, event.model, event.request_hash, event.ended)
        show_text(reply, listener)
        return reply

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _check_outputs(self, request: ModelRequest) -> None:
        expected = sum(_outputs_caused_by(reply) for reply in self._replies[: self._position])
        found = sum(item.get("type") == "function_call_output" for item in request.items)
        if found != expected:
            raise ModelRejected(
                f"the cassette does not match: its reply {self._position + 1} of "
                f"{len(self._replies)} follows {expected} tool outputs, the request has {found}"
            )


class _Line(msgspec.Struct):
    position: int
    run: int
    type: str
    version: int
    body: msgspec.Raw
    at_us: int = 0


def _parse_entry(number: int, text: str | bytes) -> Entry:
    try:
        line = msgspec.json.decode(text, type=_Line)
        body = bytes(line.body).decode()
        event = decode(line.type, line.version, body)
    except (msgspec.DecodeError, StoreRefused) as error:
        raise ModelRejected(f"the cassette's line {number} cannot be read: {error}") from None
    return Entry(line.position, line.run, event, len(body), line.at_us)


def _outputs_caused_by(reply: ModelReplied) -> int:
    """Return the number of tool outputs that follow a reply: a truncated reply runs no calls."""
    if reply.ended != "completed":
        return 0
    return sum(item.get("type") == "function_call" for item in reply.items)
