"""One run, one owner: a lease is kept while a process works."""

import asyncio
from types import TracebackType
from typing import Any, Self, cast

from twelvefold.core.ports import Lease, Store
from twelvefold.errors import CancelAsked, LeaseLost, ServiceFault
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
RENEWALS = 3
"""How often a lease is renewed within its length, so that one that fails is not the end."""


class Renewed:
    """Keeps a lease while the body runs, and ends the body when the lease is lost.

    The body sees LeaseLost, or CancelAsked if somebody asked for the run's cancelling. A run that
    is shorter than the first renewal costs no task at all.
    """

    def __init__(self, store: Store, lease: Lease, lease_s: float) -> None:
        self._store = store
        self._lease = lease
        self._lease_s = lease_s
        self._renewal: asyncio.Task[None] | None = None
        self._ended: LeaseLost | CancelAsked | None = None
        self._leaving = False

    async def __aenter__(self) -> Self:
        # A coroutine always runs in a task.
        self._owner = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._owner.cancelling()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._lease_s / RENEWALS, self._begin)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving = True
        self._timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        if self._ended is None:
            return
        # The cancellation was ours: take it back, and say what it stood for.
        if self._owner.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._ended from error

    def _begin(self) -> None:
        self._renewal = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            try:
                if await self._store.renew(self._lease, self._lease_s):
                    raise CancelAsked(f"run {self._lease.run} is to be cancelled")
            except (LeaseLost, CancelAsked) as error:
                # A body that has ended by itself needs no ending.
                if not self._leaving:
                    self._ended = error
                    self._owner.cancel()
                return
            except ServiceFault as error:
                log.warning("lease_not_renewed", error=str(error))
            await asyncio.sleep(self._lease_s / RENEWALS)
