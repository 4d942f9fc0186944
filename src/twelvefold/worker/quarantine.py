"""Runs that have outlived processes: one of them may be what ended those.

Together they would take each other along until all count as dead; one by one they would wait for
hours. So the number of those that may be in hand halves with each process that ended, down to one
for the last tries: the innocent get on, which clears them, and the guilty is alone in the end.
"""

from collections.abc import Container, Sequence

from twelvefold.core.ids import RunId
from twelvefold.core.ports import WaitingRun

SUSPECT = 2
"""From so many processes on that a run has outlived it may be what ended them."""


class PoisonRunLimiter:
    """Which runs may be driven beside others; `max_attempts` as in `Limits`."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._let_in: dict[RunId, int] = {}
        self.left_out = 0
        """How many had to wait when it was last asked."""

    def let_in(self, waiting: Sequence[WaitingRun], in_hand: Container[RunId]) -> list[WaitingRun]:
        """Those that may be taken up now, in their order, beside the ones that are in hand."""
        group = {run: attempts for run, attempts in self._let_in.items() if run in in_hand}
        free = []
        for one in waiting:
            if one.attempts >= SUSPECT:
                if len(group) >= self._most(max(one.attempts, *group.values(), 0)):
                    continue
                group[one.run] = one.attempts
            free.append(one)
        self._let_in, self.left_out = group, len(waiting) - len(free)
        return free

    def _most(self, attempts: int) -> int:
        """How many may be in hand together, if this is what one of them has outlived."""
        tries_left = self._max_attempts - attempts
        return 1 << max(0, tries_left - 2)
