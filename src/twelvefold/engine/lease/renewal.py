"""Renewal of the leases of a process: one loop for all leases, a few renewals in parallel."""

import asyncio
from collections.abc import Callable, Collection
from operator import methodcaller
from types import TracebackType
from typing import Any, Protocol, Self, cast

from msgspec import Struct

from twelvefold.core import Store
from twelvefold.engine.lease.held_lease import HeldLease, RenewedLease
from twelvefold.errors import CancelAsked, LeaseLost
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
PARALLEL_RENEWALS = 2
"""As many as the store has connections for renewals."""
RENEWAL_SHARE = 1 / 3
"""The timeout of a renewal as a share of the lease's length, for short leases."""


class RenewalTimings(Struct, frozen=True):
    """When leases are checked and renewed, in seconds.

    `checks_per_interval`: how often a lease is checked between two renewals; a failed renewal is
    retried then. `first_check_s`: how often before the first lease, which may be as short as a
    second. `timeout_s` limits one renewal, which is one statement on one row. `idle_s`: the pause
    after an unexpected error, or without leases. `watch_s`: how often a `RenewalThread` checks the
    event loops of the runs. `stop_s`: how long a process that ends waits for that thread, which is
    a daemon and ends with the process anyway.
    """

    checks_per_interval: int = 4
    first_check_s: float = 0.1
    timeout_s: float = 5.0
    idle_s: float = 1.0
    watch_s: float = 0.25
    stop_s: float = 1.0


DEFAULT_TIMINGS = RenewalTimings()


class Renewer(Protocol):
    """Renews the leases that are registered with it."""

    def add(self, lease: RenewedLease) -> None:
        """Renew this lease from now on."""
        ...

    async def discard(self, lease: RenewedLease) -> None:
        """Stop renewing it. When this returns, no renewal task of it is left behind."""
        ...


class LeaseRenewal:
    """Keeps a run's lease alive while the body runs, and ends the body when the lease is lost.

    The body ends with LeaseLost, or with CancelAsked if a cancel of the run has been requested.
    """

    def __init__(self, renewer: Renewer, lease: HeldLease) -> None:
        self._renewer = renewer
        self._lease = lease
        self._ended: LeaseLost | CancelAsked | None = None
        self._is_leaving = False

    async def __aenter__(self) -> Self:
        # A coroutine always runs in a task.
        self._owner = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._owner.cancelling()
        self._lease.loop, self._lease.on_end = asyncio.get_running_loop(), self._end
        self._renewer.add(self._lease)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_leaving = True
        self._lease.on_end = None
        await self._renewer.discard(self._lease)
        if self._ended is None:
            return
        # `_end` requested the cancellation: replace it by its reason.
        if self._owner.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._ended from error

    def _end(self, error: LeaseLost | CancelAsked) -> None:
        if not (self._is_leaving or self._ended):
            self._ended = error
            self._owner.cancel()


class LeaseRenewer:
    """Renews leases in the event loop of their runs, for a store that no other loop can share.

    Implements `Renewer`. A run that is shorter than the first renewal costs one timer.
    """

    def __init__(self, timings: RenewalTimings = DEFAULT_TIMINGS) -> None:
        self._timings = timings
        self._leases: dict[RenewedLease, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, lease: RenewedLease) -> None:
        self._leases[lease] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(lease.interval_s, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(renew_leases(self._leases, timings=self._timings))

    async def discard(self, lease: RenewedLease) -> None:
        self._leases.pop(lease, None)
        if self._leases or self._timer is None:
            return
        self._timer.cancel()
        task, self._timer, self._task = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Nothing is left when the last run has ended."""


async def renew_leases(
    leases: Collection[RenewedLease],
    store: Store | None = None,
    may_renew: Callable[[RenewedLease], bool] = methodcaller("is_due"),
    timings: RenewalTimings = DEFAULT_TIMINGS,
) -> None:
    """Renew leases when they are due, until cancelled. No error ends it.

    With `store` None each lease is renewed by the store of its run.
    """
    while True:
        try:
            await _RenewalLoop(leases, store, may_renew, timings).run()
        except Exception:
            log.exception("lease_renewal_failed")
        await asyncio.sleep(timings.idle_s)


class _RenewalLoop:
    """Checks all leases, and renews those that are due in parallel."""

    def __init__(
        self,
        leases: Collection[RenewedLease],
        store: Store | None,
        may_renew: Callable[[RenewedLease], bool],
        timings: RenewalTimings,
    ) -> None:
        self._leases = leases
        self._store = store
        self._may_renew = may_renew
        self._timings = timings
        self._slots = asyncio.Semaphore(PARALLEL_RENEWALS)
        self._in_progress: set[RenewedLease] = set()

    async def run(self) -> None:
        # Without leases the last pause is kept: the next leases have the same length.
        pause_s = self._timings.first_check_s
        async with asyncio.TaskGroup() as group:
            while True:
                leases = list(self._leases)
                for lease in leases:
                    if lease not in self._in_progress and self._may_renew(lease):
                        self._in_progress.add(lease)
                        group.create_task(self._renew(lease))
                checks = self._timings.checks_per_interval
                pause_s = min((lease.interval_s / checks for lease in leases), default=pause_s)
                await asyncio.sleep(pause_s)

    async def _renew(self, lease: RenewedLease) -> None:
        try:
            async with self._slots:
                # While it waited for a slot, the run may have ended or begun a step.
                if lease in self._leases and self._may_renew(lease):
                    await renew(lease, self._store or lease.store, self._timings)
        finally:
            self._in_progress.discard(lease)


async def renew(
    lease: RenewedLease, store: Store, timings: RenewalTimings = DEFAULT_TIMINGS
) -> None:
    """Renew one lease once. Raises nothing, so that an error does not stop other renewals."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    sent_at = lease.clock()
    lease.renew_at = sent_at + lease.interval_s / timings.checks_per_interval
    timeout_s = min(timings.timeout_s, lease.lease_s * RENEWAL_SHARE)
    try:
        async with asyncio.timeout(timeout_s) as limit:
            cancel_asked = await lease.request_renewal(store)
    except LeaseLost as error:
        lease.end(error)
    except BaseException as error:
        if task.cancelling():
            raise
        # A renewal that waited for a step of its own run timed out; the step renews the lease.
        # Logged once per outage and lease.
        if not lease.in_step and not lease.is_failing:
            lease.is_failing = True
            reason = f"no answer within {timeout_s:g} s" if limit.expired() else error
            log.warning("lease_not_renewed", **lease.log_fields, error=reason)
    else:
        if cancel_asked:
            lease.end(CancelAsked("the run has a cancel request"))
        else:
            lease.extend(sent_at)
