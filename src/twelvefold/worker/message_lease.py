"""The lease of one outbox message: renewed while it is sent, and never sent without it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from twelvefold.core.ports import Letter, Store
from twelvefold.engine.lease import RENEWALS
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger

log = get_logger(__name__)


class LeaseLapsed(Exception):
    """The message may be another sender's by now."""


class MessageLease:
    """Renews the lease of a claimed message while its context is open.

    `valid_until` is counted by `now`, a monotonic clock, from before the claim was sent: the
    database may count from later, never from earlier.
    """

    def __init__(
        self,
        store: Store,
        message: Letter,
        lease_s: float,
        valid_until: float,
        now: Callable[[], float],
    ) -> None:
        self.message = message
        self._store = store
        self._lease_s = lease_s
        self._valid_until = valid_until
        self._now = now
        self._limit: asyncio.Timeout | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        # A mail that takes less than the first renewal costs no task.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._lease_s / RENEWALS, self._begin)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    @asynccontextmanager
    async def covering(self) -> AsyncIterator[None]:
        """For what needs the lease: it is cancelled when that lapses. Raises LeaseLapsed."""
        if self._left_s <= 0:
            raise LeaseLapsed
        limit = asyncio.timeout(self._left_s)
        try:
            async with limit as self._limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise LeaseLapsed from None
            raise
        finally:
            self._limit = None

    @property
    def _left_s(self) -> float:
        return self._valid_until - self._now()

    def _begin(self) -> None:
        self._renewal = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            asked_at = self._now()
            try:
                held = await self._store.renew_letter(self.message, self._lease_s)
                self._valid_until = asked_at + self._lease_s if held else asked_at
            except ServiceFault as error:
                log.warning("mail_lease_not_renewed", letter=self.message.id, error=str(error))
            except Exception:
                log.exception("mail_lease_not_renewed", letter=self.message.id)
            if self._limit is not None and not self._limit.expired():
                self._limit.reschedule(asyncio.get_running_loop().time() + self._left_s)
            await asyncio.sleep(self._lease_s / RENEWALS)
