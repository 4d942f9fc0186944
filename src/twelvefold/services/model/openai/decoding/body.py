"""The body of an answer as events: a stream of server-sent events, or one JSON document.

The first byte decides, not the content type: servers send either under any type, and either
whether or not a stream was requested.
"""

from typing import Literal

import msgspec

from twelvefold.services.model.openai.decoding.sse import Events
from twelvefold.services.model.openai.wire import UNREADABLE, TryAgain

Kind = Literal["", "json", "events", "page"]
_MOST_BYTES = 16 << 20
"""Of an answer in one piece, and of one event."""
_BLANK = b"\xef\xbb\xbf \t\r\n"


class Body:
    """Bytes in, the data of each event out. `kind` is "" until the first byte is there.

    `over`: the document is whole, whether or not the connection stays open. A page is for people,
    not an API's answer; nothing is read of it.
    """

    def __init__(self, content_type: str) -> None:
        self.kind: Kind = ""
        self.over = False
        self._content_type = content_type
        self._document = bytearray()
        self._events = Events()

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece brings to their end. Raises TryAgain."""
        self.kind = self.kind or self._kind_of(piece)
        if self.kind == "json":
            return self._feed_document(piece)
        found = self._events.feed(piece) if self.kind != "page" else []
        if self._events.unfinished_bytes > _MOST_BYTES:
            raise _too_long()
        return found

    def end(self) -> list[bytes]:
        """What is left when the bytes are over."""
        if self.kind == "json" and not self.over:
            return _documents(bytes(self._document))
        return self._events.end() if self.kind != "page" else []

    def _kind_of(self, piece: bytes) -> Kind:
        first = piece.lstrip(_BLANK)[:1]
        if not first:
            return ""
        if first in b"{[":
            return "json"
        # Comments and the fields data, event, id and retry begin an event.
        is_page = self._content_type.startswith("text/html") and first not in b":deir"
        return "page" if is_page or first == b"<" else "events"

    def _feed_document(self, piece: bytes) -> list[bytes]:
        self._document += piece
        if len(self._document) > _MOST_BYTES:
            raise _too_long()
        if piece.rstrip()[-1:] not in (b"}", b"]"):
            return []
        try:
            msgspec.json.decode(_without_bom(self._document), type=msgspec.Raw)
        except UNREADABLE:
            return []
        self.over = True
        return _documents(bytes(self._document))


def _too_long() -> TryAgain:
    return TryAgain(f"the answer is longer than {_MOST_BYTES >> 20} MiB").loggable()


def _documents(document: bytes) -> list[bytes]:
    """The document; the elements of a list, which some servers put an error into."""
    text = _without_bom(document)
    if not text.startswith(b"["):
        return [text]
    try:
        return [bytes(one) for one in msgspec.json.decode(text, type=list[msgspec.Raw])]
    except UNREADABLE:
        return [text]


def _without_bom(document: bytes | bytearray) -> bytes:
    return bytes(document).lstrip(_BLANK)
