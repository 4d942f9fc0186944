"""How much of one reply is read: a server that is broken or hostile may send without end."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from twelvefold.core.events import Item
from twelvefold.errors import ModelRejected
from twelvefold.services.model.openai.wire import Reply


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """`reply_bytes` bounds the text, calls and reasoning of a reply, `items` their number.

    `stream_bytes` bounds what comes over the connection: an event of a stream is up to a hundred
    times as long as the piece of text in it.
    """

    items: int = 1_000
    reply_bytes: int = 4 << 20
    stream_bytes: int = 64 << 20

    def check_stream(self, received: int) -> None:
        """Raise ModelRejected if so many bytes are more than one reply takes."""
        if received > self.stream_bytes:
            raise _too_long(f"the stream of one reply has more than {self.stream_bytes} bytes")

    def check(self, reply: Reply) -> None:
        """Raise ModelRejected if what has come in by now is too long."""
        self._check(reply.item_count, reply.received)

    def check_whole(self, items: Sequence[Item]) -> None:
        """Raise ModelRejected if these are more than a reply may have, or longer."""
        self._check(len(items), len(msgspec.json.encode(items)))

    def _check(self, items: int, size: int) -> None:
        if items > self.items:
            raise _too_long(f"one reply has more than {self.items} items")
        if size > self.reply_bytes:
            raise _too_long(f"one reply has more than {self.reply_bytes} bytes")


REPLY_LIMITS = ReplyLimits()
"""More than any model in use says, whatever its settings."""


def _too_long(what: str) -> ModelRejected:
    return ModelRejected(f"the model's server sends too much: {what}").loggable()
