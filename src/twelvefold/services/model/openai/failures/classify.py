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
from twelvefold.services.model.openai.failures.patterns import (
    how_to_shorten,
    is_the_requests_fault,
    is_too_long,
    seems_the_requests_fault,
    status_in,
)
from twelvefold.services.model.openai.wire import UNREADABLE, TryAgain, error_in, mended

Fault = TryAgain | ModelRejected | ModelUnavailable
_TRIED_AGAIN = (408, 409, 425, 429)
_NO_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_NO_MODEL = {"model_not_found", "invalid_model"}
# Gemini, Anthropic, OpenRouter and Mistral
_BAD_KEY = re.compile(r"\bAPI key (?:is )?(?:not valid|invalid|expired)|invalid API key", re.I)
_NO_MONEY = re.compile(r"\bcredit balance is too low\b", re.I)
_UNKNOWN_MODEL = re.compile(r"\bis not a valid model\b|^invalid model\b|^model \S+ not found", re.I)
_PASSING = re.compile(
    r"408|409|429|5\d\d|.*(server_error|rate_limit|overloaded|unavailable|timeout|internal).*", re.I
)
_CONTENT = re.compile(
    r"content.?(?:filter|policy|management|moderation)|\bflagged\b|"
    r"moderation (?:block|reject|fail)|(?:safety|usage) polic|responsible.?ai",
    re.IGNORECASE,
)
_LONGEST_WAIT_S = 120.0
_LONGEST_MESSAGE = 300
_SHORTEST_KEY = 8
"""Shorter ones are words that a server without keys is given, and that may be in any sentence."""


