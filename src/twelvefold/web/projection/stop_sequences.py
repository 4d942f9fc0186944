"""Stop sequences: where a text that is sent to a caller ends.

The text ends before the sequence that is complete first, as where a model stops by itself. It is
the same end whichever pieces the text comes in.
"""

from collections.abc import Sequence


class StopFilter:
    """One text, in pieces, without its first stop sequence and all that follows.

    A piece that may be the beginning of a sequence is held back until the next one tells.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.stopped = False
        self._sequences = sequences
        self._held = ""

    def add(self, piece: str) -> str:
        """What of the text so far can be sent now."""
        if self.stopped:
            return ""
        text = self._held + piece
        if (start := self._start(text)) is not None:
            self.stopped, self._held = True, ""
            return text[:start]
        sure = len(text) - self._unsure(text)
        self._held = text[sure:]
        return text[:sure]

    def end(self) -> str:
        """What was held back of a text that is over."""
        held, self._held = self._held, ""
        return held

    def _start(self, text: str) -> int | None:
        """Where the first sequence begins; of several the one that is complete first."""
        found = [(text.find(one), len(one)) for one in self._sequences]
        ends = [(at + length, at) for at, length in found if at >= 0]
        return min(ends)[1] if ends else None

    def _unsure(self, text: str) -> int:
        """How many characters at the end may be the beginning of a sequence."""
        longest = max((len(one) for one in self._sequences), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(one.startswith(text[-length:]) for one in self._sequences):
                return length
        return 0


def stopped_text(text: str, sequences: Sequence[str]) -> tuple[str, bool]:
    """A whole text up to its first stop sequence, and whether it has one."""
    stop = StopFilter(sequences)
    return stop.add(text) + stop.end(), stop.stopped
