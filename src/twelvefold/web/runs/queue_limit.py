"""Limits on queued background runs: for all principals together, and for each one."""

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from twelvefold.core import Principal, Store
from twelvefold.engine import retry_unavailable
from twelvefold.web.http import ApiError

CACHE_TTL_S = 1.0
"""How old a count may be; runs that other processes have queued since are counted after that."""
RETRY_AFTER_S = 5.0
"""A queue drains more slowly than a process's own run slots."""
MAX_PRINCIPALS = 1_000
"""The most principals whose counts are cached."""


@dataclass(slots=True)
class _Count:
    """How many runs are queued: the last count, and those that this process has added since."""

    waiting: int = 0
    counted_at: float = float("-inf")


class QueueLimiter:
    """Admits background runs of these workflows while fewer than `most` are queued.

    `most_per_principal` of them may be one principal's; None: half of `most`. Runs of other
    workflows do not count: no process of this deployment claims them. `clock` gives monotonic
    seconds.
    """

    def __init__(
        self,
        store: Store,
        workflows: Collection[str],
        most: int,
        most_per_principal: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_principals: int = MAX_PRINCIPALS,
    ) -> None:
        self._store = store
        self._workflows = tuple(workflows)
        self._most = most
        self._most_per_principal = most_per_principal or max(1, most // 2)
        self._clock = clock
        self._max_principals = max_principals
        self._all = _Count()
        self._by_principal: dict[str, _Count] = {}

    @property
    def principals(self) -> tuple[str, ...]:
        """The principals whose counts are cached, the least recently used first."""
        return tuple(self._by_principal)

    @asynccontextmanager
    async def slot(self, principal: Principal) -> AsyncIterator[None]:
        """Reserve a slot for the run of the body. Raises ApiError with 429 if none is left."""
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
        if len(self._by_principal) >= self._max_principals:
            # The least recently used one is first: each use moves one to the end.
            del self._by_principal[next(iter(self._by_principal))]
        self._by_principal[principal] = count
        return count

    async def _check(self, count: _Count, most: int, principal: str | None = None) -> None:
        if self._clock() >= count.counted_at + CACHE_TTL_S:
            count.waiting = await retry_unavailable(
                lambda: self._store.queued_runs(
                    workflows=self._workflows, limit=most, principal=principal
                )
            )
            count.counted_at = self._clock()
        if count.waiting >= most:
            whose = "" if principal is None else " of yours"
            message = f"{most} background runs{whose} wait already; try again in a moment"
            raise ApiError(429, message, code="queue_full", wait_s=RETRY_AFTER_S)
