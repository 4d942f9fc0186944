"""The lease of one outbox message: renewed while it is sent, and never sent without it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twelvefold.core.ports import OutboxMessage, Store
from twelvefold.engine.lease import Clock, LeaseGuard, RenewedLease, Renewer
from twelvefold.errors import CancelAsked, LeaseLost


class LeaseLapsed(Exception):
    """The message may be another sender's by now."""


class MessageLease(RenewedLease):
    """The lease of a claimed message; renewed as the leases of runs are."""

    def __init__(
        self, store: Store, message: OutboxMessage, lease_s: float, sent_at: float, clock: Clock
    ) -> None:
        super().__init__(store, lease_s, sent_at, clock)
        self.message = message

    @property
    def about(self) -> dict[str, str]:
        return {"letter": self.message.id}

    async def ask(self, store: Store) -> bool:
        if not await store.renew_letter(self.message, self.lease_s):
            raise LeaseLost(f"another sender has message {self.message.id}").loggable()
        return False


@asynccontextmanager
async def kept(lease: MessageLease, renewer: Renewer) -> AsyncIterator[None]:
    """Renews the lease until the body ends, also while what came of the message is noted."""
    lease.loop = asyncio.get_running_loop()
    renewer.add(lease)
    try:
        yield
    finally:
        await renewer.discard(lease)


@asynccontextmanager
async def under_lease(lease: MessageLease) -> AsyncIterator[None]:
    """For what needs the lease: it is cancelled when that lapses. Raises LeaseLapsed."""
    if not lease.is_valid():
        raise LeaseLapsed
    guard = LeaseGuard(lease)

    def check(_: LeaseLost | CancelAsked) -> None:
        guard.check()

    try:
        async with guard:
            lease.on_end = check
            yield
    except TimeoutError:
        if guard.lapsed:
            raise LeaseLapsed from None
        raise
    finally:
        lease.on_end = None
