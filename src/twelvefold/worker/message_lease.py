"""The lease of one outbox message: renewed while the message is sent, which needs the lease."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twelvefold.core import OutboxMessage, Store
from twelvefold.engine import RENEWALS_PER_LEASE, Clock, LeaseGuard, RenewedLease, Renewer
from twelvefold.errors import CancelAsked, LeaseLost


class LeaseLapsed(Exception):
    """Another sender may have the message by now."""


class MessageLease(RenewedLease):
    """The lease of a claimed message; renewed as the leases of runs are."""

    def __init__(
        self,
        store: Store,
        message: OutboxMessage,
        lease_s: float,
        sent_at: float,
        clock: Clock,
        *,
        renewals: float = RENEWALS_PER_LEASE,
    ) -> None:
        super().__init__(store, lease_s, sent_at, clock, renewals=renewals)
        self.message = message

    @property
    def log_fields(self) -> dict[str, str]:
        return {"mail": self.message.id}

    async def request_renewal(self, store: Store) -> bool:
        if not await store.renew_message(self.message, self.lease_s):
            raise LeaseLost(f"another sender has message {self.message.id}").loggable()
        return False


@asynccontextmanager
async def keep_renewed(lease: MessageLease, renewer: Renewer) -> AsyncIterator[None]:
    """Renew the lease until the body ends, also while the outcome is written."""
    lease.loop = asyncio.get_running_loop()
    renewer.add(lease)
    try:
        yield
    finally:
        await renewer.discard(lease)


@asynccontextmanager
async def require_lease(lease: MessageLease) -> AsyncIterator[None]:
    """Cancel the body when the lease lapses. Raises LeaseLapsed then."""
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
