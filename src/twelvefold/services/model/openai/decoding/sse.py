"""Server-sent events out of bytes, however the network has cut them.

Source: section 9.2 of the HTML Standard. Beyond it: JSON that stands in the stream without
`data:`, as some servers send an error, and events that no blank line separates.
"""

import re

import msgspec

_BOM = b"\xef\xbb\xbf"
_COMMON = re.compile(rb"(?:event:[^\n]*\n)?data: ([^\n]*)").fullmatch


class Events:
    """Bytes in, the data of each whole event out; names, ids and comments are left aside.

    `unfinished_bytes`: how much is kept of an event that has not ended.
    """

    def __init__(self) -> None:
        self.unfinished_bytes = 0
        self._unfinished: list[bytes] = []
        self._at_start = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece brings to their end, in order."""
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
        """What is left when the bytes are over: some servers save the last blank line."""
        return self.feed(b"\n\n")

    def _with_newlines(self, piece: bytes) -> bytes:
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _ends_an_event(self, piece: bytes) -> bool:
        # A long event is looked through once, not again with each of its pieces.
        return b"\n\n" in piece or (
            piece.startswith(b"\n") and self._unfinished[-1].endswith(b"\n")
        )


def _data_of(block: bytes) -> list[bytes]:
    """The data lines of an event, joined by newlines; none if it has none.

    Several events if each of the lines is JSON and all together are not.
    """
    if common := _COMMON(block):
        return [common[1]]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if _is_data(line)]
    if not lines:
        return [block.strip()] if block.lstrip().startswith(b"{") else []
    joined = b"\n".join(lines)
    apart = len(lines) > 1 and not _is_whole(joined) and all(map(_is_whole, lines))
    return lines if apart else [joined]


def _is_data(line: bytes) -> bool:
    return line.startswith(b"data:") or line == b"data"


def _is_whole(data: bytes) -> bool:
    """Whether it is a JSON object or `[DONE]`."""
    text = data.strip()
    if not text.startswith(b"{"):
        return text == b"[DONE]"
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
