"""Checks on a whole request head, and the body that it announces.

A proxy in front may read a request that is ambiguous in another way than this server. Such requests
are refused. Source: RFC 9110, section 5.3; RFC 9112, sections 3.2, 6 and 11.2.
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.server.framing import MALFORMED, ChunkedBody, FramingLimits, LengthBody

Header = tuple[bytes, bytes]
SINGLE = frozenset(
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
"""Headers of which a second one could mean something else to another reader."""
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~%!$&'()*+;=-]*)(?::[0-9]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")


def check_head(version: str, url: bytes, headers: Sequence[Header]) -> None:
    """Raise ApiError if the head is no HTTP/1.0 or 1.1, or can be read in two ways."""
    if version not in ("1.0", "1.1"):
        raise MALFORMED
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in values and name in SINGLE:
            raise _malformed(f"the header {name.decode()} is there twice; send it once")
        values[name] = value
    _check_host(version, url, values.get(b"host"))


def _check_host(version: str, url: bytes, host: bytes | None) -> None:
    if host is None:
        if version == "1.1":
            raise _malformed("the header host is missing")
    elif not _HOST.fullmatch(host):
        raise _malformed("the header host is no host and port")
    if not url.startswith(b"/"):
        _check_authority(url.decode("latin-1"), (host or b"").decode("latin-1"))


def _check_authority(url: str, host: str) -> None:
    """A request for a whole URL has to name the same host in it as in its header."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MALFORMED from None
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        raise _malformed("the request line must have a path, or a URL of the header's host")


def body_of(
    version: str, headers: Sequence[Header], limits: FramingLimits
) -> LengthBody | ChunkedBody | None:
    """The body that follows the head; None if there is none. Raises ApiError."""
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
