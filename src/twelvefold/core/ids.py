"""Ids as distinct types. What goes over the wire is derived from them, never stored beside."""

import re
from dataclasses import dataclass
from typing import NewType, Self

from twelvefold.errors import NotFound

ThreadId = NewType("ThreadId", str)
LeaseToken = NewType("LeaseToken", str)
CallId = NewType("CallId", str)
"""A tool call: the position of its reply in the thread and its index there, as in `12.0`.

The model's own call id is no identity: real models repeat it within one conversation.
"""

THREAD_ID_LENGTH = 44
"""Hex digits: 12 of milliseconds since 1970, so that new threads sort last, and 32 random ones."""
_ORDINAL = re.compile(r"[1-9][0-9]{0,8}")
"""Nothing else, so that a run has one id."""


def call_id(position: int, index: int) -> CallId:
    return CallId(f"{position}.{index}")


def position_of(call: CallId) -> int:
    """The position of the reply that a call is of."""
    return int(call.partition(".")[0])


@dataclass(frozen=True, slots=True)
class RunId:
    """One turn of a thread; `ordinal` counts from 1."""

    thread: ThreadId
    ordinal: int

    def __str__(self) -> str:
        return f"resp_{self.thread}{self.ordinal}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `resp_<thread><ordinal>`. Raises NotFound, as for a run that is not there."""
        bare = text.removeprefix("resp_")
        thread, ordinal = bare[:THREAD_ID_LENGTH], bare[THREAD_ID_LENGTH:]
        if not _is_thread_id(thread) or not _ORDINAL.fullmatch(ordinal):
            raise NotFound(
                f"no run {text!r}; a run's id is resp_, {THREAD_ID_LENGTH} hex digits and a number"
            )
        return cls(ThreadId(thread), int(ordinal))


def parse_thread_id(text: str) -> ThreadId:
    """Read `conv_<thread>` or the bare id. Raises NotFound, as for a thread that is not there."""
    bare = text.removeprefix("conv_")
    if not _is_thread_id(bare):
        raise NotFound(f"no thread {text!r}; a thread's id is {THREAD_ID_LENGTH} hex digits")
    return ThreadId(bare)


def _is_thread_id(text: str) -> bool:
    return len(text) == THREAD_ID_LENGTH and set(text) <= set("0123456789abcdef")
