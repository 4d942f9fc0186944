"""Leases without a database: a clock that a test sets, and a store that only renews."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from twelvefold.core.events import Usage
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.ports import Lease, RunRecord, StepTransaction, Store
from twelvefold.engine.lease import HeldLease

LEASE = Lease(RunId(ThreadId("a" * 44), 1), LeaseToken("t"))
LEASE_S = 30.0


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class RenewingStore:
    """A store whose renewals have the given outcomes, one after another, and then succeed."""

    def __init__(self, *answers: Callable[[], Awaitable[bool]] | BaseException | bool) -> None:
        self.answers = list(answers)
        self.renewed: list[Lease] = []
        self.cancelled = False

    async def run(self, run: RunId) -> RunRecord:
        return RunRecord(
            run, "running", "ann", "shop", "1.0", Usage(), "", 0, None, True, self.cancelled
        )

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        self.renewed.append(lease)
        answer = self.answers.pop(0) if self.answers else False
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, bool) else await answer()


def lease_of(
    clock: Callable[[], float], store: RenewingStore | None = None, lease: Lease = LEASE
) -> HeldLease:
    """Return a lease that was claimed just now."""
    return HeldLease(cast("Store", store or RenewingStore()), lease, LEASE_S, clock(), clock)


@dataclass
class OpenStep:
    """A step's transaction, of which a lease reads only this."""

    is_fenced: bool


def open_step(*, is_fenced: bool) -> StepTransaction:
    return cast("StepTransaction", OpenStep(is_fenced))


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
