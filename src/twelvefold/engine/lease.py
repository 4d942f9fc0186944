"""A run's lease in this process: until when it is known to hold, and what ends with it.

The server's clock decides who owns a run. A process knows its own lease by a monotonic clock: the
server adds `lease_s` when it executes a claim or a renewal, which is never before it was sent.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, cast

from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import Lease, Store
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import CancelAsked, LeaseLost

Clock = Callable[[], float]
"""Monotonic seconds. `time.monotonic` in production, never `loop.time`, which uvloop caches."""
RENEWALS = 3
"""How often a lease is renewed within its length, so that one that fails is not the end."""


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A tool call that a task makes now. `ends_at` is its start plus the tool's `timeout_s`."""

    run: RunId
    tool: str
    ends_at: float


class RenewedLease(ABC):
    """A lease that this process holds and renews. Safe to read from any thread.

    `sent_at` is when the claim was sent, by `clock`. `valid_until`: until then nobody else can have
    what is leased. `renew_at`: when the next renewal is due. `on_end` is called in `loop` once the
    lease is over.
    """

    in_step = False
    is_failing = False
    """Whether the last renewal failed."""

    def __init__(self, store: Store, lease_s: float, sent_at: float, clock: Clock) -> None:
        self.store = store
        self.lease_s = lease_s
        self.clock = clock
        self.valid_until = sent_at + lease_s
        self.renew_at = sent_at + self.interval_s
        self.loop: asyncio.AbstractEventLoop | None = None
        self.on_end: Callable[[LeaseLost | CancelAsked], None] | None = None
        self._ended: LeaseLost | CancelAsked | None = None

    @property
    @abstractmethod
    def about(self) -> dict[str, str]:
        """What is leased, as fields of the log."""

    @abstractmethod
    async def ask(self, store: Store) -> bool:
        """Renew it by one request; True if what it is held for is to be cancelled.

        Raises LeaseLost.
        """

    @property
    def interval_s(self) -> float:
        """How long after one renewal the next is due."""
        return self.lease_s / RENEWALS

    def is_valid(self) -> bool:
        """Whether nobody else can have what is leased now."""
        return self._ended is None and self.clock() < self.valid_until

    def is_due(self) -> bool:
        """Whether the lease is to be renewed now."""
        return self._ended is None and self.clock() >= self.renew_at

    def call_of(self, task: "asyncio.Task[Any] | None") -> "RunningCall | None":
        """The tool call that the task makes now under this lease."""
        return None

    def confirmed(self, sent_at: float) -> None:
        """Note that the server has renewed the lease, on a request that was sent then."""
        self.is_failing = False
        self.valid_until = max(self.valid_until, sent_at + self.lease_s)
        self.renew_at = sent_at + self.interval_s

    def end(self, error: LeaseLost | CancelAsked) -> None:
        """Note, from any thread, that the lease is over; whoever holds it is notified."""
        self._ended = error
        on_end, loop = self.on_end, self.loop  # read once: the holder may take it away meanwhile
        if on_end and loop:
            with suppress(RuntimeError):  # the loop is closed, and nothing runs in it
                loop.call_soon_threadsafe(on_end, error)


