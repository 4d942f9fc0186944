"""The clock of a test: time stands still until the test moves it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from twelvefold.core import Store

SECOND_US = 1_000_000


class SettableClock(Protocol):
    """A store whose clock can be replaced."""

    def use_clock(self, now_us: int) -> None: ...


class FrozenClock:
    """The time of the journal, of leases and of timers; it advances only when a test says so.

    The time begins now, or at `start`. The clocks of Python and of your own SQL are not changed.

    Example:
        from datetime import UTC, datetime, timedelta

        from twelvefold.testing import FrozenClock

        clock = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC))
        clock.advance(timedelta(days=3))
        assert clock.now == datetime(2026, 1, 4, tzinfo=UTC)
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now_us = _microseconds(start) if start else time.time_ns() // 1_000
        self._stores: list[SettableClock] = []

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return from_microseconds(self._now_us)

    @property
    def now_us(self) -> int:
        """The time in microseconds since 1970."""
        return self._now_us

    def advance(self, by: timedelta | float) -> None:
        """Move the time forward, by a timedelta or by seconds. Raises ValueError for backward."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self._set(self._now_us + step // timedelta(microseconds=1))

    def move_to(self, moment: datetime) -> None:
        """Move the time forward to a moment with a time zone. Raises ValueError for backward."""
        self._set(_microseconds(moment))

    def attach(self, store: Store) -> None:
        """Make a store take its time from this clock."""
        self._stores.append(store)  # type: ignore[arg-type]  # every SQLStore has the method
        self._stores[-1].use_clock(self._now_us)

    def _set(self, now_us: int) -> None:
        if now_us < self._now_us:
            raise ValueError("time does not run backward")
        self._now_us = now_us
        for store in self._stores:
            store.use_clock(now_us)


def from_microseconds(moment_us: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=moment_us)


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; use datetime(…, tzinfo=UTC)")
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
