"""Ids as distinct types. The ids of the API are derived from them and are not stored.

`CallIds` makes the ids that the model itself gives its calls fit for requests.
"""

import re
from typing import NewType, Self

from msgspec import Struct

from twelvefold.core.names import abbreviate
from twelvefold.errors import NotFound

ThreadId = NewType("ThreadId", str)
LeaseToken = NewType("LeaseToken", str)
CallId = NewType("CallId", str)
"""A tool call: the position of its reply in the thread and its index in the reply, as in `12.0`.

The model's own call id does not identify a call: some models repeat it within a conversation.
"""

THREAD_ID_LENGTH = 44
"""Hex digits: those of the thread's family, then 12 of milliseconds since 1970 and 12 random ones.

An older release wrote 12 of milliseconds and 32 random ones.
"""
FAMILY_LENGTH = 20
"""Hex digits: 12 of milliseconds since 1970, so that new families sort last, and 8 random ones."""
_ORDINAL = re.compile(r"[1-9][0-9]{0,8}")
"""Without leading zeros, so that a run has one id."""
_MODEL_CALL_ID = re.compile(r"[!-~]+")
"""Of any length: Kimi parses its ids, and some proxies put a thought signature into them."""
_INVALID_IN_CALL_ID = re.compile(r"[^!-~]")


def call_id(position: int, index: int) -> CallId:
    """Return the id of a call by the position of its reply and its index in the reply."""
    return CallId(f"{position}.{index}")


def position_of(call: CallId) -> int:
    """Return the position of the reply that has the call."""
    return int(call.partition(".")[0])


def family_of(thread: ThreadId) -> str:
    """Return the first digits of a thread's id, which its forks and their forks share.

    Rows of threads with the same first digits are on one shard.
    """
    return thread[:FAMILY_LENGTH]


class RunId(Struct, frozen=True):
    """One turn of a thread; `ordinal` counts from 1."""

    thread: ThreadId
    ordinal: int

    def __str__(self) -> str:
        return f"resp_{self.thread}{self.ordinal}"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the run of `resp_<thread><ordinal>`. Raises NotFound for any other value."""
        bare = text.removeprefix("resp_") if isinstance(text, str) else ""
        thread, ordinal = bare[:THREAD_ID_LENGTH], bare[THREAD_ID_LENGTH:]
        if not _is_thread_id(thread) or not _ORDINAL.fullmatch(ordinal):
            raise NotFound(
                f"no run {abbreviate(text)}; "
                f"a run's id is resp_, {THREAD_ID_LENGTH} hex digits and a number"
            )
        return cls(ThreadId(thread), int(ordinal))


def parse_thread_id(text: object) -> ThreadId:
    """Return the thread of `conv_<thread>` or `<thread>`. Raises NotFound for any other value."""
    bare = text.removeprefix("conv_") if isinstance(text, str) else ""
    if not _is_thread_id(bare):
        raise NotFound(
            f"no thread {abbreviate(text)}; a thread's id is {THREAD_ID_LENGTH} hex digits"
        )
    return ThreadId(bare)


def _is_thread_id(text: str) -> bool:
    return len(text) == THREAD_ID_LENGTH and set(text) <= set("0123456789abcdef")


class CallIds:
    """Makes the model's call ids valid and unique in a conversation, as requests need them.

    `before` has the ids of the conversation's first part.
    """

    def __init__(self, before: "CallIds | None" = None) -> None:
        self._taken: set[str] = set()
        self._number: dict[str, int] = {}
        self._before = before

    def take(self, wire_id: str) -> str:
        """Return the id if it is valid and free, else a variant that is."""
        valid = wire_id
        if not _MODEL_CALL_ID.fullmatch(wire_id):
            valid = _INVALID_IN_CALL_ID.sub("_", wire_id) or "call"
        free, number = valid, self._last_number(valid)
        while self._is_taken(free):
            number += 1
            free = f"{valid}_{number}"
        self._number[valid] = number
        self._taken.add(free)
        return free

    def joined(self) -> "CallIds":
        """Return one `CallIds` with these ids and those of `before`."""
        before, ids = self._before or CallIds(), CallIds()
        ids._taken = before._taken | self._taken
        ids._number = before._number | self._number
        return ids

    def _last_number(self, valid: str) -> int:
        number = self._number.get(valid)
        if number is None and self._before is not None:
            number = self._before._number.get(valid)
        return number or 1

    def _is_taken(self, id: str) -> bool:
        return id in self._taken or (self._before is not None and id in self._before._taken)