class HeldLease(RenewedLease):
    """The lease of a run.

    `in_step`: a transaction of the run is open; its locks keep others out, and its end renews the
    lease. `begun`: calls with an effect outside the database that this process may have started.
    """

    def __init__(
        self, store: Store, lease: Lease, lease_s: float, sent_at: float, clock: Clock
    ) -> None:
        super().__init__(store, lease_s, sent_at, clock)
        self.lease = lease
        self.begun: set[CallId] = set()
        self._calls: dict[asyncio.Task[Any], RunningCall] = {}

    @property
    def about(self) -> dict[str, str]:
        return {"run": str(self.lease.run)}

    async def ask(self, store: Store) -> bool:
        return await store.renew(self.lease, self.lease_s)

    def is_due(self) -> bool:
        """Whether the lease is to be renewed now.

        Not in a step, whose end renews it. Not while a call is past its timeout: a tool that blocks
        the event loop cannot be stopped by it, and another process may do better.
        """
        ends_at = self.call_ends_at
        is_past_call = ends_at is not None and self.clock() > ends_at
        return super().is_due() and not self.in_step and not is_past_call

    @property
    def call_ends_at(self) -> float | None:
        """When the first of the calls that run now has to be over; None if none runs."""
        return min((call.ends_at for call in tuple(self._calls.values())), default=None)

    def call_of(self, task: "asyncio.Task[Any] | None") -> RunningCall | None:
        """The call that the task makes now, if it is one of this run."""
        return self._calls.get(task) if task else None

    @contextmanager
    def calling(self, tool: str, timeout_s: float) -> Iterator[None]:
        """Says that the current task calls a tool until the body ends."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._calls[task] = RunningCall(self.lease.run, tool, self.clock() + timeout_s)
        try:
            yield
        finally:
            del self._calls[task]

    async def confirm(self) -> None:
        """Return once the lease is known to hold now; at once if it is.

        Renews it until a renewal covers the moment of its answer. Raises LeaseLost, or CancelAsked
        if the run is to be cancelled.
        """
        while not self.is_valid():
            await retry_unavailable(self._renew, math.inf)

    async def confirm_for_effect(self) -> None:
        """As `confirm`, before a call that no transaction undoes.

        A cancel takes a run from a process whose lease still holds, and that process learns of it
        with its next renewal: look now. Raises CancelAsked.
        """
        run = self.lease.run
        record = await retry_unavailable(lambda: self.store.run(run), math.inf)
        if record.cancel_asked:
            raise CancelAsked(f"run {run} is to be cancelled")
        await self.confirm()

    async def _renew(self) -> None:
        if self._ended:
            raise self._ended
        sent_at = self.clock()
        if await self.ask(self.store):
            raise CancelAsked(f"run {self.lease.run} is to be cancelled")
        self.confirmed(sent_at)


class LeaseGuard:
    """Cancels its body when the lease lapses: no renewal was confirmed in time.

    The body ends with TimeoutError then. `lapsed` says whether it was for that reason.
    """

    def __init__(self, held: RenewedLease) -> None:
        self._held = held
        self._limit = asyncio.timeout(None)

    @property
    def lapsed(self) -> bool:
        return self._limit.expired()

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle = self._loop.call_soon(self.check)
        self.check()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def check(self) -> None:
        """Look at the lease now, and again when it would lapse."""
        self._timer.cancel()
        if self._held.is_valid():
            left_s = self._held.valid_until - self._held.clock()
            self._timer = self._loop.call_later(left_s, self.check)
        else:
            self._timer = self._loop.call_soon(self._limit.reschedule, self._loop.time())


class Renewer(Protocol):
    """Renews the leases that are registered with it."""

    def add(self, held: RenewedLease) -> None:
        """Renew this lease from now on."""
        ...

    async def discard(self, held: RenewedLease) -> None:
        """Renew it no more. When this returns, no renewal task is left behind by it."""
        ...


class LeaseRenewal:
    """Keeps a lease while the body runs, and ends the body when the lease is lost.

    The body sees LeaseLost, or CancelAsked if the run is to be cancelled.
    """

    def __init__(self, renewer: Renewer, held: HeldLease) -> None:
        self._renewer = renewer
        self._held = held
        self._ended: LeaseLost | CancelAsked | None = None
        self._leaving = False

    async def __aenter__(self) -> Self:
        # A coroutine always runs in a task.
        self._owner = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._owner.cancelling()
        self._held.loop, self._held.on_end = asyncio.get_running_loop(), self._end
        self._renewer.add(self._held)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving = True
        self._held.on_end = None
        await self._renewer.discard(self._held)
        if self._ended is None:
            return
        # The cancellation was ours: take it back, and say what it stood for.
        if self._owner.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._ended from error

    def _end(self, error: LeaseLost | CancelAsked) -> None:
        # A body that has ended by itself needs no ending.
        if not (self._leaving or self._ended):
            self._ended = error
            self._owner.cancel()
