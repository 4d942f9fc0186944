"""Limits how many runs are driven together that have outlived processes: one may have ended those.

Driven all together, one bad run would use up the attempts of all; driven one by one, they would
wait for hours. So the number that may be held together halves with each process that ended, down to
one for the last attempts. The good runs make progress, which clears them; the bad one is alone in
the end.
"""

from collections.abc import Container, Sequence

from twelvefold.core import RunId, WaitingRun

POISON_ATTEMPTS = 2
"""A run that has outlived so many processes may be what ended them."""


class PoisonRunLimiter:
    """Decides which runs may be driven beside others; `max_attempts` as in `Limits`."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._selected: dict[RunId, int] = {}
        self.excluded = 0
        """How many runs the last `select` left out."""

    def select(self, waiting: Sequence[WaitingRun], held: Container[RunId]) -> list[WaitingRun]:
        """Return the runs that may be claimed now beside those that are held, in their order."""
        group = {run: attempts for run, attempts in self._selected.items() if run in held}
        selected = []
        for one in waiting:
            if one.attempts >= POISON_ATTEMPTS:
                if len(group) >= self._limit(max(one.attempts, *group.values(), 0)):
                    continue
                group[one.run] = one.attempts
            selected.append(one)
        self._selected, self.excluded = group, len(waiting) - len(selected)
        return selected

    def _limit(self, attempts: int) -> int:
        """Return how many such runs may be held together if one has had so many attempts."""
        attempts_left = self._max_attempts - attempts
        return 1 << max(0, attempts_left - 2)
