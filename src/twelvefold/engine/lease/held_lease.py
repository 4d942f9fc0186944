"""A lease that this process holds: until when it is valid, and which calls are made under it.

The server's clock decides which process owns a run. A process knows the end of its own lease by a
monotonic clock: the server adds `lease_s` when it executes a claim or a renewal, which is never
before the process sent it. `LeaseGuard` stops work when the lease that covers it lapses.
"""

import asyncio
import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from msgspec import Struct

from twelvefold.core import CallId, Lease, LeaseToken, RunId, StepTransaction, Store
from twelvefold.engine.retry import DEFAULT_RETRY_POLICY, RetryPolicy, retry_unavailable
from twelvefold.errors import CancelAsked, LeaseLost
from twelvefold.observe import metrics

_Result = TypeVar("_Result")
Clock = Callable[[], float]
"""Monotonic seconds. `time.monotonic` in production, never `loop.time`, which uvloop caches."""
RENEWALS_PER_LEASE = 3
"""How often a lease is renewed within its length, so that one failed renewal does not lose it."""


def new_lease_token() -> LeaseToken:
    return LeaseToken(secrets.token_hex(8))


class RunningCall(Struct, frozen=True):
    """A tool call that a task is making. `ends_at` is its start plus the tool's `timeout_s`."""

    run: RunId
    tool: str
    ends_at: float


class RenewedLease(ABC):
    """A lease that this process holds and renews. Safe to read from any thread.

    `sent_at` is when the claim was sent, by `clock`. `valid_until`: until then no other process can
    hold the lease. `renew_at`: when the next renewal is due. `on_end` is called in `loop` when the
    lease ends early.
    """

    is_failing = False
    """Whether the last renewal failed."""

    def __init__(
        self,
        store: Store,
        lease_s: float,
        sent_at: float,
        clock: Clock,
        *,
        renewals: float = RENEWALS_PER_LEASE,
    ) -> None:
        self.store = store
        self.lease_s = lease_s
        self.clock = clock
        self.interval_s = lease_s / renewals
        self.valid_until = sent_at + lease_s
        self.renew_at = sent_at + self.interval_s
        self.loop: asyncio.AbstractEventLoop | None = None
        self.on_end: Callable[[LeaseLost | CancelAsked], None] | None = None
        self._ended: LeaseLost | CancelAsked | None = None

    @property
    def in_step(self) -> bool:
        """Whether locks of a transaction keep other processes out; its commit renews the lease."""
        return False

    @property
    @abstractmethod
    def log_fields(self) -> dict[str, str]:
        """What is leased, as fields of the log."""

    @abstractmethod
    async def request_renewal(self, store: Store) -> bool:
        """Send one renewal; return whether a cancel of the leased work has been requested.

        Raises LeaseLost.
        """

    def is_valid(self) -> bool:
        """Return whether no other process can hold the lease now."""
        return self._ended is None and self.clock() < self.valid_until

    def is_due(self) -> bool:
        """Return whether the lease should be renewed now."""
        return self._ended is None and self.clock() >= self.renew_at

    def call_of(self, task: "asyncio.Task[Any] | None") -> "RunningCall | None":
        """Return the tool call that the task is making under this lease."""
        return None

    def extend(self, sent_at: float) -> None:
        """Record that the server has renewed the lease on a request that was sent at `sent_at`."""
        self.is_failing = False
        self.valid_until = max(self.valid_until, sent_at + self.lease_s)
        self.renew_at = sent_at + self.interval_s

    def end(self, error: LeaseLost | CancelAsked) -> None:
        """Record that the lease has ended and notify its holder. May be called from any thread."""
        self._ended = error
        on_end, loop = self.on_end, self.loop  # read once: the holder may remove it meanwhile
        if on_end and loop:
            with suppress(RuntimeError):  # the loop is closed, and nothing runs in it
                loop.call_soon_threadsafe(on_end, error)


