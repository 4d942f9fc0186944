"""What a server's refusal means: try again, or which error, in one sentence for the operator.

Source: OpenAI's error codes; other servers send the same object with less in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from twelvefold.errors import ModelRejected, ModelUnavailable
from twelvefold.services.model.wire import UNREADABLE, TryAgain, error_in, mended

Fault = TryAgain | ModelRejected | ModelUnavailable
_TRIED_AGAIN = (408, 409, 429)
_PASSING = re.compile(
    r"408|409|429|5\d\d|.*(server_error|rate_limit|overloaded|unavailable|timeout|internal).*", re.I
)
_LONGEST_WAIT_S = 120.0
_LONGEST_MESSAGE = 300
_SHORTEST_KEY = 8
"""Shorter ones are words that a server without keys is given, and that may be in any sentence."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said in place of a reply; `status` is 200 if it did in mid-stream."""

    status: int
    error: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def codes(self) -> tuple[str, ...]:
        """The error's code and type; servers leave them out, or give a number."""
        return tuple(str(self.error[key]) for key in ("code", "type") if self.error.get(key))


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked and with what, in the words of the settings."""

    server: str
    path: str
    api_key: str
    model: str

    def quoted(self, text: object) -> str:
        """A server's words, fit for a log: one short line, and never the key."""
        line = " ".join(mended(str(text)).split())
        line = "".join(one if one.isprintable() else "\ufffd" for one in line)
        if len(self.api_key) >= _SHORTEST_KEY:
            line = line.replace(self.api_key, "…")
        return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Read what came in place of a stream."""
    if headers.get("content-type", "").startswith("text/html"):
        return Refusal(status, {}, headers)
    try:
        sent = msgspec.json.decode(body)
    except UNREADABLE:
        sent = body.decode(errors="replace")
    error = error_in(sent) or (sent if isinstance(sent, dict) else {"message": sent})
    return Refusal(status, error, headers)


def fault_of(refusal: Refusal, asked: Asked) -> Fault:
    """The error that a refusal is.

    Where a setting is wrong it is not the run that is: an operator mends it, and the run goes on.
    """
    message = asked.quoted(refusal.error.get("message") or f"HTTP {refusal.status}")
    match refusal.status:
        case _ if refusal.status == 402 or "insufficient_quota" in refusal.codes:
            return ModelUnavailable(
                f"{asked.server} has no quota left for OPENAI_API_KEY: {message}"
            )
        case _ if _is_about_the_model(refusal):
            return ModelUnavailable(
                f"OPENAI_MODEL: {asked.server} has no {asked.model!r}: {message}"
            )
        case 401 | 403 if not asked.api_key:
            return ModelUnavailable(
                f"{asked.server} wants an OPENAI_API_KEY, none is set: {message}"
            )
        case 401 | 403:
            return ModelUnavailable(f"OPENAI_API_KEY is refused by {asked.server}: {message}")
        case 404:
            return ModelUnavailable(
                f"{asked.server}{asked.path} is not there; check OPENAI_BASE_URL, OPENAI_API and "
                f"OPENAI_MODEL {asked.model!r}: {message}"
            )
        case _ if _is_passing(refusal):
            return TryAgain(_why(refusal, message), after_s=_retry_after_s(refusal.headers))
        case status if status >= 500 or status in _TRIED_AGAIN:
            return ModelUnavailable(f"{asked.server} asks not to be tried again: {message}")
        case status if 300 <= status < 400:
            where = asked.quoted(refusal.headers.get("location"))
            return ModelUnavailable(f"OPENAI_BASE_URL: {asked.server} sends its callers to {where}")
        case _:
            return ModelRejected(f"{asked.server} refuses the request: {message}")


def no_api(asked: Asked) -> ModelUnavailable:
    """For a server that answers with a page for people."""
    return ModelUnavailable(
        f"OPENAI_BASE_URL: {asked.server}{asked.path} is a web page, no API; is a /v1 missing?"
    )


def _is_about_the_model(refusal: Refusal) -> bool:
    if "model_not_found" in refusal.codes:
        return True
    return refusal.status == 404 and "model" in str(refusal.error.get("message")).lower()


def _is_passing(refusal: Refusal) -> bool:
    if refusal.headers.get("x-should-retry") == "false":
        return False
    if refusal.status != 200:
        return refusal.status >= 500 or refusal.status in _TRIED_AGAIN
    return not refusal.codes or any(map(_PASSING.fullmatch, refusal.codes))


def _why(refusal: Refusal, message: str) -> str:
    status = f"HTTP {refusal.status}"
    return message if refusal.status == 200 or message == status else f"{status}: {message}"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """OpenAI's own header first. A date counts from the server's clock: ours may be wrong."""
    then, now = headers.get("retry-after"), headers.get("date")
    for wait_s in (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(then, 1.0),
        _seconds_between(now, then),
    ):
        if wait_s is not None:
            return min(max(wait_s, 0.0), _LONGEST_WAIT_S)
    return None


def _number(text: str | None, unit: float) -> float | None:
    plain = re.fullmatch(r"\s*(\d{1,12}(?:\.\d*)?)\s*", text or "")
    return float(plain[1]) * unit if plain else None


def _seconds_between(now: str | None, then: str | None) -> float | None:
    try:
        return (
            parsedate_to_datetime(then or "") - parsedate_to_datetime(now or "")
        ).total_seconds()
    except (ValueError, TypeError):
        return None
