"""Errors that stay within this package: a failed attempt, and an error that the server sent."""

from collections.abc import Mapping
from typing import Any

import msgspec

from twelvefold.errors import TwelvefoldError

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)
"""Raised when JSON is decoded: ValueError for invalid UTF-8, RecursionError for deep nesting."""
MALFORMED_JSON = "the stream contained malformed JSON"


class RetryableError(TwelvefoldError):
    """This attempt failed for `reason`; another attempt may succeed.

    `retry_after_s` is the delay that the server requests, `status` the HTTP status of its
    response, 0 if there was none.
    """

    def __init__(self, reason: str, *, retry_after_s: float | None = None, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.status = status


class ErrorReceived(Exception):
    """The server sent an error object, `error`, instead of a reply or within one."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error))
        self.error = error
