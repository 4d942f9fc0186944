"""What a request may weigh: bytes, nesting, and how many of them in a minute."""

import math
import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.json_shape import (
    MAX_DEPTH,
    MAX_VALUES,
    has_too_many_values,
    is_too_deep,
    marks_of,
)
from twelvefold.web.http.token_buckets import TokenBuckets

SMALL_BYTES = 65_536
"""Bodies up to this length do not wait for others."""
_RELEASED = -1
BODY_ERROR = "body_error"
"""Where the protocol leaves an ApiError in a request's `state`, if its body is no body."""
_decode = msgspec.json.Decoder().decode


class LimitedBody:
    """The body of one request, as it is received.

    It is at most `max_bytes` long. More than SMALL_BYTES of it count against the budget of all
    bodies, in the name of `owner`, until it is complete or `release` is called.
    """

    def __init__(
        self, receive: Receive, scope: Scope, max_bytes: int, budget: BodyBudget, owner: str
    ) -> None:
        """Raise ApiError with 413 if the Content-Length is too long: no byte is read then."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise _too_large(max_bytes)
        self._receive = receive
        self._state = scope.setdefault("state", {})
        self._length = int(length) if length.isdecimal() else None
        self._max_bytes = max_bytes
        self._budget = budget
        self._owner = owner
        self._read = 0
        self._taken = 0

    async def receive(self) -> Message:
        """Receive the next part. Raises ApiError: 413, 503 without room, or for its framing.

        An error in the framing is raised behind the bytes that stood before it.
        """
        if not self._taken:
            await self._take()
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._max_bytes:
            raise _too_large(self._max_bytes)
        if error := self._state.get(BODY_ERROR):
            raise error
        if not message.get("more_body"):
            self.release()
        return message

    def release(self) -> None:
        """Nothing more is received."""
        if self._taken > 0:
            self._budget.give_back(self._owner, self._taken)
        self._taken = _RELEASED

    async def _take(self) -> None:
        if self._length is None:
            size = self._max_bytes if self._read > SMALL_BYTES else 0
        else:
            size = self._length if self._length > SMALL_BYTES else 0
        if size:
            await self._budget.take(self._owner, size)
            self._taken = size


def _too_large(max_bytes: int) -> ApiError:
    message = f"the body is too long; {max_bytes} bytes is the most"
    return ApiError(413, message, code="request_too_large")


def parse_json(body: bytes) -> Any:
    """The value of a JSON text. Raises ApiError for one that is none, too deep or too large."""
    marks = marks_of(body)
    if has_too_many_values(marks):
        message = f"the body has too many values; {MAX_VALUES} is the most"
        raise ApiError(413, message, code="request_too_large")
    try:
        value = _decode(body)
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ApiError(400, f"the body is no JSON: {error}", code="invalid_json") from error
    if is_too_deep(marks):
        raise _too_deep()
    return value


def _too_deep() -> ApiError:
    return ApiError(400, f"the body is nested too deeply; {MAX_DEPTH} levels is the most")


class RateLimiter:
    """How many requests a key may make in a minute; a minute's worth at once, then evenly.

    Counted in this process alone: two of them let twice as many in. None: no limit.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._buckets = TokenBuckets(per_minute or 1, (per_minute or 1) / 60, clock=clock)

    def take(self, key: str) -> dict[str, str]:
        """Count one request; returns the headers that say what is left. Raises ApiError."""
        if self._per_minute is None:
            return {}
        if wait_s := self._buckets.take(key):
            raise ApiError(
                429,
                f"{self._per_minute} requests a minute is the most for one key",
                code="rate_limit_exceeded",
                wait_s=wait_s,
                headers=self._told(key),
            )
        return self._told(key)

    def _told(self, key: str) -> dict[str, str]:
        """Source: the rate limit headers of the OpenAI API."""
        full, left = self._per_minute or 0, self._buckets.left(key)
        return {
            "x-ratelimit-limit-requests": str(full),
            "x-ratelimit-remaining-requests": str(math.floor(left)),
            "x-ratelimit-reset-requests": f"{math.ceil((full - left) * 60 / full)}s",
        }
