"""Ends a text at a stop sequence.

The text ends before the sequence that is complete first, as it does at a model that applies stop
sequences itself. How the text is split into pieces makes no difference.
"""

from collections.abc import Sequence


class StopFilter:
    """Passes on one text, in pieces, up to its first stop sequence.

    Holds back the end of a piece if it may be the beginning of a sequence.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.stopped = False
        self._sequences = sequences
        self._held = ""

    def add(self, piece: str) -> str:
        """Add a piece; return the text that can be sent now."""
        if self.stopped:
            return ""
        text = self._held + piece
        if (start := self._start(text)) is not None:
            self.stopped, self._held = True, ""
            return text[:start]
        end = len(text) - self._possible_start(text)
        self._held = text[end:]
        return text[:end]

    def end(self) -> str:
        """End the text; return the text that was held back."""
        held, self._held = self._held, ""
        return held

    def _start(self, text: str) -> int | None:
        """Return where the sequence begins that is complete first; None if there is none."""
        found = [(text.find(one), len(one)) for one in self._sequences]
        ends = [(at + length, at) for at, length in found if at >= 0]
        return min(ends)[1] if ends else None

    def _possible_start(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of a sequence."""
        longest = max((len(one) for one in self._sequences), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(one.startswith(text[-length:]) for one in self._sequences):
                return length
        return 0


def cut_at_stop(text: str, sequences: Sequence[str]) -> tuple[str, bool]:
    """Return a whole text up to its first stop sequence, and whether it has one."""
    stop = StopFilter(sequences)
    return stop.add(text) + stop.end(), stop.stopped
