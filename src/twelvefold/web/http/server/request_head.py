"""Checks of a complete request head, and the framing of the body that follows.

A proxy may interpret an ambiguous request differently than this server, so these are rejected
(request smuggling). Source: RFC 9110, section 5.3; RFC 9112, sections 3.2, 6 and 11.2.
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.server.framing import MALFORMED, ChunkedBody, FramingLimits, LengthBody

Header = tuple[bytes, bytes]
SINGLE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"idempotency-key",
        b"origin",
        b"sec-fetch-site",
        b"transfer-encoding",
        b"twelvefold-tool-items",
        b"x-twelvefold-hops",
    }
)
"""Headers that must not be repeated: another server might use the other value."""
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~%!$&'()*+;=-]*)(?::[0-9]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")


def check_head(version: str, url: bytes, headers: Sequence[Header]) -> None:
    """Raise ApiError if the head is not HTTP/1.0 or 1.1, or is ambiguous."""
    if version not in ("1.0", "1.1"):
        raise MALFORMED
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in values and name in SINGLE_HEADERS:
            raise _malformed(f"the header {name.decode()} is repeated; send it once")
        values[name] = value
    _check_host(version, url, values.get(b"host"))


def _check_host(version: str, url: bytes, host: bytes | None) -> None:
    if host is None:
        if version == "1.1":
            raise _malformed("the header host is missing")
    elif not _HOST.fullmatch(host):
        raise _malformed("the header host must be a host and port")
    if not url.startswith(b"/"):
        _check_authority(url.decode("latin-1"), (host or b"").decode("latin-1"))


def _check_authority(url: str, host: str) -> None:
    """Raise ApiError if an absolute URL has another host than the header."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MALFORMED from None
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        raise _malformed("the request line must have a path, or a URL of the header's host")


def body_of(
    version: str, headers: Sequence[Header], limits: FramingLimits
) -> LengthBody | ChunkedBody | None:
    """Return the body that follows the head, or None. Raises ApiError."""
    values = dict(headers)
    length, coding = values.get(b"content-length"), values.get(b"transfer-encoding")
    if coding is not None:
        if version != "1.1" or length is not None or coding.lower() != b"chunked":
            raise _malformed("transfer-encoding must be chunked, in HTTP/1.1, without a length")
        return ChunkedBody(limits)
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        raise MALFORMED
    return LengthBody(int(length)) if int(length) else None


def _malformed(message: str) -> ApiError:
    return ApiError(400, message, code="malformed_request")
