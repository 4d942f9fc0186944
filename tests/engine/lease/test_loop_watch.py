"""A blocked event loop is reported twice: when it is noticed and when it has ended."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.engine.leases import LEASE_S, Clock, lease_of
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.lease.loop_watch import LoopWatch


class Loop:
    """An event loop that runs its callbacks when the test calls `run`."""

    def __init__(self) -> None:
        self.given: list[Callable[[], None]] = []
        self.closed = False

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.given.append(callback)

    def is_closed(self) -> bool:
        return self.closed

    def run(self) -> None:
        for callback in self.given:
            callback()
        self.given.clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def held(clock: Clock, loop: Loop) -> HeldLease:
    lease = lease_of(clock)
    lease.loop = cast("asyncio.AbstractEventLoop", loop)
    return lease


@pytest.fixture
def watch(clock: Clock) -> LoopWatch:
    return LoopWatch(clock)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    assert {record.message for record in caplog.records} <= {"event_loop_blocked"}
    return [vars(record)["fields"] for record in caplog.records]


async def test_a_loop_that_runs_is_not_reported(
    clock: Clock, loop: Loop, held: HeldLease, watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        watch.check([held])
        clock.now += 0.9
        watch.check([held])
        loop.run()
        watch.check([held])

    assert not watch.is_stuck(held)
    assert lines(caplog) == []


async def test_a_blocked_loop_is_reported_twice(
    clock: Clock, loop: Loop, held: HeldLease, watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(6):
        watch.check([held])
        clock.now += 0.5
    loop.run()
    watch.check([held])
    loop.run()
    watch.check([held])

    assert lines(caplog) == [{"seconds": 1.5, "over": False}, {"seconds": 3.0, "over": True}]


async def test_a_loop_is_stuck_when_it_is_blocked_for_longer_than_a_lease(
    clock: Clock, loop: Loop, held: HeldLease, watch: LoopWatch
) -> None:
    assert not watch.is_stuck(held)
    watch.check([held])
    clock.now += LEASE_S
    watch.check([held])
    assert not watch.is_stuck(held)
    clock.now += 1
    assert watch.is_stuck(held)

    loop.run()
    assert not watch.is_stuck(held)


async def test_a_loop_without_leases_is_no_longer_watched(
    loop: Loop, held: HeldLease, watch: LoopWatch
) -> None:
    watch.check([held])
    loop.run()
    watch.check([])
    watch.check([])

    assert loop.given == []


async def test_a_loop_that_is_closed_is_not_blocked(
    clock: Clock, loop: Loop, held: HeldLease, watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.check([held])
    loop.closed = True
    clock.now += 10
    watch.check([held])
    watch.check([held])

    assert lines(caplog) == []


async def test_a_lease_without_a_loop_is_not_watched(clock: Clock, watch: LoopWatch) -> None:
    held = lease_of(clock)
    watch.check([held])

    assert not watch.is_stuck(held)
