"""Finds the end of the head and of the body of an HTTP/1.1 request, with limits on their length.

No I/O. The results do not depend on how TCP splits the bytes into segments. A proxy may interpret
an ambiguous request differently than this server, so such requests are rejected (request
smuggling). Source: RFC 9110, section 5.3; RFC 9112, sections 3.2, 6 and 11.2.
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.server.chunked_body import ChunkedBody
from twelvefold.web.http.server.framing_limits import MALFORMED, FramingLimits, malformed, too_large

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
HEAD_END = b"\r\n\r\n"
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~%!$&'()*+;=-]*)(?::[0-9]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class HeadReader:
    """Finds the end of one head. Sets `complete` at its end, or `error` if it is too long.

    An error is found at the same byte for every segmentation: the parser gets all bytes before
    that byte and no other.
    """

    def __init__(self, limits: FramingLimits) -> None:
        self._limits = limits
        self._bytes = 0
        self._lines = 0
        self._blank_bytes = 0
        self._last = b""
        self.complete = False
        self.error: ApiError | None = None

    @property
    def started(self) -> bool:
        """Whether a byte of the request line has arrived."""
        return self._bytes > 0

    def skip_blank(self, data: bytes) -> int:
        """Return the number of bytes in empty lines before the request line.

        Source: RFC 9112, section 2.2.
        """
        if self.started:
            return 0
        count = len(data) - len(data.lstrip(b"\r\n"))
        self._blank_bytes += count
        if self._blank_bytes > self._limits.blank_bytes:
            self.error = MALFORMED
        return count

    def take(self, data: bytes) -> int:
        """Return how many of these bytes belong to the head, up to its end or its first error."""
        end = self._end_in(data)
        self._last = (self._last + data[:end])[-3:]
        for check in (self._check_request_line, self._check_count, self._check_bytes):
            end = check(data, end)
        self._bytes += end
        self._lines += data.count(b"\n", 0, end)
        return end

    def _end_in(self, data: bytes) -> int:
        """Return the index after the head's last byte, or the length of the data."""
        overlap = (self._last + data[:3]).find(HEAD_END)
        if overlap >= 0:
            self.complete = True
            return overlap + len(HEAD_END) - len(self._last)
        found = data.find(HEAD_END)
        if found >= 0:
            self.complete = True
            return found + len(HEAD_END)
        return len(data)

    def _check_request_line(self, data: bytes, end: int) -> int:
        if self._lines:
            return end
        line_end = data.find(b"\n", 0, end)
        length = end if line_end < 0 else line_end + 1
        maximum = self._limits.request_line_bytes
        if self._bytes + length <= maximum:
            return end
        message = f"the request line is longer than {maximum} bytes"
        return self._stop_at(maximum - self._bytes, ApiError(414, message, code="url_too_long"))

    def _check_count(self, data: bytes, end: int) -> int:
        maximum = self._limits.header_count
        # Two lines are not headers: the request line and the empty line at the end.
        left = maximum + 2 - self._lines
        if data.count(b"\n", 0, end) < left:
            return end
        at = 0
        for _ in range(left):
            at = data.index(b"\n", at) + 1
        if self.complete and at == end:
            return end
        return self._stop_at(at, too_large(f"there are more than {maximum} headers"))

    def _check_bytes(self, data: bytes, end: int) -> int:
        maximum = self._limits.head_bytes
        if self._bytes + end <= maximum:
            return end
        return self._stop_at(
            maximum - self._bytes, too_large(f"the headers are longer than {maximum} bytes")
        )

    def _stop_at(self, end: int, error: ApiError) -> int:
        self.complete, self.error = False, error
        return end


class LengthBody:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.error: ApiError | None = None

    @property
    def complete(self) -> bool:
        """Whether the last byte has arrived."""
        return self._left == 0

    def take(self, data: bytes, content: list[bytes]) -> int:
        """Add the content to the list; return how many of these bytes belong to the body."""
        content.append(data[: self._left])
        self._left -= len(content[-1])
        return len(content[-1])


# --- the head as a whole ------------------------------------------------------------------------


def check_head(version: str, url: bytes, headers: Sequence[Header]) -> None:
    """Raise ApiError if the head is not HTTP/1.0 or 1.1, or is ambiguous."""
    if version not in ("1.0", "1.1"):
        raise MALFORMED
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in values and name in SINGLE_HEADERS:
            raise malformed(f"the header {name.decode()} is repeated; send it once")
        values[name] = value
    _check_host(version, url, values.get(b"host"))


def _check_host(version: str, url: bytes, host: bytes | None) -> None:
    if host is None:
        if version == "1.1":
            raise malformed("the header host is missing")
    elif not _HOST.fullmatch(host):
        raise malformed("the header host must be a host and port")
    if not url.startswith(b"/"):
        _check_authority(url.decode("latin-1"), (host or b"").decode("latin-1"))


def _check_authority(url: str, host: str) -> None:
    """Raise ApiError if an absolute URL has another host than the header."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MALFORMED from None
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        raise malformed("the request line must have a path, or a URL of the header's host")


def body_of(
    version: str, headers: Sequence[Header], limits: FramingLimits
) -> LengthBody | ChunkedBody | None:
    """Return the body that follows the head, or None. Raises ApiError."""
    values = dict(headers)
    length, coding = values.get(b"content-length"), values.get(b"transfer-encoding")
    if coding is not None:
        if version != "1.1" or length is not None or coding.lower() != b"chunked":
            raise malformed("transfer-encoding must be chunked, in HTTP/1.1, without a length")
        return ChunkedBody(limits)
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        raise MALFORMED
    return LengthBody(int(length)) if int(length) else None
