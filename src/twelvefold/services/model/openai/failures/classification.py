"""Classifies an error response: retry, or an exception with one sentence for the operator.

Source: OpenAI's error codes. Other servers send the same object with fewer fields.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from msgspec import Struct

from twelvefold.errors import ModelRejected, ModelTooLarge, ModelUnavailable
from twelvefold.services.model.errors import DECODE_ERRORS, RetryableError
from twelvefold.services.model.lenient_json import repair_surrogates
from twelvefold.services.model.openai.failures.error_object import find_error
from twelvefold.services.model.openai.failures.patterns import (
    is_client_error,
    is_context_overflow,
    looks_like_client_error,
    overflow_remedy,
    status_in,
)

Fault = RetryableError | ModelRejected | ModelUnavailable
_RETRYABLE_STATUSES = (408, 409, 425, 429)
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_MODEL_CODES = {"model_not_found", "invalid_model"}
# Gemini, Anthropic, OpenRouter and Mistral
_INVALID_KEY = re.compile(r"\bAPI key (?:is )?(?:not valid|invalid|expired)|invalid API key", re.I)
_NO_CREDIT = re.compile(r"\bcredit balance is too low\b", re.I)
_UNKNOWN_MODEL = re.compile(r"\bis not a valid model\b|^invalid model\b|^model \S+ not found", re.I)
_TRANSIENT_CODE = re.compile(
    r"408|409|429|5\d\d|.*(server_error|rate_limit|overloaded|unavailable|timeout|internal).*", re.I
)
_CONTENT_POLICY = re.compile(
    r"content.?(?:filter|policy|management|moderation)|\bflagged\b|"
    r"moderation (?:block|reject|fail)|(?:safety|usage) polic|responsible.?ai",
    re.IGNORECASE,
)
_MAX_RETRY_AFTER_S = 120.0
_MAX_MESSAGE_CHARS = 300
_MIN_SECRET_CHARS = 8
"""A shorter value is a placeholder for a server without keys, and may be an ordinary word."""


class SuspectedRequestError(RetryableError):
    """A 5xx that is probably caused by the request. One more attempt confirms it."""


class ErrorResponse(Struct, frozen=True):
    """An error in place of a reply; `status` is 200 if it was sent within a stream."""

    status: int
    error: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def codes(self) -> tuple[str, ...]:
        """The code and type of the error, as far as the server sent them; they may be numbers."""
        return tuple(str(self.error[key]) for key in ("code", "type") if self.error.get(key))


class RequestContext(Struct, frozen=True):
    """The server and the settings of a request, for messages; `secrets` are masked in them."""

    server: str
    path: str
    model: str
    secrets: tuple[str, ...] = ()
    has_key: bool = True

    def sanitize(self, text: object) -> str:
        """Return a server's text as one short printable line without secrets."""
        line = " ".join(repair_surrogates(str(text)).split())
        line = "".join(one if one.isprintable() else "\ufffd" for one in line)
        for secret in self.secrets:
            if len(secret) >= _MIN_SECRET_CHARS:
                line = line.replace(secret, "…")
        return line if len(line) <= _MAX_MESSAGE_CHARS else line[: _MAX_MESSAGE_CHARS - 1] + "…"


def parse_error_response(status: int, headers: Mapping[str, str], body: bytes) -> ErrorResponse:
    """Parse the response that came in place of a reply. The text of an HTML page is ignored."""
    first = body.lstrip()[:1]
    is_html = headers.get("content-type", "").startswith("text/html") and first not in b"{["
    if is_html or first == b"<":
        return ErrorResponse(status, {}, headers)
    try:
        sent = msgspec.json.decode(body)
    except DECODE_ERRORS:
        sent = body.decode(errors="replace")
    error = find_error(sent) or (sent if isinstance(sent, dict) else {"message": sent})
    return ErrorResponse(status, error, headers)


def classify(response: ErrorResponse, context: RequestContext) -> Fault:
    """Return the exception for an error response.

    A wrong setting is ModelUnavailable: the run continues after the operator has corrected it.
    """
    # Within a stream only the error object has a status.
    status = response.status if response.status != 200 else status_in(response.error) or 200
    if 300 <= status < 400:
        detail, logged = response.headers.get("location"), f"another address (HTTP {status})"
    else:
        detail = response.error.get("message") or f"HTTP {response.status}"
        logged = f"HTTP {status}"
    fault = _classify_with_message(context.sanitize(detail), response, status, context)
    # The same sentence without the server's text, which may quote the prompt.
    return fault.loggable(str(_classify_with_message(logged, response, status, context)))


def _classify_with_message(
    message: str, response: ErrorResponse, status: int, context: RequestContext
) -> Fault:
    return (
        _settings_error(response, status, context, message)
        or _request_error(response, status, context, message)
        or _server_error(response, status, context, message)
    )


def _settings_error(
    response: ErrorResponse, status: int, context: RequestContext, message: str
) -> ModelUnavailable | None:
    """Return the error if the operator has to correct a setting or the provider's account."""
    server = context.server
    if status == 403 and _is_content_refusal(response):
        return None
    if (
        status == 402
        or not _QUOTA_CODES.isdisjoint(response.codes)
        or _message_of_400_matches(_NO_CREDIT, response)
    ):
        return ModelUnavailable(f"{server} has no quota left for OPENAI_API_KEY: {message}")
    if _is_unknown_model(response):
        return ModelUnavailable(f"OPENAI_MODEL: {server} has no {context.model!r}: {message}")
    if status == 400 and _message_of_400_matches(_INVALID_KEY, response):
        status = 401
    return _error_of_status(status, context, message)


