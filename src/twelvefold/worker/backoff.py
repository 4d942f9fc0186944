"""Pauses of runs that failed while this worker had them.

They are in this worker's memory: another worker, or this one after a restart, tries the runs at
once.
"""

import math
from collections.abc import Callable

from msgspec import structs

from twelvefold.backoff import Backoff
from twelvefold.core import RunId

RUN_BACKOFF = Backoff(first_s=1.0, longest_s=300.0)
NO_ROOM_S = 8.0
"""The longest pause of a run for which this process had no memory: the next run that ends frees
some."""
CAPACITY = 1_000
"""How many runs are remembered. Beyond it those are forgotten that would be tried soonest. They
look new then, so a worker has to claim runs slowly while `is_full`."""


class RunBackoff:
    """Growing pauses for runs that failed. `now` returns monotonic seconds."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        backoff: Backoff = RUN_BACKOFF,
        capacity: int = CAPACITY,
    ) -> None:
        self._now = now
        self._backoff = backoff
        self._capacity = capacity
        self._paused: dict[RunId, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._paused)

    def __contains__(self, run: RunId) -> bool:
        """Return whether the run is paused now."""
        return run in self._paused and self._now() < self._paused[run][1]

    @property
    def is_full(self) -> bool:
        """Whether more runs may have failed than are remembered."""
        self._forget_old()
        return len(self._paused) >= self._capacity

    @property
    def next_end_s(self) -> float:
        """In how many seconds the next pause ends; infinite if no run is paused now."""
        now = self._now()
        return min((end - now for _, end in self._paused.values() if end > now), default=math.inf)

    def postpone(self, run: RunId, longest_s: float | None = None) -> float:
        """Pause the run, twice as long as the last time; return for how many seconds."""
        failures = self._paused.pop(run, (0, 0.0))[0] + 1
        backoff = (
            structs.replace(self._backoff, longest_s=longest_s) if longest_s else self._backoff
        )
        pause_s = backoff.pause_s(failures)
        if self.is_full:
            del self._paused[min(self._paused, key=lambda run: self._paused[run][1])]
        self._paused[run] = failures, self._now() + pause_s
        return pause_s

    def forget(self, run: RunId) -> None:
        """Forget the failures of a run that has made progress."""
        self._paused.pop(run, None)

    def _forget_old(self) -> None:
        """Forget runs that were not found again for long: other workers have finished them."""
        oldest = self._now() - self._backoff.longest_s
        self._paused = {run: one for run, one in self._paused.items() if one[1] > oldest}
