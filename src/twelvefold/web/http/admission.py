"""How much of one owner is handled at once; further requests wait for their turn.

A web process has one event loop. Without a bound, an owner with hundreds of requests delays each
step of everyone else's requests by a step of each of its own. An owner is a principal, or, for
requests that show no key or one that is not known yet, the address of the client.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from twelvefold.engine.loop_shares import ANONYMOUS, LoopShares
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.http.errors import ApiError

T = TypeVar("T")

WAIT_S = 10.0
"""How long a request waits for its turn before it is refused."""
MAX_ALONE = 64
"""Requests of one owner that are in hand at once while no other principal uses the process."""
MAX_WAITING = 1_000
"""Requests of one owner that wait; each takes about 15 KB of memory."""
HOLD_S = 0.1
"""How long a request that waits for its run keeps its place. A run that a model drives takes longer
and needs little of this process; one that is over by then has kept the process busy."""
RETRY_S = 2.0
FULL_S = 1.0
"""How long one too many waits before it is refused: its client would else ask again at once."""
OVERHEAD_S = 0.0005
"""The loop's time that a request takes beside the part that is measured: connection, bytes, log."""
PLACE = "place"
"""The name of a request's place in the state of its scope."""
MOST_OWNERS = 10_000


class Owners:
    """Whose request it is, by its `Authorization` header, as far as earlier ones have shown it."""

    def __init__(self) -> None:
        self._principals: dict[str, str] = {}

    def of(self, authorization: str, client: str) -> str:
        """The principal whose key this was, or an owner for the client."""
        return self._principals.get(hash_of(authorization), f"{ANONYMOUS}{client}")

    def learn(self, authorization: str, principal: str) -> None:
        """Remember that the key of this header is the principal's."""
        if len(self._principals) >= MOST_OWNERS:
            self._principals.clear()
        self._principals[hash_of(authorization)] = principal

    def forget(self, authorization: str) -> None:
        """Count requests with this header for their client again: its key was refused."""
        self._principals.pop(hash_of(authorization), None)


@dataclass(slots=True)
class _Line:
    """The requests of one owner: how many are in hand, and those that wait in order."""

    in_hand: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    timer: asyncio.TimerHandle | None = None


class AdmissionControl:
    """While principals share the process, at most `most` requests of each owner are in hand.

    None is begun while `shares` delays it.
    """

    def __init__(
        self,
        most: int,
        shares: LoopShares,
        *,
        wait_s: float = WAIT_S,
        hold_s: float = HOLD_S,
        max_waiting: int = MAX_WAITING,
        full_s: float = FULL_S,
        most_alone: int = MAX_ALONE,
    ) -> None:
        self.owners = Owners()
        self.shares = shares
        self._most = most
        self._wait_s = wait_s
        self._hold_s = hold_s
        self._max_waiting = max_waiting
        self._full_s = full_s
        self._most_alone = most_alone
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        """How many owners have requests here."""
        return len(self._lines)

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator["Place"]:
        """A place for one request, given back at the end of the body at the latest.

        Raises ApiError with 429 if none is free in time, or too many wait already.
        """
        self.shares.charge(owner, OVERHEAD_S)
        line = self._lines.setdefault(owner, _Line())
        if line.waiting or line.in_hand >= self._limit(owner) or self.shares.delay_s(owner):
            await self._turn(owner, line)
        else:
            line.in_hand += 1
        place = Place(self, owner, self._hold_s)
        try:
            yield place
        finally:
            place.release()

    async def _turn(self, owner: str, line: _Line) -> None:
        """Wait until a place is handed over."""
        if len(line.waiting) >= self._max_waiting:
            await asyncio.sleep(self._full_s)
            raise self._refusal()
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        self._admit(owner)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release(owner)  # handed over as this request gave up
            else:
                with suppress(ValueError):  # it was passed over already
                    line.waiting.remove(turn)
                self._admit(owner)
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise

    def release(self, owner: str) -> None:
        """Free a place."""
        self._lines[owner].in_hand -= 1
        self._admit(owner)

    def _admit(self, owner: str) -> None:
        """Hand a free place to the request that has waited longest, or have that done later."""
        line = self._lines.get(owner, _Line())
        limit = self._limit(owner)
        while line.waiting and line.in_hand < limit and line.timer is None:
            if line.waiting[0].done():
                line.waiting.popleft()
            elif delay_s := self.shares.delay_s(owner):
                loop = asyncio.get_running_loop()
                line.timer = loop.call_later(delay_s, self._admit_now, owner)
            else:
                line.in_hand += 1
                line.waiting.popleft().set_result(None)
                # What it costs is charged once it runs: the next one waits for that.
                loop = asyncio.get_running_loop()
                line.timer = loop.call_later(0, self._admit_now, owner)
        if not line.waiting and not line.in_hand and line.timer is None:
            self._lines.pop(owner, None)

    def _limit(self, owner: str) -> int:
        return self._most if self.shares.has_others(owner) else max(self._most, self._most_alone)

    def _admit_now(self, owner: str) -> None:
        self._lines[owner].timer = None
        self._admit(owner)

    def _refusal(self) -> ApiError:
        message = f"more than {self._most} requests are in hand here; try again in a moment"
        return ApiError(429, message, code="too_many_requests", wait_s=RETRY_S)


class Place:
    """One request's place."""

    def __init__(self, control: AdmissionControl, owner: str, hold_s: float) -> None:
        self._control = control
        self._owner = owner
        self._hold_s = hold_s
        self._timer: asyncio.TimerHandle | None = None
        self.is_held = True

    async def measured(self, work: Callable[[], Awaitable[T]]) -> T:
        """Begin and await a part of the request's work; its owner is charged the loop's time."""
        return await self._control.shares.measured(self._owner, work)

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
            self._control.release(self._owner)


def release_soon(request: Request) -> None:
    """Give a request's place back in a moment, because from here on it only waits for a run."""
    place: Place | None = request.scope.get("state", {}).get(PLACE)
    if place is not None:
        place.release_soon()
