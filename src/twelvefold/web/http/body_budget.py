"""The memory budget for request bodies that a process receives.

Small bodies do not count. A large body takes its full length before the rest of it is read: bodies
that took memory piece by piece could block each other.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

from twelvefold.web.http.errors import ApiError

MIB = 1024 * 1024
OWNER_DIVISOR = 2
"""One owner may hold half of the budget."""
OWNER_WAITING_DIVISOR = 4
"""A quarter of the waiting bodies may be of one owner."""


@dataclass(slots=True)
class _Waiter:
    owner: str
    size: int
    granted: asyncio.Future[None]


class BodyBudget:
    """At most `limit_bytes` of large bodies at the same time, and half of that for one owner.

    A body larger than its limit is received alone. `wait_s` is how long a body waits for memory,
    `max_waiting` how many bodies may wait.
    """

    def __init__(
        self, limit_bytes: int = 64 * MIB, *, wait_s: float = 30.0, max_waiting: int = 128
    ) -> None:
        self._limit_bytes = limit_bytes
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._max_waiting_per_owner = max(1, max_waiting // OWNER_WAITING_DIVISOR)
        self._held: Counter[str] = Counter()
        self._waiters: list[_Waiter] = []

    @property
    def held_bytes(self) -> int:
        """The bytes that all bodies hold."""
        return self._held.total()

    async def take(self, owner: str, size: int) -> None:
        """Take `size` bytes, waiting if necessary. Raises ApiError with 503 after `wait_s`."""
        if not self._must_wait(owner) and self._fits(owner, size):
            self._held[owner] += size
            return
        own = sum(waiter.owner == owner for waiter in self._waiters)
        if len(self._waiters) >= self._max_waiting or own >= self._max_waiting_per_owner:
            raise _exhausted()
        waiter = _Waiter(owner, size, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                await waiter.granted
        except BaseException as error:
            self._abandon(waiter)
            if isinstance(error, TimeoutError):
                raise _exhausted() from error
            raise

    def give_back(self, owner: str, size: int) -> None:
        """Return bytes that were taken."""
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
        self._grant()

    def _abandon(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._grant()
        elif waiter.granted.done() and not waiter.granted.cancelled():
            self.give_back(waiter.owner, waiter.size)

    def _must_wait(self, owner: str) -> bool:
        """Return whether a body waits that the owner's next one must not overtake.

        A body that waits for its own owner's share may be overtaken by other owners.
        """
        return any(
            waiter.owner == owner or not self._exceeds_share(waiter) for waiter in self._waiters
        )

    def _exceeds_share(self, waiter: _Waiter) -> bool:
        held = self._held[waiter.owner]
        return held > 0 and held + waiter.size > self._limit_bytes // OWNER_DIVISOR

    def _fits(self, owner: str, size: int) -> bool:
        held, total = self._held[owner], self._held.total()
        within_share = held == 0 or held + size <= self._limit_bytes // OWNER_DIVISOR
        return within_share and (total == 0 or total + size <= self._limit_bytes)

    def _grant(self) -> None:
        """Grant waiting bodies in order, skipping those whose owner holds its share."""
        for waiter in list(self._waiters):
            if self._exceeds_share(waiter):
                continue
            if not self._fits(waiter.owner, waiter.size):
                return
            self._held[waiter.owner] += waiter.size
            self._waiters.remove(waiter)
            waiter.granted.set_result(None)


def _exhausted() -> ApiError:
    message = "too many large requests are being received; try again in a moment"
    return ApiError(503, message, code="service_unavailable", wait_s=5)
