"""Decodes server-sent events from pieces of any length.

Source: section 9.2 of the HTML Standard. Extensions: JSON without `data:`, as some servers send
an error, and events without a blank line between them.
"""

import re

import msgspec

_BOM = b"\xef\xbb\xbf"
_COMMON = re.compile(rb"(?:event:[^\n]*\n)?data: ([^\n]*)").fullmatch


class SSEDecoder:
    """Decodes bytes into the data of events. Names, ids and comments are ignored.

    `unfinished_bytes` is the size of the buffered, incomplete event.
    """

    def __init__(self) -> None:
        self.unfinished_bytes = 0
        self._unfinished: list[bytes] = []
        self._at_start = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that this piece completes, in order."""
        if self._after_cr or b"\r" in piece:
            piece = self._with_newlines(piece)
        if not piece:
            return []
        if self._unfinished:
            if not self._ends_an_event(piece):
                self._unfinished.append(piece)
                self.unfinished_bytes += len(piece)
                return []
            piece = b"".join((*self._unfinished, piece))
        *blocks, rest = piece.split(b"\n\n")
        self._unfinished, self.unfinished_bytes = [rest] if rest else [], len(rest)
        if self._at_start and blocks:
            blocks[0] = blocks[0].removeprefix(_BOM)
            self._at_start = False
        return [data for block in blocks for data in _data_of(block)]

    def end(self) -> list[bytes]:
        """Return the data that remains at the end: some servers omit the last blank line."""
        return self.feed(b"\n\n")

    def _with_newlines(self, piece: bytes) -> bytes:
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _ends_an_event(self, piece: bytes) -> bool:
        # Searches only the new piece, so that a long event takes linear time.
        return b"\n\n" in piece or (
            piece.startswith(b"\n") and self._unfinished[-1].endswith(b"\n")
        )


def _data_of(block: bytes) -> list[bytes]:
    """Return the data lines of an event, joined by newlines; empty if there are none.

    The lines are separate events if each of them is JSON and the joined text is not.
    """
    if common := _COMMON(block):
        return [common[1]]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if _is_data(line)]
    if not lines:
        return [block.strip()] if block.lstrip().startswith(b"{") else []
    joined = b"\n".join(lines)
    are_separate = len(lines) > 1 and not _is_whole(joined) and all(map(_is_whole, lines))
    return lines if are_separate else [joined]


def _is_data(line: bytes) -> bool:
    return line.startswith(b"data:") or line == b"data"


def _is_whole(data: bytes) -> bool:
    """Return whether the data is a JSON object or `[DONE]`."""
    text = data.strip()
    if not text.startswith(b"{"):
        return text == b"[DONE]"
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
