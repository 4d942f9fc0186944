"""Limits the share of the event loop's time that one principal uses.

One event loop serves all principals. While it works for one, the others wait, and nothing can
interrupt it. A principal that has used more than its share is delayed by the excess before its next
work begins; work that has begun continues. Without other principals there is no such limit.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")

ANONYMOUS = "\0"
"""The first character of an owner that is no principal. Such owners do not limit principals."""
SHARE = 0.3
"""The part of the loop's time that one principal may use while there are others."""
ANONYMOUS_SHARE = 0.05
"""The same for an owner that is no principal."""
BURST_S = 0.02
"""How much of the loop's time may be used without a delay."""
MAX_DEBT_S = 0.5
"""The largest excess of a principal that is recorded; for other owners it is smaller."""
PRESENT_S = 1.0
"""How long a principal counts as present after its last use of the loop."""
_FIRST_COST_S = 0.002
_WEIGHT = 0.1


class _Account(Struct):
    """What an owner has used beyond its share at `at`, and the average cost of its requests."""

    at: float
    debt_s: float = 0.0
    cost_s: float = _FIRST_COST_S


class LoopShares:
    """Accounts of the owners that have used the loop lately."""

    def __init__(
        self,
        share: float = SHARE,
        *,
        burst_s: float = BURST_S,
        clock: Callable[[], float] = time.monotonic,
        used_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share = share
        self._burst_s = burst_s
        self._clock = clock
        self._used_s = used_s
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def charge(self, owner: str, seconds: float) -> None:
        """Count time that the loop has spent on an owner."""
        account = self._current_account(owner)
        account.debt_s = min(account.debt_s + seconds, self._max_debt_s(owner))

    def delay_s(self, owner: str) -> float:
        """Return how long an owner's next work must wait; 0 for not at all."""
        if owner not in self._accounts or not self.has_others(owner):
            return 0.0
        return max(
            0.0, (self._current_account(owner).debt_s - self._burst_s) / self._share_of(owner)
        )

    def _share_of(self, owner: str) -> float:
        return ANONYMOUS_SHARE if owner.startswith(ANONYMOUS) else self._share

    def _max_debt_s(self, owner: str) -> float:
        """Return the largest excess of an owner, for which all owners wait equally long."""
        return MAX_DEBT_S * self._share_of(owner) / self._share

    def has_others(self, owner: str) -> bool:
        """Return whether another principal has used the loop lately."""
        now = self._clock()
        for other, account in reversed(self._accounts.items()):
            if now - account.at > PRESENT_S:
                return False
            if other != owner and not other.startswith(ANONYMOUS):
                return True
        return False

    async def measured(self, owner: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run work of an owner, and charge the time that the loop spends on it.

        The average cost is charged first: otherwise many works could begin before one is charged.
        """
        expected_s, spent_s = self._current_account(owner).cost_s, 0.0
        self.charge(owner, expected_s)

        def spend(seconds: float) -> None:
            nonlocal expected_s, spent_s
            spent_s += seconds
            covered_s = min(expected_s, seconds)
            expected_s -= covered_s
            self.charge(owner, seconds - covered_s)

        try:
            return await _Measured(work(), spend, self._used_s)
        finally:
            account = self._current_account(owner)
            account.debt_s = max(0.0, account.debt_s - expected_s)
            account.cost_s += _WEIGHT * (spent_s - account.cost_s)

    def _current_account(self, owner: str) -> _Account:
        """Return the account as it is now, and forget the oldest one if it owes nothing."""
        now = self._clock()
        account = self._accounts.setdefault(owner, _Account(now))
        account.debt_s = max(0.0, account.debt_s - (now - account.at) * self._share_of(owner))
        account.at = now
        self._accounts.move_to_end(owner)
        oldest, oldest_account = next(iter(self._accounts.items()))
        if now - oldest_account.at > PRESENT_S + MAX_DEBT_S / self._share:
            del self._accounts[oldest]
        return account


class _Measured(Generic[T]):
    """An awaitable that reports how long each of its steps has used the loop."""

    def __init__(
        self, work: Awaitable[T], spend: Callable[[float], None], used_s: Callable[[], float]
    ) -> None:
        self._work = work
        self._spend = spend
        self._used_s = used_s

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._work.__await__()
        error: BaseException | None = None
        while True:
            began_s = self._used_s()
            try:
                waited_for = next(steps) if error is None else steps.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                self._spend(self._used_s() - began_s)
            error = None
            try:
                yield waited_for
            except BaseException as raised:
                error = raised
