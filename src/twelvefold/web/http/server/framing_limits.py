"""Limits of the framing of a request, and the errors of a request that is malformed."""

from dataclasses import dataclass

from twelvefold.web.http.errors import ApiError

MALFORMED = ApiError(400, "malformed HTTP request", code="malformed_request")


@dataclass(frozen=True, slots=True)
class FramingLimits:
    """Limits of all parts of a request except the content of its body.

    `head_bytes` includes the request line, the headers and the empty line after them.
    `chunk_line_bytes` limits one chunk-size line with its extension, `chunk_extension_bytes` all
    extensions of a body. A body may have `chunk_count` chunks, and one more for each `chunk_bytes`
    of its content, because each chunk takes time of the event loop, even a short one.
    """

    blank_bytes: int = 64
    request_line_bytes: int = 8_192
    header_count: int = 128
    head_bytes: int = 65_536
    chunk_line_bytes: int = 1_024
    chunk_extension_bytes: int = 16_384
    chunk_count: int = 4_096
    chunk_bytes: int = 64
    trailer_bytes: int = 16_384
    trailer_count: int = 64


def too_large(message: str) -> ApiError:
    return ApiError(431, message, code="headers_too_large")


def malformed(message: str) -> ApiError:
    return ApiError(400, message, code="malformed_request")
