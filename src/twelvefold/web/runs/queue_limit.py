"""Limits on background runs that wait: of all principals together, and of each one."""

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from twelvefold.core.ports import Principal, Store
from twelvefold.engine.retry import retry_unavailable
from twelvefold.web.http.errors import ApiError

POLL_INTERVAL_S = 1.0
"""How old a count may be; what other processes have added since is seen only then."""
RETRY_S = 5.0
REMEMBERED = 1_000
"""Principals whose counts are kept, at most."""


@dataclass(slots=True)
class _Count:
    """How many runs wait, by the last count and what this process has added since."""

    waiting: int = 0
    counted_at: float = float("-inf")


class QueueLimiter:
    """Admits background runs of these workflows while fewer than `most` wait.

    `most_per_principal` of them may be one principal's; None: half of `most`. Runs of other
    workflows do not count: no process of this deployment takes them up. `clock` gives seconds that
    only grow.
    """

    def __init__(
        self,
        store: Store,
        workflows: Collection[str],
        most: int,
        most_per_principal: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        remembered: int = REMEMBERED,
    ) -> None:
        self._store = store
        self._workflows = tuple(workflows)
        self._most = most
        self._most_per_principal = most_per_principal or max(1, most // 2)
        self._clock = clock
        self._remembered = remembered
        self._all = _Count()
        self._by_principal: dict[str, _Count] = {}

    @property
    def principals(self) -> tuple[str, ...]:
        """Whose counts are kept, the least recently used first."""
        return tuple(self._by_principal)

    @asynccontextmanager
    async def place(self, principal: Principal) -> AsyncIterator[None]:
        """Room for a run that the body writes. Raises ApiError with 429 if too many wait."""
        own = self._count_of(principal.id)
        await self._check(own, self._most_per_principal, principal.id)
        await self._check(self._all, self._most)
        for count in (own, self._all):
            count.waiting += 1
        try:
            yield
        except BaseException:
            for count in (own, self._all):
                count.waiting = max(0, count.waiting - 1)
            raise

    def _count_of(self, principal: str) -> _Count:
        count = self._by_principal.pop(principal, None) or _Count()
        if len(self._by_principal) >= self._remembered:
            # The one that has been used least recently: each use puts one at the end.
            del self._by_principal[next(iter(self._by_principal))]
        self._by_principal[principal] = count
        return count

    async def _check(self, count: _Count, most: int, principal: str | None = None) -> None:
        if self._clock() >= count.counted_at + POLL_INTERVAL_S:
            count.waiting = await retry_unavailable(
                lambda: self._store.queued_runs(
                    workflows=self._workflows, limit=most, principal=principal
                )
            )
            count.counted_at = self._clock()
        if count.waiting >= most:
            whose = "" if principal is None else " of yours"
            message = f"{most} background runs{whose} wait already; try again in a moment"
            raise ApiError(429, message, code="queue_full", wait_s=RETRY_S)