class HeldLease(RenewedLease):
    """The lease of a run.

    `step`: the open transaction of the run. `started_calls`: calls with an effect outside the
    database that this process may have started.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        lease_s: float,
        sent_at: float,
        clock: Clock,
        *,
        renewals: float = RENEWALS_PER_LEASE,
        retry: RetryPolicy = DEFAULT_RETRY_POLICY,
    ) -> None:
        super().__init__(store, lease_s, sent_at, clock, renewals=renewals)
        self.lease = lease
        self.step: StepTransaction | None = None
        self.started_calls: set[CallId] = set()
        self._retry = retry
        self._calls: dict[asyncio.Task[Any], RunningCall] = {}

    @property
    def log_fields(self) -> dict[str, str]:
        return {"run": str(self.lease.run)}

    @property
    def in_step(self) -> bool:
        step = self.step  # read once: the run's thread may remove it meanwhile
        return step is not None and step.is_fenced

    async def request_renewal(self, store: Store) -> bool:
        return await store.renew(self.lease, self.lease_s)

    def is_due(self) -> bool:
        """Return whether the lease should be renewed now.

        Not during a step, whose commit renews it, from when its transaction is fenced. Not while a
        call is past its timeout: a tool that blocks the event loop cannot be stopped by it, and
        another process should take the run over.
        """
        ends_at = self.call_ends_at
        is_past_call = ends_at is not None and self.clock() > ends_at
        return super().is_due() and not self.in_step and not is_past_call

    @property
    def call_ends_at(self) -> float | None:
        """When the first of the running calls reaches its timeout; None if none is running."""
        return min((call.ends_at for call in tuple(self._calls.values())), default=None)

    def call_of(self, task: "asyncio.Task[Any] | None") -> RunningCall | None:
        """Return the call that the task is making, if it is one of this run."""
        return self._calls.get(task) if task else None

    @contextmanager
    def track_call(self, tool: str, timeout_s: float) -> Iterator[None]:
        """Record that the current task is calling a tool until the body ends."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        started_at = self.clock()
        self._calls[task] = RunningCall(self.lease.run, tool, started_at + timeout_s)
        try:
            yield
        finally:
            del self._calls[task]
            if metrics.active is not None:
                metrics.active.tool(tool, self.clock() - started_at)

    async def ensure_valid(self) -> None:
        """Return when the lease is known to be valid: at once, or after a renewal.

        Repeats the renewal until one covers the moment of its answer. Raises LeaseLost, or
        CancelAsked if a cancel of the run has been requested.
        """
        while not self.is_valid():
            await self._retried(self._renew)

    async def ensure_valid_for_effect(self) -> None:
        """Do as `ensure_valid`, before a call whose effect no transaction rolls back.

        Also checks for a cancel request, which the process otherwise learns of with its next
        renewal only: a cancel takes the run from a process whose lease is still valid. Raises
        CancelAsked.
        """
        run = self.lease.run
        record = await self._retried(lambda: self.store.run(run))
        if record.cancel_asked:
            raise CancelAsked(f"run {run} has a cancel request")
        await self.ensure_valid()

    async def _renew(self) -> None:
        if self._ended:
            raise self._ended
        sent_at = self.clock()
        if await self.request_renewal(self.store):
            raise CancelAsked(f"run {self.lease.run} has a cancel request")
        self.extend(sent_at)

    async def _retried(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        return await retry_unavailable(work, math.inf, policy=self._retry)


class LeaseGuard:
    """Cancels its body when the lease lapses: no renewal was confirmed in time.

    The body then ends with TimeoutError, and `lapsed` is true.
    """

    def __init__(self, lease: RenewedLease) -> None:
        self._lease = lease
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
        """Check the lease now, and again when it would lapse."""
        self._timer.cancel()
        if self._lease.is_valid():
            left_s = self._lease.valid_until - self._lease.clock()
            self._timer = self._loop.call_later(left_s, self.check)
        else:
            self._timer = self._loop.call_soon(self._limit.reschedule, self._loop.time())
