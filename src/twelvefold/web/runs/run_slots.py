"""How many runs this process drives, in all and for one principal, and how many bytes they hold.

One principal may have several keys; what they begin counts together.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from twelvefold.core.ports import Principal
from twelvefold.engine.memory_budget import BudgetExhausted, MemoryBudget, Reservation
from twelvefold.web.http.errors import ApiError

RETRY_S = 2.0
"""When to try again where all places are taken: about the time that a short run takes."""
WAIT_S = 2.0
"""How long a turn waits for the bytes that it needs."""
WAITING_INPUT_BYTES = 262_144
"""The longest input that may wait: while it does, it is in memory and counted nowhere."""


class RunPlaces:
    """Places for runs in flight, `most` in all and `share` for one principal."""

    def __init__(self, most: int, share: int | None = None) -> None:
        self._most = most
        self._share = share or max(most // 2, 1)
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken now."""
        return self._taken.total()

    @contextmanager
    def place(self, principal: str) -> Iterator[None]:
        """Keep a place until the body ends. Raises ApiError with 429 if there is none."""
        if self.taken >= self._most:
            raise _too_many(f"all {self._most} places for runs are taken")
        if self._taken[principal] >= self._share:
            raise _too_many(f"all {self._share} places for runs of one principal are taken")
        self.take(principal)
        try:
            yield
        finally:
            self.give_back(principal)

    def take(self, principal: str) -> None:
        """Count one more, whether or not there is a place."""
        self._taken[principal] += 1

    def give_back(self, principal: str) -> None:
        """Count one fewer."""
        self._taken[principal] -= 1
        if not self._taken[principal]:
            del self._taken[principal]


class TurnMemory:
    """The bytes that one turn of a principal's holds; `input_bytes` are in memory already."""

    def __init__(self, reservation: Reservation, input_bytes: int) -> None:
        self.reservation = reservation
        self._input_bytes = input_bytes

    async def hold(self, thread_bytes: int | None = None) -> None:
        """Hold the input, and a thread that is about to be loaded, as far as its size is known.

        Waits a moment. Raises ApiError with 429 if there is no room then.
        """
        may_wait = self._input_bytes <= WAITING_INPUT_BYTES
        try:
            size = self._input_bytes + (thread_bytes or 0)
            await self.reservation.hold(size, wait_s=WAIT_S if may_wait else 0)
        except BudgetExhausted:
            raise _too_many(
                "the conversations that are in use take all the bytes that they may"
            ) from None


@contextmanager
def turn_memory(
    budget: MemoryBudget, principal: Principal, input_bytes: int
) -> Iterator[TurnMemory]:
    """Nothing yet, for a turn; what it holds is given back at the end unless a run keeps it."""
    with budget.reservation(principal.id) as reservation:
        yield TurnMemory(reservation, input_bytes)


def _too_many(what: str) -> ApiError:
    message = f"{what}; try again in a moment"
    return ApiError(429, message, code="too_many_runs", wait_s=RETRY_S)
