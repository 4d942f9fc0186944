"""Decodes a response body into events: a stream of server-sent events, or one JSON document.

The first byte decides, not the content type: servers send either format with any type, and
whether or not a stream was requested.
"""

from typing import Literal

import msgspec

from twelvefold.services.model.errors import DECODE_ERRORS, RetryableError
from twelvefold.services.model.openai.decoding.sse import SSEDecoder

Kind = Literal["", "json", "events", "html"]
_MAX_BYTES = 16 << 20
"""Limit of a JSON document, and of one event."""
_WHITESPACE = b"\xef\xbb\xbf \t\r\n"


class ResponseBody:
    """Decodes bytes into the data of events. `kind` is "" until the first byte was received.

    `is_complete`: the JSON document is complete, even if the connection stays open. An HTML page
    is not decoded.
    """

    def __init__(self, content_type: str) -> None:
        self.kind: Kind = ""
        self.is_complete = False
        self._content_type = content_type
        self._document = bytearray()
        self._events = SSEDecoder()

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that this piece completes. Raises RetryableError."""
        self.kind = self.kind or self._kind_of(piece)
        if self.kind == "json":
            return self._feed_document(piece)
        found = self._events.feed(piece) if self.kind != "html" else []
        if self._events.unfinished_bytes > _MAX_BYTES:
            raise _too_long()
        return found

    def end(self) -> list[bytes]:
        """Return the data that remains at the end of the body."""
        if self.kind == "json" and not self.is_complete:
            return _documents(bytes(self._document))
        return self._events.end() if self.kind != "html" else []

    def _kind_of(self, piece: bytes) -> Kind:
        first = piece.lstrip(_WHITESPACE)[:1]
        if not first:
            return ""
        if first in b"{[":
            return "json"
        # An event starts with a comment or with one of the fields data, event, id and retry.
        is_html = self._content_type.startswith("text/html") and first not in b":deir"
        return "html" if is_html or first == b"<" else "events"

    def _feed_document(self, piece: bytes) -> list[bytes]:
        self._document += piece
        if len(self._document) > _MAX_BYTES:
            raise _too_long()
        if piece.rstrip()[-1:] not in (b"}", b"]"):
            return []
        try:
            msgspec.json.decode(_without_bom(self._document), type=msgspec.Raw)
        except DECODE_ERRORS:
            return []
        self.is_complete = True
        return _documents(bytes(self._document))


def _too_long() -> RetryableError:
    return RetryableError(f"the response is longer than {_MAX_BYTES >> 20} MiB").loggable()


def _documents(document: bytes) -> list[bytes]:
    """Return the document, or the elements of a list: some servers send an error in a list."""
    text = _without_bom(document)
    if not text.startswith(b"["):
        return [text]
    try:
        return [bytes(one) for one in msgspec.json.decode(text, type=list[msgspec.Raw])]
    except DECODE_ERRORS:
        return [text]


def _without_bom(document: bytes | bytearray) -> bytes:
    return bytes(document).lstrip(_WHITESPACE)
