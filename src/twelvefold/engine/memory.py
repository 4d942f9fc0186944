"""Limits the memory that runs use, in bytes of conversations.

Bytes are counted as the journal has them; in memory each conversation takes three to seven times
as many. It is counted from before it is loaded until its run is idle.
"""

import asyncio
from collections import Counter
from typing import Self

from twelvefold.core import Entry, Listener

RUN_BYTES = 24 * 1024 * 1024
"""The default budget."""
SMALL_BYTES = 16 * 1024
"""The longest conversation that needs no room in its principal's share: if it fills half of web's
slots, those take a twelfth of the budget."""
MAX_WAITING = 64


class BudgetExhausted(Exception):
    """The budget has no room now; it has again when a run becomes idle."""


class MemoryBudget:
    """Holds at most `limit` bytes at once, and `share` of them, or half, for one principal.

    A larger conversation is admitted while nothing else is held; the same holds for the share. One
    of at most `small` bytes needs room in the whole budget only: while a principal has a
    conversation that is larger than its share, its short turns continue.
    Waiting reservations are admitted as they fit, in no order: a small one passes a large one.
    """

    def __init__(self, limit: int, share: int | None = None, *, small: int = SMALL_BYTES) -> None:
        self._limit = limit
        self._small = small
        self._share = limit // 2 if share is None else share
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
        return self._held >= self._limit

    def reservation(self, principal: str) -> "Reservation":
        """Return an empty reservation of the principal."""
        return Reservation(self, principal)

    def fits(self, principal: str, size: int, more: int) -> bool:
        """Return whether a reservation of the principal, which holds `size`, may hold `more`."""
        held, own = self._held, self._held_by[principal]
        in_budget = held + more <= self._limit or held == size
        in_share = own + more <= self._share or own == size
        return in_budget and (in_share or size + more <= self._small)

    def add(self, principal: str, more: int) -> None:
        """Count so many more bytes, or fewer; fewer wakes the reservations that wait."""
        self._held += more
        self._held_by[principal] += more
        if not self._held_by[principal]:
            del self._held_by[principal]
        if more < 0:
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)

    async def wait_for_release(self) -> None:
        """Wait until fewer bytes are held. Raises BudgetExhausted if too many wait already."""
        if len(self._waiting) >= MAX_WAITING:
            raise BudgetExhausted
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)


class Reservation:
    """The bytes of one turn or run; released at the end of its context, unless `keep` is called."""

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
        """Hold at least `size` bytes. Raises BudgetExhausted if they do not fit within `wait_s`."""
        try:
            async with asyncio.timeout(wait_s):
                while not self._budget.fits(self._principal, self._size, size - self._size):
                    await self._budget.wait_for_release()
        except TimeoutError:
            raise BudgetExhausted from None
        self.grow_to(size)

    def grow_to(self, size: int) -> None:
        """Hold at least `size` bytes, even if they do not fit: they are in memory already."""
        self.grow(max(size - self._size, 0))

    def grow(self, more: int) -> None:
        """Hold `more` bytes more, as `grow_to` does."""
        self._size += more
        self._budget.add(self._principal, more)

    def keep(self) -> None:
        """Hold the bytes until `release`, beyond the end of the context."""
        self._is_kept = True

    def release(self) -> None:
        """Release all bytes."""
        size, self._size = self._size, 0
        self._budget.add(self._principal, -size)


class GrowingListener:
    """Adds the size of a run's new entries to its reservation, and passes everything on."""

    def __init__(self, listener: Listener, reservation: Reservation) -> None:
        self._listener = listener
        self._reservation = reservation
        self.text = listener.text
        self.restarted = listener.restarted
        self.shown = listener.shown

    def recorded(self, entry: Entry) -> None:
        self._reservation.grow(entry.size)
        self._listener.recorded(entry)
