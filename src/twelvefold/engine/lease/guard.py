"""Stops work when the lease that covers it lapses."""

import asyncio
from types import TracebackType
from typing import Self

from twelvefold.engine.lease.held_lease import RenewedLease


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
