"""Slots for the runs that this process drives: a limit for all, and one for each principal.

Runs that a principal starts with different keys count together.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from twelvefold.web.turn_memory import too_many_runs


class RunSlots:
    """Slots for runs in flight: `limit` in all, `limit_per_principal` (None: half) for one."""

    def __init__(self, limit: int, limit_per_principal: int | None = None) -> None:
        self._limit = limit
        self._limit_per_principal = limit_per_principal or max(limit // 2, 1)
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many slots are taken now."""
        return self._taken.total()

    @contextmanager
    def slot(self, principal: str) -> Iterator[None]:
        """Keep a slot until the body ends. Raises ApiError with 429 if none is free."""
        if self.taken >= self._limit:
            raise too_many_runs(f"all {self._limit} places for runs are taken")
        if self._taken[principal] >= self._limit_per_principal:
            message = f"all {self._limit_per_principal} places for runs of one principal are taken"
            raise too_many_runs(message)
        self.take(principal)
        try:
            yield
        finally:
            self.release(principal)

    def take(self, principal: str) -> None:
        """Count one more run, also above the limits."""
        self._taken[principal] += 1

    def release(self, principal: str) -> None:
        """Count one run fewer."""
        self._taken[principal] -= 1
        if not self._taken[principal]:
            del self._taken[principal]
