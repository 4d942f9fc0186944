"""How many bytes of conversations one process holds for its runs, and for turns about to begin.

Bytes as the journal counts them; in memory each of them takes three to seven. A conversation is
counted from before it is loaded until its run rests.
"""

import asyncio
from collections import Counter
from typing import Self

from twelvefold.core.events import Entry
from twelvefold.core.ports import Listener

RUN_BYTES = 24 * 1024 * 1024
"""The budget where nothing else is said."""
SMALL_BYTES = 16 * 1024
"""The longest conversation that needs no room in its principal's share: half of all the places of
web, full of them, take a twelfth of the budget."""
MOST_WAITING = 64


class BudgetExhausted(Exception):
    """The budget has no room now; it has again when a run rests."""


class MemoryBudget:
    """At most `most` bytes are held at once, and `share` of them, or half, for one principal.

    A conversation that is larger alone is let in while nothing else is held, by the same measure.
    One of at most `small` bytes needs room in the whole alone: beside one that is larger than its
    principal's share, short turns of the same principal go on.
    Reservations that wait are let in as they fit, in no order: a small one passes a large one.
    """

    def __init__(self, most: int, share: int | None = None, *, small: int = SMALL_BYTES) -> None:
        self._most = most
        self._small = small
        self._share = most // 2 if share is None else share
        self._held = 0
        self._held_by: Counter[str] = Counter()
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def held(self) -> int:
        """How many bytes are held now."""
        return self._held

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be held."""
        return self._held >= self._most

    def reservation(self, principal: str) -> "Reservation":
        """A reservation of the principal's, of nothing yet."""
        return Reservation(self, principal)

    def fits(self, principal: str, size: int, more: int) -> bool:
        """Whether the principal, who holds `size` of it by this reservation, may hold `more`."""
        held, own = self._held, self._held_by[principal]
        in_all = held + more <= self._most or held == size
        in_share = own + more <= self._share or own == size
        return in_all and (in_share or size + more <= self._small)

    def add(self, principal: str, more: int) -> None:
        """Count so many more bytes, or fewer; those that wait look again if it is fewer."""
        self._held += more
        self._held_by[principal] += more
        if not self._held_by[principal]:
            del self._held_by[principal]
        if more < 0:
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)

    async def freed(self) -> None:
        """Wait until fewer bytes are held. Raises BudgetExhausted if too many wait already."""
        if len(self._waiting) >= MOST_WAITING:
            raise BudgetExhausted
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)


class Reservation:
    """What one turn or run holds; given back at the end of its context, unless it is `kept`."""

    def __init__(self, budget: MemoryBudget, principal: str) -> None:
        self._budget = budget
        self._principal = principal
        self._size = 0
        self._is_kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self.release()

    async def hold(self, size: int, *, wait_s: float) -> None:
        """Hold so many bytes at least. Raises BudgetExhausted if that is not possible by then."""
        try:
            async with asyncio.timeout(wait_s):
                while not self._budget.fits(self._principal, self._size, size - self._size):
                    await self._budget.freed()
        except TimeoutError:
            raise BudgetExhausted from None
        self.grow_to(size)

    def grow_to(self, size: int) -> None:
        """Hold so many bytes at least, whether or not there is room: they are in memory already."""
        self.grow(max(size - self._size, 0))

    def grow(self, more: int) -> None:
        """Hold so many bytes more, as `grow_to` does."""
        self._size += more
        self._budget.add(self._principal, more)

    def keep(self) -> None:
        """Hold the bytes until `release`, beyond the end of the context."""
        self._is_kept = True

    def release(self) -> None:
        """Give everything back."""
        size, self._size = self._size, 0
        self._budget.add(self._principal, -size)


class GrowingListener:
    """Passes on what is heard of a run, and counts what its journal grows by."""

    def __init__(self, listener: Listener, reservation: Reservation) -> None:
        self._listener = listener
        self._reservation = reservation
        self.text = listener.text
        self.restarted = listener.restarted
        self.shown = listener.shown

    def recorded(self, entry: Entry) -> None:
        self._reservation.grow(entry.size)
        self._listener.recorded(entry)
