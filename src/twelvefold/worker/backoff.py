"""Which runs a worker leaves alone for now, because they came to nothing when it had them.

This is the worker's own memory: another worker, or this one after a restart, tries them at once.
"""

import random
from collections.abc import Callable

from twelvefold.core.ids import RunId

FIRST_S = 1.0
LONGEST_S = 300.0
NO_ROOM_S = 8.0
"""The longest pause of a run for which this process had no room: it has room when another one
rests, and nothing is wrong with the run."""
REMEMBERED = 1_000
"""Runs at most; past it those are forgotten that would be tried soonest. As they look new then,
whoever takes runs up has to do it slowly while the pauses are full."""


class RunBackoff:
    """Growing pauses for runs that failed; `now` gives seconds that only grow."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._paused: dict[RunId, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._paused)

    def __contains__(self, run: RunId) -> bool:
        """Whether the run is to be left alone now."""
        return run in self._paused and self._now() < self._paused[run][1]

    @property
    def are_full(self) -> bool:
        """Whether more runs may have failed than are remembered."""
        self._forget_old()
        return len(self._paused) >= REMEMBERED

    def failed(self, run: RunId, most_s: float = LONGEST_S) -> float:
        """Leave the run alone, twice as long as the last time; returns for how many seconds."""
        failures = self._paused.pop(run, (0, 0.0))[0] + 1
        longest_s = min(FIRST_S * 2.0 ** min(failures - 1, 20), most_s)
        pause_s = longest_s * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret
        if self.are_full:
            del self._paused[min(self._paused, key=lambda run: self._paused[run][1])]
        self._paused[run] = failures, self._now() + pause_s
        return pause_s

    def rested(self, run: RunId) -> None:
        """The run came to something; what was before is forgotten."""
        self._paused.pop(run, None)

    def _forget_old(self) -> None:
        """Runs that nobody has seen again for long, which others have finished."""
        old = self._now() - LONGEST_S
        self._paused = {run: one for run, one in self._paused.items() if one[1] > old}
