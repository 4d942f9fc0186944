"""A recorded conversation's model, played again: its replies in order, and no other.

A tape is a journal, as entries or as `twelvefold runs export` writes it: one JSON object a line
with position, run, type, version, body and at_us.
"""

from collections.abc import Iterable
from typing import Self

import msgspec

from twelvefold.core.events import Entry, ModelReplied, decode
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.errors import ModelRejected, StoreRefused
from twelvefold.services.model.scripted import show


class CassetteModel:
    """Gives the replies of a tape.

    Unless `check` is False, it refuses a request whose conversation is at another point: one
    with more or fewer tool outputs than the tape had there.
    """

    def __init__(self, entries: Iterable[Entry], *, check: bool = True) -> None:
        self.name = "cassette"
        self._replies = [e.event for e in entries if isinstance(e.event, ModelReplied)]
        self._check = check
        self._played = 0

    @classmethod
    def from_export(cls, lines: Iterable[str | bytes], *, check: bool = True) -> Self:
        """A tape out of an exported journal. Raises ModelRejected if it cannot be read."""
        entries = (_entry(n, line) for n, line in enumerate(lines, 1) if line.strip())
        return cls(entries, check=check)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """The tape's next reply. Raises ModelRejected if it is over, or does not fit."""
        if self._played == len(self._replies):
            raise ModelRejected(f"the cassette is over: it has {self._played} replies")
        if self._check:
            self._check_outputs(request)
        event = self._replies[self._played]
        self._played += 1
        reply = ModelReply(event.items, event.usage, event.model, event.request_hash, event.ended)
        show(reply, listener)
        return reply

    async def close(self) -> None:
        """Nothing is open."""

    def _check_outputs(self, request: ModelRequest) -> None:
        expected = sum(_outputs_after(reply) for reply in self._replies[: self._played])
        found = sum(item.get("type") == "function_call_output" for item in request.items)
        if found != expected:
            raise ModelRejected(
                f"the cassette does not fit: before its reply {self._played + 1} of "
                f"{len(self._replies)} come {expected} tool outputs, the request has {found}"
            )


class _Line(msgspec.Struct):
    position: int
    run: int
    type: str
    version: int
    body: msgspec.Raw
    at_us: int = 0


def _entry(number: int, text: str | bytes) -> Entry:
    try:
        line = msgspec.json.decode(text, type=_Line)
        body = bytes(line.body).decode()
        event = decode(line.type, line.version, body)
    except (msgspec.DecodeError, StoreRefused) as error:
        raise ModelRejected(f"the cassette's line {number} cannot be read: {error}") from None
    return Entry(line.position, line.run, event, len(body), line.at_us)


def _outputs_after(reply: ModelReplied) -> int:
    """How many outputs a reply leads to: the calls of one that was cut off are never run."""
    if reply.ended != "completed":
        return 0
    return sum(item.get("type") == "function_call" for item in reply.items)