class Suspect(TryAgain):
    """A 5xx that seems to be the request's own fault; one more attempt shows whether it is."""


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
    """Who was asked and with what, in the words of the settings; `secrets` beside the key."""

    server: str
    path: str
    api_key: str
    model: str
    secrets: tuple[str, ...] = ()

    def quoted(self, text: object) -> str:
        """A server's words, fit for a log: one short line, and never the key."""
        line = " ".join(mended(str(text)).split())
        line = "".join(one if one.isprintable() else "\ufffd" for one in line)
        for secret in (self.api_key, *self.secrets):
            if len(secret) >= _SHORTEST_KEY:
                line = line.replace(secret, "…")
        return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Read what came in place of a reply; of a page for people nothing but its status."""
    first = body.lstrip()[:1]
    is_html = headers.get("content-type", "").startswith("text/html") and first not in b"{["
    if is_html or first == b"<":
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
    # Within a stream the error object is all there is.
    status = refusal.status if refusal.status != 200 else status_in(refusal.error) or 200
    if 300 <= status < 400:
        said, logged = refusal.headers.get("location"), f"another address (HTTP {status})"
    else:
        said = refusal.error.get("message") or f"HTTP {refusal.status}"
        logged = f"HTTP {status}"
    fault = _fault_with(asked.quoted(said), refusal, status, asked)
    # The same sentence without the server's words, which may quote the prompt.
    return fault.loggable(str(_fault_with(logged, refusal, status, asked)))


def _fault_with(message: str, refusal: Refusal, status: int, asked: Asked) -> Fault:
    return (
        _fault_of_settings(refusal, status, asked, message)
        or _fault_of_request(refusal, status, asked, message)
        or _fault_of_server(refusal, status, asked, message)
    )


def _fault_of_settings(
    refusal: Refusal, status: int, asked: Asked, message: str
) -> ModelUnavailable | None:
    """What an operator mends in the settings or with the provider."""
    server = asked.server
    if status == 403 and _is_about_the_content(refusal):
        return None
    if status == 402 or not _NO_QUOTA.isdisjoint(refusal.codes) or _says(_NO_MONEY, refusal):
        return ModelUnavailable(f"{server} has no quota left for OPENAI_API_KEY: {message}")
    if _is_about_the_model(refusal):
        return ModelUnavailable(f"OPENAI_MODEL: {server} has no {asked.model!r}: {message}")
    if status == 400 and _says(_BAD_KEY, refusal):
        status = 401
    match status:
        case 401 | 403 if not asked.api_key:
            return ModelUnavailable(f"{server} wants an OPENAI_API_KEY, none is set: {message}")
        case 401 | 403:
            return ModelUnavailable(f"OPENAI_API_KEY is refused by {server}: {message}")
        case 404:
            return ModelUnavailable(
                f"{server}{asked.path} is not there; check OPENAI_BASE_URL, OPENAI_API and "
                f"OPENAI_MODEL {asked.model!r}: {message}"
            )
        case 407:
            return ModelUnavailable(
                "the proxy wants a user and a password; put them into its URL in HTTPS_PROXY or "
                f"HTTP_PROXY: {message}"
            )
        case _ if 300 <= status < 400:
            return ModelUnavailable(f"OPENAI_BASE_URL: {server} sends its callers to {message}")
        case _:
            return None


def _fault_of_request(
    refusal: Refusal, status: int, asked: Asked, message: str
) -> ModelRejected | Suspect | None:
    """What no server takes, however often; some say so with a 5xx."""
    if status != 429 and is_too_long(refusal.error):
        return ModelRejected(
            f"{asked.server}: the request is longer than the model's window; "
            f"{how_to_shorten(refusal.error)}: {message}"
        )
    if status < 500:
        return None
    if is_the_requests_fault(refusal.error):
        return ModelRejected(f"{asked.server} cannot read the request: {message}")
    if seems_the_requests_fault(refusal.error):
        return Suspect(_why(refusal, message))
    return None


def _fault_of_server(refusal: Refusal, status: int, asked: Asked, message: str) -> Fault:
    if _is_passing(refusal):
        after_s = _retry_after_s(refusal.headers)
        if after_s is None:
            after_s = _retry_delay_s(refusal.error.get("details"))
        return TryAgain(_why(refusal, message), after_s=after_s, status=refusal.status)
    if status >= 500 or status in _TRIED_AGAIN:
        return ModelUnavailable(f"{asked.server} asks not to be tried again: {message}")
    return ModelRejected(f"{asked.server} refuses the request: {message}")


def no_api(asked: Asked) -> ModelUnavailable:
    """For a server that answers with a page for people."""
    return ModelUnavailable(
        f"OPENAI_BASE_URL: {asked.server}{asked.path} is a web page, no API; is a /v1 missing?"
    ).loggable()


def _is_about_the_model(refusal: Refusal) -> bool:
    if not _NO_MODEL.isdisjoint(refusal.codes) or _says(_UNKNOWN_MODEL, refusal):
        return True
    return refusal.status == 404 and "model" in str(refusal.error.get("message")).lower()


def _says(pattern: re.Pattern[str], refusal: Refusal) -> bool:
    """Whether a 400 says what other servers have a status or a code for."""
    told = str(refusal.error.get("message"))[:_LONGEST_MESSAGE]
    return refusal.status == 400 and pattern.search(told) is not None


def _is_about_the_content(refusal: Refusal) -> bool:
    """Whether what was said is refused, not who has said it: gateways use HTTP 403 for that."""
    metadata = refusal.error.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("reasons"):
        return True
    told = (*refusal.codes, refusal.error.get("message"))
    return any(_CONTENT.search(str(one)) for one in told)


def _is_passing(refusal: Refusal) -> bool:
    if (advice := refusal.headers.get("x-should-retry")) in ("true", "false"):
        return advice == "true"
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


def _retry_delay_s(details: object) -> float | None:
    """Gemini says it in the error alone: `{"retryDelay": "37s"}` among its details."""
    for one in details if isinstance(details, list) else ():
        delay = one.get("retryDelay") if isinstance(one, dict) else None
        wait_s = _number(str(delay).removesuffix("s"), 1.0)
        if wait_s is not None:
            return min(wait_s, _LONGEST_WAIT_S)
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
