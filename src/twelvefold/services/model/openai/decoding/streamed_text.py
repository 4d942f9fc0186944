"""A text that arrives in pieces."""

from collections.abc import Callable

from twelvefold.services.model.lenient_json import byte_length, repair_surrogates


class StreamedText:
    """Collects the pieces of a text and passes each to `on_text`.

    The two surrogates of one character may arrive in two pieces. `size` is the length in bytes.
    """

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.size = 0
        self._on_text = on_text
        self._pieces: list[str] = []
        self._high_surrogate = ""

    @property
    def so_far(self) -> str:
        """The text without a pending surrogate at its end."""
        return "".join(self._pieces)

    def add(self, piece: object) -> None:
        """Append a piece. Anything but a string is ignored."""
        if not isinstance(piece, str):
            return
        if self._high_surrogate or not piece.isascii():
            piece = self._without_pending(self._high_surrogate + piece)
        if piece:
            self._pieces.append(piece)
            self.size += byte_length(piece)
            self._on_text(piece)

    def finish(self) -> str:
        """Return the whole text. A pending surrogate becomes U+FFFD."""
        if self._high_surrogate:
            self._high_surrogate = ""
            self.add("\ufffd")
        return self.so_far

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def _without_pending(self, piece: str) -> str:
        self._high_surrogate = piece[-1] if "\ud800" <= piece[-1] <= "\udbff" else ""
        return repair_surrogates(piece[:-1] if self._high_surrogate else piece)
