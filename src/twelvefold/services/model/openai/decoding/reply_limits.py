"""Limits of one reply, because a broken or hostile server may send an endless one."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from twelvefold.core import Item
from twelvefold.errors import ModelRejected
from twelvefold.services.model.openai.api_format import ReplyReader


class ReplyLimits(Struct, frozen=True):
    """Limits of the items, of their text, calls and reasoning, and of the bytes of the stream.

    `stream_bytes` is larger because an event is up to a hundred times as long as the text in it.
    """

    items: int = 1_000
    reply_bytes: int = 4 << 20
    stream_bytes: int = 64 << 20

    def check_stream(self, received_bytes: int) -> None:
        """Raise ModelRejected if the stream exceeds its limit."""
        if received_bytes > self.stream_bytes:
            raise _too_long(f"the stream of one reply has more than {self.stream_bytes} bytes")

    def check(self, reply: ReplyReader) -> None:
        """Raise ModelRejected if the part of the reply received so far exceeds a limit."""
        self._check(reply.item_count, reply.received_bytes)

    def check_items(self, items: Sequence[Item]) -> None:
        """Raise ModelRejected if the items of a complete reply exceed a limit."""
        self._check(len(items), len(msgspec.json.encode(items)))

    def _check(self, items: int, size: int) -> None:
        if items > self.items:
            raise _too_long(f"one reply has more than {self.items} items")
        if size > self.reply_bytes:
            raise _too_long(f"one reply has more than {self.reply_bytes} bytes")


REPLY_LIMITS = ReplyLimits()
"""Higher than the longest reply of any model in use."""


def _too_long(problem: str) -> ModelRejected:
    return ModelRejected(f"the model's server sends too much: {problem}").loggable()
