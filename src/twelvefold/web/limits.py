"""What a request may weigh: bytes, nesting, and how many of them in a minute."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import Message, Receive

from twelvefold.web.faults import ApiError
from twelvefold.web.json_shape import (
    MAX_DEPTH,
    MAX_VALUES,
    has_too_many_values,
    is_too_deep,
    marks_of,
)

_decode = msgspec.json.Decoder().decode


def limited(receive: Receive, headers: Headers, max_bytes: int) -> Receive:
    """The request's body, as long as it is no longer than that. Raises ApiError with 413.

    What is told in the header counts before a byte is read.
    """
    told = headers.get("content-length", "")
    if told.isdecimal() and int(told) > max_bytes:
        raise _too_large(max_bytes)
    read = 0

    async def received() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > max_bytes:
            raise _too_large(max_bytes)
        return message

    return received


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


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rate:
    """How many requests a key may make in a minute; a minute's worth at once, then evenly.

    Counted in this process alone: two of them let twice as many in. None: no limit.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: str) -> dict[str, str]:
        """Count one request; returns the headers that say what is left. Raises ApiError."""
        if self._per_minute is None:
            return {}
        now, full = self._clock(), float(self._per_minute)
        bucket = self._buckets.setdefault(key, _Bucket(full, now))
        bucket.left = min(full, bucket.left + (now - bucket.at) * full / 60)
        bucket.at = now
        if bucket.left < 1:
            wait_s = (1 - bucket.left) * 60 / full
            message = f"{self._per_minute} requests a minute is the most for one key"
            raise ApiError(
                429,
                message,
                code="rate_limit_exceeded",
                wait_s=wait_s,
                headers=self._told(bucket),
            )
        bucket.left -= 1
        return self._told(bucket)

    def _told(self, bucket: _Bucket) -> dict[str, str]:
        """Source: the rate limit headers of the OpenAI API."""
        full = self._per_minute or 0
        return {
            "x-ratelimit-limit-requests": str(full),
            "x-ratelimit-remaining-requests": str(math.floor(bucket.left)),
            "x-ratelimit-reset-requests": f"{math.ceil((full - bucket.left) * 60 / full)}s",
        }
