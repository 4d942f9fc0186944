"""How many requests of one principal are handled at once; further ones wait for their turn.

A web process has one event loop. Without a bound, a principal with hundreds of requests delays each
step of everyone else's requests by a step of each of its own.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from starlette.requests import Request

from twelvefold.web.faults import ApiError

WAIT_S = 10.0
"""How long a request waits for its turn before it is refused."""
MAX_WAITING = 1_000
"""Requests of one principal that wait; each takes about 15 KB of memory."""
HOLD_S = 0.25
"""How long a request that waits for its run keeps its place. A run that a model drives takes longer
and needs little of this process; one that is over by then has kept the process busy."""
RETRY_S = 2.0
PLACE = "place"
"""The name of a request's place in the state of its scope."""


class AdmissionControl:
    """At most `most` requests of each principal are in hand, the others wait in order."""

    def __init__(
        self,
        most: int,
        *,
        wait_s: float = WAIT_S,
        hold_s: float = HOLD_S,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._most = most
        self._wait_s = wait_s
        self._hold_s = hold_s
        self._max_waiting = max_waiting
        self._in_hand: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def principals(self) -> int:
        """How many principals have requests in hand."""
        return len(self._in_hand)

    @asynccontextmanager
    async def place(self, principal: str) -> AsyncIterator["Place"]:
        """A place for one request, given back at the end of the body at the latest.

        Raises ApiError with 429 if none is free in time, or too many wait already.
        """
        if self._in_hand.get(principal, 0) < self._most:
            self._in_hand[principal] = self._in_hand.get(principal, 0) + 1
        else:
            await self._turn(principal)
        place = Place(lambda: self._pass_on(principal), self._hold_s)
        try:
            yield place
        finally:
            place.release()

    async def _turn(self, principal: str) -> None:
        """Wait until a place is handed over."""
        waiting = self._waiting.setdefault(principal, deque())
        if len(waiting) >= self._max_waiting:
            raise self._refusal()
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._pass_on(principal)  # handed over as this request gave up
            else:
                with suppress(ValueError):  # it was passed over already
                    waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise

    def _pass_on(self, principal: str) -> None:
        """Hand a place to the request that has waited longest, or free it."""
        waiting = self._waiting.get(principal, deque())
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(principal, None)
        self._in_hand[principal] -= 1
        if not self._in_hand[principal]:
            del self._in_hand[principal]

    def _refusal(self) -> ApiError:
        message = f"{self._most} requests of this principal are in hand; try again in a moment"
        return ApiError(429, message, code="too_many_requests", wait_s=RETRY_S)


class Place:
    """One request's place; `give_back` is called once."""

    def __init__(self, give_back: Callable[[], None], hold_s: float) -> None:
        self._give_back = give_back
        self._hold_s = hold_s
        self._timer: asyncio.TimerHandle | None = None
        self.is_held = True

    def release_soon(self) -> None:
        """Give the place back in a moment: from here on the request waits for something else."""
        if self.is_held and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._hold_s, self.release)

    def release(self) -> None:
        """Give the place back; the second time nothing is done."""
        if self._timer is not None:
            self._timer.cancel()
        if self.is_held:
            self.is_held = False
            self._give_back()


def release_soon(request: Request) -> None:
    """Give a request's place back in a moment, because from here on it only waits for a run."""
    place: Place | None = request.scope.get("state", {}).get(PLACE)
    if place is not None:
        place.release_soon()
