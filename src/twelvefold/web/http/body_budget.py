"""A budget in bytes for the request bodies that a process is receiving.

Small bodies pass outside it. A large one takes its whole length before more of it is read: bodies
that take theirs piece by piece could each wait for the other's end.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

from twelvefold.web.http.errors import ApiError

MIB = 1024 * 1024
SHARE = 2
"""One owner may hold this part of the budget: half of it."""
WAITING_SHARE = 4


@dataclass(slots=True)
class _Waiting:
    owner: str
    size: int
    granted: asyncio.Future[None]


class BodyBudget:
    """At most `limit_bytes` of large bodies at once, and half of them for one owner.

    A body larger than that is taken alone. `wait_s` is how long a body waits for room, `waiting`
    how many may wait: a quarter of them one owner's.
    """

    def __init__(
        self, limit_bytes: int = 64 * MIB, *, wait_s: float = 30.0, waiting: int = 128
    ) -> None:
        self._limit_bytes = limit_bytes
        self._wait_s = wait_s
        self._most_waiting = waiting
        self._most_waiting_of_one = max(1, waiting // WAITING_SHARE)
        self._held: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []

    @property
    def held_bytes(self) -> int:
        """What all bodies have taken."""
        return self._held.total()

    async def take(self, owner: str, size: int) -> None:
        """Take so many bytes, waiting for room. Raises ApiError with 503 after `wait_s`."""
        if not self._waiting_before(owner) and self._fits(owner, size):
            self._held[owner] += size
            return
        own = sum(one.owner == owner for one in self._waiting)
        if len(self._waiting) >= self._most_waiting or own >= self._most_waiting_of_one:
            raise _full()
        one = _Waiting(owner, size, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        try:
            async with asyncio.timeout(self._wait_s):
                await one.granted
        except BaseException as error:
            self._leave(one)
            if isinstance(error, TimeoutError):
                raise _full() from error
            raise

    def give_back(self, owner: str, size: int) -> None:
        """Return what was taken."""
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
        self._grant()

    def _leave(self, one: _Waiting) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
            self._grant()
        elif one.granted.done() and not one.granted.cancelled():
            self.give_back(one.owner, one.size)

    def _waiting_before(self, owner: str) -> bool:
        """Whether a body waits that this one may not pass: one that waits for room of all."""
        return any(one.owner == owner or not self._is_over_share(one) for one in self._waiting)

    def _is_over_share(self, one: _Waiting) -> bool:
        held = self._held[one.owner]
        return held > 0 and held + one.size > self._limit_bytes // SHARE

    def _fits(self, owner: str, size: int) -> bool:
        held, total = self._held[owner], self._held.total()
        within_share = held == 0 or held + size <= self._limit_bytes // SHARE
        return within_share and (total == 0 or total + size <= self._limit_bytes)

    def _grant(self) -> None:
        """In the order in which they came; one that has its owner's share lets others pass."""
        for one in list(self._waiting):
            if self._is_over_share(one):
                continue
            if not self._fits(one.owner, one.size):
                return
            self._held[one.owner] += one.size
            self._waiting.remove(one)
            one.granted.set_result(None)


def _full() -> ApiError:
    message = "too many large requests are being received; try again in a moment"
    return ApiError(503, message, code="service_unavailable", wait_s=5)
