"""The bytes of memory that a turn holds while it is prepared and driven."""

from collections.abc import Iterator
from contextlib import contextmanager

from twelvefold.core.ports import Principal
from twelvefold.engine.memory_budget import BudgetExhausted, MemoryBudget, Reservation
from twelvefold.web.http.errors import ApiError

RETRY_S = 2.0
"""When a refused client is to try again: about the time that a short run takes."""
WAIT_S = 2.0
"""How long a turn waits for the bytes that it needs."""
WAITING_INPUT_BYTES = 262_144
"""The longest input that may wait: while it waits, it is in memory and no budget counts it."""


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
            raise too_many_runs(
                "the conversations that are in use take all the bytes that they may"
            ) from None


@contextmanager
def turn_memory(
    budget: MemoryBudget, principal: Principal, input_bytes: int
) -> Iterator[TurnMemory]:
    """Nothing yet, for a turn; what it holds is given back at the end unless a run keeps it."""
    with budget.reservation(principal.id) as reservation:
        yield TurnMemory(reservation, input_bytes)


def too_many_runs(what: str) -> ApiError:
    """Return the refusal of a run that this process has no slot or no memory for."""
    message = f"{what}; try again in a moment"
    return ApiError(429, message, code="too_many_runs", wait_s=RETRY_S)
