"""Limits how many requests of one owner are handled at the same time.

A web process has one event loop. Without a limit, an owner with hundreds of requests delays each
step of every other request by a step of each of its own. An owner is a principal. Requests without
a known key count for the address of their client.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from twelvefold.engine import ANONYMOUS, LoopShares
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.http.errors import ApiError

T = TypeVar("T")

WAIT_S = 10.0
"""How long a request waits for a slot before it is rejected."""
MAX_ACTIVE_ALONE = 64
"""Slots of one owner while no other principal uses the process."""
MAX_WAITING = 1_000
"""Waiting requests of one owner; each takes about 15 KB of memory."""
RELEASE_DELAY_S = 0.1
"""How long a request that waits for its run keeps its slot.

A run that waits for a model takes longer and needs little of this process. A run that is complete
by then has kept the process busy.
"""
RETRY_AFTER_S = 2.0
REJECTION_DELAY_S = 1.0
"""How long the rejection is delayed if too many wait; otherwise clients retry immediately."""
OVERHEAD_S = 0.0005
"""Time of the loop for a request beside the part that is measured: connection, parsing, log."""
SLOT = "slot"
"""The key of a request's slot in the `state` of its scope."""
MAX_OWNERS = 10_000


class Owners:
    """Maps `Authorization` headers that were authenticated before to their principals."""

    def __init__(self) -> None:
        self._principals: dict[str, str] = {}

    def find(self, authorization: str, client: str) -> str:
        """Return the principal of the header's key if it is known, else the client as owner."""
        return self._principals.get(hash_of(authorization), f"{ANONYMOUS}{client}")

    def remember(self, authorization: str, principal: str) -> None:
        """Remember that the key of this header is the principal's."""
        if len(self._principals) >= MAX_OWNERS:
            self._principals.clear()
        self._principals[hash_of(authorization)] = principal

    def forget(self, authorization: str) -> None:
        """Count requests with this header for their client again: its key was rejected."""
        self._principals.pop(hash_of(authorization), None)


@dataclass(slots=True)
class _Queue:
    """The requests of one owner: the number of active ones, and the waiting ones in order."""

    active: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    timer: asyncio.TimerHandle | None = None


class AdmissionControl:
    """While principals share the process, at most `max_active` requests of each owner are active.

    No request starts while `shares` delays its owner.
    """

    def __init__(
        self,
        max_active: int,
        shares: LoopShares,
        *,
        wait_s: float = WAIT_S,
        release_delay_s: float = RELEASE_DELAY_S,
        max_waiting: int = MAX_WAITING,
        rejection_delay_s: float = REJECTION_DELAY_S,
        max_active_alone: int = MAX_ACTIVE_ALONE,
    ) -> None:
        self.owners = Owners()
        self.shares = shares
        self._max_active = max_active
        self._wait_s = wait_s
        self._release_delay_s = release_delay_s
        self._max_waiting = max_waiting
        self._rejection_delay_s = rejection_delay_s
        self._max_active_alone = max_active_alone
        self._queues: dict[str, _Queue] = {}

    def __len__(self) -> int:
        """The number of owners with active or waiting requests."""
        return len(self._queues)

    @asynccontextmanager
    async def acquire_slot(self, owner: str) -> AsyncIterator["Slot"]:
        """Yield a slot for one request, and release it at the end of the body at the latest.

        Raises ApiError with 429 if no slot becomes free in time or too many requests wait.
        """
        self.shares.charge(owner, OVERHEAD_S)
        queue = self._queues.setdefault(owner, _Queue())
        if queue.waiting or queue.active >= self._limit(owner) or self.shares.delay_s(owner):
            await self._wait(owner, queue)
        else:
            queue.active += 1
        slot = Slot(self, owner, self._release_delay_s)
        try:
            yield slot
        finally:
            slot.release()

    async def _wait(self, owner: str, queue: _Queue) -> None:
        """Wait until a slot is assigned."""
        if len(queue.waiting) >= self._max_waiting:
            await asyncio.sleep(self._rejection_delay_s)
            raise self._rejection()
        assigned = asyncio.get_running_loop().create_future()
        queue.waiting.append(assigned)
        self._assign_slots(owner)
        try:
            async with asyncio.timeout(self._wait_s):
                await assigned
        except BaseException as error:
            if assigned.done() and not assigned.cancelled():
                self.release(owner)  # assigned while the request gave up
            else:
                with suppress(ValueError):  # `_assign_slots` has removed it
                    queue.waiting.remove(assigned)
                self._assign_slots(owner)
            if isinstance(error, TimeoutError):
                raise self._rejection() from None
            raise

    def release(self, owner: str) -> None:
        """Free a slot."""
        self._queues[owner].active -= 1
        self._assign_slots(owner)

    def _assign_slots(self, owner: str) -> None:
        """Assign free slots to waiting requests in order, now or when `shares` allows it."""
        queue = self._queues.get(owner, _Queue())
        limit = self._limit(owner)
        while queue.waiting and queue.active < limit and queue.timer is None:
            if queue.waiting[0].done():
                queue.waiting.popleft()
            elif delay_s := self.shares.delay_s(owner):
                self._assign_later(owner, queue, delay_s)
            else:
                queue.active += 1
                queue.waiting.popleft().set_result(None)
                # The request is charged once it runs, so the next one is assigned after that.
                self._assign_later(owner, queue, 0)
        if not queue.waiting and not queue.active and queue.timer is None:
            self._queues.pop(owner, None)

    def _assign_later(self, owner: str, queue: _Queue, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        queue.timer = loop.call_later(delay_s, self._on_timer, owner)

    def _on_timer(self, owner: str) -> None:
        self._queues[owner].timer = None
        self._assign_slots(owner)

    def _limit(self, owner: str) -> int:
        if self.shares.has_others(owner):
            return self._max_active
        return max(self._max_active, self._max_active_alone)

    def _rejection(self) -> ApiError:
        message = f"more than {self._max_active} requests are in progress; try again in a moment"
        return ApiError(429, message, code="too_many_requests", wait_s=RETRY_AFTER_S)


class Slot:
    """The slot of one active request."""

    def __init__(self, control: AdmissionControl, owner: str, release_delay_s: float) -> None:
        self._control = control
        self._owner = owner
        self._release_delay_s = release_delay_s
        self._timer: asyncio.TimerHandle | None = None
        self.is_held = True

    async def measure(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await a part of the request's work and charge its owner for the time of the loop."""
        return await self._control.shares.measured(self._owner, work)

    def release_soon(self) -> None:
        """Release the slot after a delay: from here on the request waits for something else."""
        if self.is_held and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._release_delay_s, self.release)

    def release(self) -> None:
        """Release the slot. A second call does nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if self.is_held:
            self.is_held = False
            self._control.release(self._owner)


def release_soon(request: Request) -> None:
    """Release a request's slot after a delay, because from here on it only waits for a run."""
    slot: Slot | None = request.scope.get("state", {}).get(SLOT)
    if slot is not None:
        slot.release_soon()


def too_many_runs(reason: str) -> ApiError:
    """Return the error for a run that this process has no slot or no memory for."""
    message = f"{reason}; try again in a moment"
    return ApiError(429, message, code="too_many_runs", wait_s=RETRY_AFTER_S)