def _error_of_status(status: int, context: RequestContext, message: str) -> ModelUnavailable | None:
    server = context.server
    match status:
        case 401 | 403 if not context.has_key:
            return ModelUnavailable(
                f"{server} requires OPENAI_API_KEY, which is not set: {message}"
            )
        case 401 | 403:
            return ModelUnavailable(f"OPENAI_API_KEY is refused by {server}: {message}")
        case 404:
            return ModelUnavailable(
                f"{server}{context.path} not found; check OPENAI_BASE_URL, OPENAI_API and "
                f"OPENAI_MODEL {context.model!r}: {message}"
            )
        case 407:
            return ModelUnavailable(
                "the proxy requires a user and a password; add them to its URL in HTTPS_PROXY or "
                f"HTTP_PROXY: {message}"
            )
        case _ if 300 <= status < 400:
            return ModelUnavailable(f"OPENAI_BASE_URL: {server} redirects to {message}")
        case _:
            return None


def _request_error(
    response: ErrorResponse, status: int, context: RequestContext, message: str
) -> ModelRejected | SuspectedRequestError | None:
    """Return the error if a retry cannot succeed. Some servers report that with a 5xx."""
    if status != 429 and is_context_overflow(response.error):
        return ModelTooLarge(
            f"{context.server}: the request exceeds the model's context window; "
            f"{overflow_remedy(response.error)}: {message}"
        )
    if status == 413:
        return ModelTooLarge(f"{context.server} refuses the request: {message}")
    if status < 500:
        return None
    if is_client_error(response.error):
        return ModelRejected(f"{context.server} cannot process the request: {message}")
    if looks_like_client_error(response.error):
        return SuspectedRequestError(_with_status(response, message))
    return None


def _server_error(
    response: ErrorResponse, status: int, context: RequestContext, message: str
) -> Fault:
    if _is_transient(response):
        retry_after_s = _retry_after_s(response.headers)
        if retry_after_s is None:
            retry_after_s = _retry_delay_s(response.error.get("details"))
        return RetryableError(
            _with_status(response, message), retry_after_s=retry_after_s, status=response.status
        )
    if status >= 500 or status in _RETRYABLE_STATUSES:
        return ModelUnavailable(f"{context.server} does not allow a retry: {message}")
    return ModelRejected(f"{context.server} refuses the request: {message}")


def not_an_api(context: RequestContext) -> ModelUnavailable:
    """Return the error for a server that responds with an HTML page."""
    return ModelUnavailable(
        f"OPENAI_BASE_URL: {context.server}{context.path} is a web page, not an API; "
        "is /v1 missing?"
    ).loggable()


def _is_unknown_model(response: ErrorResponse) -> bool:
    if not _MODEL_CODES.isdisjoint(response.codes) or _message_of_400_matches(
        _UNKNOWN_MODEL, response
    ):
        return True
    return response.status == 404 and "model" in str(response.error.get("message")).lower()


def _message_of_400_matches(pattern: re.Pattern[str], response: ErrorResponse) -> bool:
    """Return whether a 400 has in its message what other servers express by a status or code."""
    message = str(response.error.get("message"))[:_MAX_MESSAGE_CHARS]
    return response.status == 400 and pattern.search(message) is not None


def _is_content_refusal(response: ErrorResponse) -> bool:
    """Return whether a gateway refused the content: HTTP 403 that is not about the API key."""
    metadata = response.error.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("reasons"):
        return True
    texts = (*response.codes, response.error.get("message"))
    return any(_CONTENT_POLICY.search(str(text)) for text in texts)


def _is_transient(response: ErrorResponse) -> bool:
    if (advice := response.headers.get("x-should-retry")) in ("true", "false"):
        return advice == "true"
    if response.status != 200:
        return response.status >= 500 or response.status in _RETRYABLE_STATUSES
    return not response.codes or any(map(_TRANSIENT_CODE.fullmatch, response.codes))


def _with_status(response: ErrorResponse, message: str) -> str:
    status = f"HTTP {response.status}"
    return message if response.status == 200 or message == status else f"{status}: {message}"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read the delay from the headers, OpenAI's own first.

    A date is compared with the `date` header, because this machine's clock may be wrong.
    """
    then, now = headers.get("retry-after"), headers.get("date")
    for wait_s in (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(then, 1.0),
        _seconds_between(now, then),
    ):
        if wait_s is not None:
            return min(max(wait_s, 0.0), _MAX_RETRY_AFTER_S)
    return None


def _retry_delay_s(details: object) -> float | None:
    """Read the delay from the error's details: Gemini sends `{"retryDelay": "37s"}` there."""
    for one in details if isinstance(details, list) else ():
        delay = one.get("retryDelay") if isinstance(one, dict) else None
        wait_s = _number(str(delay).removesuffix("s"), 1.0)
        if wait_s is not None:
            return min(wait_s, _MAX_RETRY_AFTER_S)
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
