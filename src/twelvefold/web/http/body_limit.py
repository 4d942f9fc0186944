"""Limits of a request body: its bytes, and the number and depth of its JSON values.

A text of 4 MB can have two million arrays. Decoding them takes 200 MB, walking through them takes
seconds. Counting brackets and commas first takes milliseconds.
"""

from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.errors import ApiError

SMALL_BYTES = 65_536
"""Bodies up to this length do not wait for the budget."""
BODY_ERROR = "body_error"
"""The key in a request's `state` where the protocol reports an error in the body's framing."""
MAX_DEPTH = 64
"""Nested arrays and objects. The deepest JSON Schema of a tool seen so far has 14 levels."""
MAX_VALUES = 250_000
"""Members of all arrays and objects together: one for every 16 bytes of the longest body."""
_RELEASED = -1
_STRUCTURE = b'[]{},"'
_OTHER_BYTES = bytes(set(range(256)) - set(_STRUCTURE))
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_decode = msgspec.json.Decoder().decode


class LimitedBody:
    """The body of one request, of at most `max_bytes`.

    A body larger than SMALL_BYTES takes its length from the budget of its `owner`. It gives the
    bytes back when it is complete or `release` is called.
    """

    def __init__(
        self, receive: Receive, scope: Scope, max_bytes: int, budget: BodyBudget, owner: str
    ) -> None:
        """Raise ApiError with 413 if the Content-Length is too large, before any byte is read."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise _too_large(max_bytes)
        self._receive = receive
        self._state = scope.setdefault("state", {})
        self._length = int(length) if length.isdecimal() else None
        self._max_bytes = max_bytes
        self._budget = budget
        self._owner = owner
        self._received_bytes = 0
        self._taken_bytes = 0

    async def receive(self) -> Message:
        """Receive the next part.

        Raises ApiError: 413 if the body is too large, 503 if the budget is used up, 400 for an
        error in its framing. A framing error is raised after the bytes before it were received.
        """
        if not self._taken_bytes:
            await self._take()
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._max_bytes:
            raise _too_large(self._max_bytes)
        if error := self._state.get(BODY_ERROR):
            raise error
        if not message.get("more_body"):
            self.release()
        return message

    def release(self) -> None:
        """Give the bytes back to the budget, for good."""
        if self._taken_bytes > 0:
            self._budget.give_back(self._owner, self._taken_bytes)
        self._taken_bytes = _RELEASED

    async def _take(self) -> None:
        if self._length is None:
            size = self._max_bytes if self._received_bytes > SMALL_BYTES else 0
        else:
            size = self._length if self._length > SMALL_BYTES else 0
        if size:
            await self._budget.take(self._owner, size)
            self._taken_bytes = size


def _too_large(max_bytes: int) -> ApiError:
    message = f"the body is too long; the maximum is {max_bytes} bytes"
    return ApiError(413, message, code="request_too_large")


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises ApiError: 413 for too many values, 400 for nesting that is too deep or invalid JSON.
    """
    structure = _structure(body)
    if structure.count(b"[") + structure.count(b",") > MAX_VALUES:
        message = f"the body has too many values; the maximum is {MAX_VALUES}"
        raise ApiError(413, message, code="request_too_large")
    try:
        value = _decode(body)
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_json") from error
    if _is_too_deep(structure):
        raise _too_deep()
    return value


def _structure(text: bytes) -> bytes:
    """Return a JSON text's brackets and commas, with braces as brackets; `b""` if they are few."""
    if sum(text.count(mark) for mark in (b"[", b"{", b",")) <= MAX_DEPTH:
        return b""
    # Without escapes every quote begins or ends a string.
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = unescaped.translate(_BRACES_AS_BRACKETS, delete=_OTHER_BYTES)
    # Most strings have no marks: they are two quotes here. Removing these leaves few to split at.
    return b"".join(marks.replace(b'""', b"").split(b'"')[::2])


def _is_too_deep(structure: bytes) -> bool:
    """Return whether brackets are nested too deeply; the text is valid JSON."""
    brackets = structure.replace(b",", b"")
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _too_deep() -> ApiError:
    return ApiError(400, f"the body is nested too deeply; the maximum is {MAX_DEPTH} levels")
