"""Renewals in a thread, which do not depend on the event loop of the runs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from msgspec import structs

from tests.engine.leases import LEASE, LEASE_S, Clock, RenewingStore, lease_of, until
from twelvefold.core.ports import Lease, Store
from twelvefold.engine.lease import LeaseRenewal, RenewalThread
from twelvefold.engine.lease.renewal import RenewalTimings
from twelvefold.errors import LeaseLost, StoreUnavailable

WAIT_S = 60.0
TIMINGS = RenewalTimings(
    checks_per_interval=10_000, first_check_s=0.001, idle_s=0.001, watch_s=0.001
)


class ThreadStore(RenewingStore):
    """The thread's own store; `has_renewed` is set when it has renewed a lease."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.has_renewed = threading.Event()
        self.threads: set[str] = set()
        self.closed = threading.Event()

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        self.threads.add(threading.current_thread().name)
        answer = await super().renew(lease, lease_s)
        self.has_renewed.set()
        return answer

    async def close(self) -> None:
        self.closed.set()


@asynccontextmanager
async def renewing(
    store: ThreadStore, clock: Clock, timings: RenewalTimings = TIMINGS
) -> AsyncIterator[RenewalThread]:
    async def open_store() -> Store:
        return cast("Store", store)

    renewer = RenewalThread(open_store, clock, timings)
    try:
        yield renewer
    finally:
        await renewer.close()


def blocked_until(condition: Callable[[], object]) -> None:
    """Block this event loop, as a tool does that waits without `await`."""
    ended = threading.Event()
    for _ in range(60_000):
        if condition():
            return
        ended.wait(0.001)
    pytest.fail("it never happened")


async def test_a_lease_is_renewed_while_its_event_loop_is_blocked() -> None:
    clock, store = Clock(), ThreadStore()
    held = lease_of(clock)

    async with renewing(store, clock) as renewer, LeaseRenewal(renewer, held):
        clock.now += LEASE_S / 3
        blocked_until(lambda: held.valid_until == clock.now + LEASE_S)

    assert store.threads == {"leases"}
    assert store.closed.is_set()


async def test_the_tool_that_blocks_an_event_loop_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, store = Clock(), ThreadStore()
    held, idle = lease_of(clock), lease_of(clock)

    async with (
        renewing(store, clock) as renewer,
        LeaseRenewal(renewer, idle),
        LeaseRenewal(renewer, held),
    ):
        with held.track_call("wait", timeout_s=60.0):
            blocked_until(lambda: renewer.is_watching)
            clock.now += 2
            blocked_until(lambda: len(caplog.records) == 1)
            clock.now += 3
        await until(lambda: len(caplog.records) == 2)

    fields = [vars(line)["fields"] for line in caplog.records]
    assert [line.message for line in caplog.records] == ["event_loop_blocked"] * 2
    assert fields == [
        {"run": str(LEASE.run), "tool": "wait", "seconds": 2.0, "over": False},
        {"run": str(LEASE.run), "tool": "wait", "seconds": 5.0, "over": True},
    ]


async def test_no_lease_is_renewed_after_the_timeout_of_the_call_that_blocks_the_loop() -> None:
    clock, store = Clock(), ThreadStore()
    blocking, other = lease_of(clock), lease_of(clock)

    async with (
        renewing(store, clock) as renewer,
        LeaseRenewal(renewer, other),
        LeaseRenewal(renewer, blocking),
    ):
        with blocking.track_call("wait", timeout_s=60.0):
            blocked_until(lambda: renewer.is_watching)
            clock.now += LEASE_S / 3
            blocked_until(lambda: len(store.renewed) == 2)
            clock.now += 60.0
            threading.Event().wait(0.05)
            assert len(store.renewed) == 2
        await until(lambda: len(store.renewed) == 4)


async def test_the_body_ends_when_the_thread_finds_the_lease_lost() -> None:
    clock, store = Clock(), ThreadStore(LeaseLost("theirs"))
    held = lease_of(clock)

    async with renewing(store, clock) as renewer:

        async def body() -> None:
            async with LeaseRenewal(renewer, held):
                clock.now += LEASE_S / 3
                await asyncio.sleep(WAIT_S)

        with pytest.raises(LeaseLost, match="theirs"):
            await body()


async def test_opening_the_store_is_retried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, store = Clock(), ThreadStore()
    away = [StoreUnavailable("away"), RuntimeError("odd")]

    async def open_store() -> Store:
        if away:
            raise away.pop()
        return cast("Store", store)

    renewer, held = RenewalThread(open_store, clock, TIMINGS), lease_of(clock)
    async with LeaseRenewal(renewer, held):
        clock.now += LEASE_S / 3
        await until(store.has_renewed.is_set)
    await renewer.close()

    assert [line.message for line in caplog.records] == ["lease_renewal_failed"] * 2


async def test_a_thread_that_gets_no_event_loop_starts_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, store, work = Clock(), ThreadStore(), RenewalThread._work
    errors = [OSError("Too many open files")]

    async def work_later(renewer: RenewalThread) -> None:
        if errors:
            raise errors.pop()
        await work(renewer)

    monkeypatch.setattr(RenewalThread, "_work", work_later)
    async with renewing(store, clock) as renewer, LeaseRenewal(renewer, lease_of(clock)):
        clock.now += LEASE_S / 3
        await until(store.has_renewed.is_set)

    assert [line.message for line in caplog.records] == ["lease_renewal_failed"]


async def test_a_failed_check_of_event_loops_is_repeated(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    class Loop:
        def call_soon_threadsafe(self, callback: object) -> None:
            raise ZeroDivisionError

    async with renewing(ThreadStore(), clock) as renewer:
        held = lease_of(clock)
        held.loop = cast("asyncio.AbstractEventLoop", Loop())
        renewer.add(held)
        await until(lambda: len(caplog.records) >= 2)
        await renewer.discard(held)

    assert {line.message for line in caplog.records} == {"event_loop_not_watched"}


async def test_a_database_that_does_not_answer_does_not_keep_the_process_from_its_exit() -> None:
    go_on = threading.Event()

    class Hanging(ThreadStore):
        async def close(self) -> None:
            go_on.wait()

    clock = Clock()
    timings = structs.replace(TIMINGS, stop_s=0.01)
    async with (
        renewing(Hanging(), clock, timings) as renewer,
        LeaseRenewal(renewer, lease_of(clock)),
    ):
        await until(lambda: renewer.is_watching)

    (thread,) = (one for one in threading.enumerate() if one.name == "leases")
    assert thread.daemon
    go_on.set()
    thread.join()


async def test_an_error_when_the_store_is_closed_is_ignored() -> None:
    class Failing(ThreadStore):
        async def close(self) -> None:
            raise OSError("broken pipe")

    clock = Clock()
    async with renewing(Failing(), clock) as renewer, LeaseRenewal(renewer, lease_of(clock)):
        await until(lambda: renewer.is_watching)


async def test_no_thread_starts_without_a_lease_and_none_remains_after_the_end() -> None:
    clock, store = Clock(), ThreadStore()

    async with renewing(store, clock) as renewer:
        pass
    renewer.add(lease_of(clock))
    await renewer.close()

    assert store.renewed == []
    assert "leases" not in {thread.name for thread in threading.enumerate()}
