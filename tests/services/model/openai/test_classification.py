import pytest

from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.openai.failures.classification import (
    ErrorResponse,
    RequestContext,
    classify,
    parse_error_response,
)

CONTEXT = RequestContext("http://127.0.0.1/v1", "/responses", "gpt-test", ("sk-secret",))
DATE = "Wed, 21 Oct 2015 07:28:30 GMT"


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9999"}, 120.0),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 0.0),
        ({"retry-after": DATE, "date": "yesterday"}, None),
        ({"retry-after": DATE}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_the_retry_delay_is_read_from_headers(
    headers: dict[str, str], after_s: float | None
) -> None:
    fault = classify(ErrorResponse(429, {}, headers), CONTEXT)

    assert isinstance(fault, RetryableError)
    assert fault.retry_after_s == after_s


@pytest.mark.parametrize(
    ("details", "after_s"),
    [
        ([{"@type": "QuotaFailure"}, {"@type": "RetryInfo", "retryDelay": "37s"}], 37.0),
        ([{"retryDelay": "0.5s"}], 0.5),
        ([{"retryDelay": "9999s"}], 120.0),
        ([{"retryDelay": "soon"}], None),
        (["later"], None),
        ("later", None),
    ],
)
def test_the_retry_delay_is_read_from_geminis_error(details: object, after_s: float | None) -> None:
    fault = classify(ErrorResponse(429, {"details": details}, {}), CONTEXT)

    assert isinstance(fault, RetryableError)
    assert fault.retry_after_s == after_s
    header = classify(ErrorResponse(429, {"details": details}, {"retry-after": "3"}), CONTEXT)
    assert isinstance(header, RetryableError)
    assert header.retry_after_s == 3.0


def test_a_servers_text_is_one_short_line_without_the_key() -> None:
    text = "key sk-secret\nis\x1b[1m bad \ud83d " + "x" * 1_000

    quoted = CONTEXT.sanitize(text)

    assert quoted.startswith("key … is\ufffd[1m bad \ufffd xxx")
    assert len(quoted) == 300
    assert quoted.endswith("x…")


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/html", b"<html>Bad Gateway", "HTTP 502"),
        ("text/plain", b"\n<!doctype html><p>Bad Gateway", "HTTP 502"),
        ("text/html", b"Bad Gateway", "HTTP 502"),
        ("text/html", b'{"error": {"message": "busy"}}', "HTTP 502: busy"),
        ("text/plain", b'[{"error": {"message": "busy"}}]', "HTTP 502: busy"),
        ("application/json", b'{"message": "busy"}', "HTTP 502: busy"),
        ("application/json", b'{"error": "busy"}', "HTTP 502: busy"),
        ("application/json", b'{"detail": "busy"}', "HTTP 502: busy"),
        # OpenRouter and MiniMax
        ("", b'{"error": {"message": "Failed", "metadata": {"raw": "busy"}}}',
         "HTTP 502: Failed: busy"),
        ("", b'{"error": {"code": 502, "metadata": {"raw": {"detail": "busy"}}}}',
         "HTTP 502: upstream server: busy"),
        ("", b'{"error": {"message": "busy", "metadata": {"provider_name": "x"}}}',
         "HTTP 502: busy"),
        ("", b'{"base_resp": {"status_code": 1002, "status_msg": "busy"}}', "HTTP 502: busy"),
        ("", b'{"base_resp": {"status_code": 1002}}', "HTTP 502: status 1002"),
        ("", b"busy", "HTTP 502: busy"),
        ("", b"", "HTTP 502"),
    ],
)  # fmt: skip
def test_an_error_is_parsed_in_any_format(kind: str, body: bytes, text: str) -> None:
    fault = classify(parse_error_response(502, {"content-type": kind}, body), CONTEXT)

    assert isinstance(fault, RetryableError)
    assert fault.reason == text
