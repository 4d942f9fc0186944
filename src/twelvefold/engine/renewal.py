"""Renewing the leases of all runs in this process: one loop for all, a few renewals at a time."""

import asyncio
from collections.abc import Callable, Collection
from operator import methodcaller
from typing import Any, cast

from twelvefold.core.ports import Store
from twelvefold.engine.lease import RenewedLease
from twelvefold.errors import CancelAsked, LeaseLost
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
PARALLEL_RENEWALS = 2
"""As many as the store has connections for renewals."""
RENEWAL_TIMEOUT_S = 5.0
"""The longest that one renewal may take, which is one statement on one row."""
RENEWAL_SHARE = 1 / 3
"""The same as a share of the lease's length, for short leases."""
LOOKS = 4
"""Leases are looked at so often between two renewals; one that failed is tried again then."""
FIRST_LOOK_S = 0.1
"""How often a loop looks for its first lease, which may be as short as a second."""
IDLE_S = 1.0
"""How long after an error of its own the loop begins anew."""


async def renew_leases(
    leases: Collection[RenewedLease],
    store: Store | None = None,
    may_renew: Callable[[RenewedLease], bool] = methodcaller("is_due"),
) -> None:
    """Renew leases when they are due, until cancelled. No error ends it.

    `store` None: each by the store that its run uses.
    """
    while True:
        try:
            await _Renewals(leases, store, may_renew).run()
        except Exception:
            log.exception("lease_renewal_failed")
        await asyncio.sleep(IDLE_S)


class _Renewals:
    """One loop over the leases; those that are due are renewed side by side."""

    def __init__(
        self,
        leases: Collection[RenewedLease],
        store: Store | None,
        may_renew: Callable[[RenewedLease], bool],
    ) -> None:
        self._leases = leases
        self._store = store
        self._may_renew = may_renew
        self._slots = asyncio.Semaphore(PARALLEL_RENEWALS)
        self._under_way: set[RenewedLease] = set()

    async def run(self) -> None:
        # Without leases as often as with the last ones: the next are of the same length.
        pause_s = FIRST_LOOK_S
        async with asyncio.TaskGroup() as group:
            while True:
                leases = list(self._leases)
                for held in leases:
                    if held not in self._under_way and self._may_renew(held):
                        self._under_way.add(held)
                        group.create_task(self._renew(held))
                pauses = (held.interval_s / LOOKS for held in leases)
                pause_s = min(pauses, default=pause_s)
                await asyncio.sleep(pause_s)

    async def _renew(self, held: RenewedLease) -> None:
        try:
            async with self._slots:
                # Others came first; meanwhile the run may have ended or begun a step.
                if held in self._leases and self._may_renew(held):
                    await renew(held, self._store or held.store)
        finally:
            self._under_way.discard(held)


async def renew(held: RenewedLease, store: Store) -> None:
    """One renewal. Raises nothing: whatever it ends with, other leases are renewed."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    sent_at = held.clock()
    held.renew_at = sent_at + held.interval_s / LOOKS
    timeout_s = min(RENEWAL_TIMEOUT_S, held.lease_s * RENEWAL_SHARE)
    try:
        async with asyncio.timeout(timeout_s) as limit:
            is_to_be_cancelled = await held.ask(store)
    except LeaseLost as error:
        held.end(error)
    except BaseException as error:
        if task.cancelling():
            raise
        # A renewal that met a step of its own run waited behind it; the step renews the lease.
        # The same outage is logged once for each lease.
        if not held.in_step and not held.is_failing:
            held.is_failing = True
            reason = f"no answer within {timeout_s:g} s" if limit.expired() else error
            log.warning("lease_not_renewed", **held.about, error=reason)
    else:
        if is_to_be_cancelled:
            held.end(CancelAsked("the run is to be cancelled"))
        else:
            held.confirmed(sent_at)


class LeaseRenewer:
    """Renews leases in the event loop of their runs, for a store that no other loop can share.

    Obeys `lease.Renewer`. A run that is shorter than the first renewal costs one timer.
    """

    def __init__(self) -> None:
        self._leases: dict[RenewedLease, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, held: RenewedLease) -> None:
        self._leases[held] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(held.interval_s, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(renew_leases(self._leases))

    async def discard(self, held: RenewedLease) -> None:
        self._leases.pop(held, None)
        if self._leases or self._timer is None:
            return
        self._timer.cancel()
        task, self._timer, self._task = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Nothing is left when the last run has ended."""
