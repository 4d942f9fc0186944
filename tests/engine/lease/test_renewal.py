"""The renewal loop: when leases are renewed, and errors that must not stop it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest
from msgspec import structs

from tests.engine.leases import LEASE, LEASE_S, Clock, RenewingStore, lease_of, open_step, until
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.ports import Lease, Store
from twelvefold.engine.lease import HeldLease, RenewedLease
from twelvefold.engine.lease.renewal import RenewalTimings, renew, renew_leases
from twelvefold.errors import LeaseLost, StoreUnavailable
from twelvefold.observe.exceptions import summary

# Leases are checked every few milliseconds; the test's clock decides when one is due.
TIMINGS = RenewalTimings(checks_per_interval=10_000, idle_s=0.001)


@contextlib.asynccontextmanager
async def renewed(*leases: HeldLease, timings: RenewalTimings = TIMINGS) -> AsyncIterator[None]:
    """Renew these leases while the body runs."""
    task = asyncio.ensure_future(renew_leases(dict.fromkeys(leases), timings=timings))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_lease_is_renewed_when_a_third_of_it_is_over() -> None:
    clock = Clock()
    held = lease_of(clock, store := RenewingStore())

    async with renewed(held):
        await asyncio.sleep(0.01)
        assert store.renewed == []
        clock.now += LEASE_S / 3
        await until(lambda: store.renewed)
        await asyncio.sleep(0.01)

    assert store.renewed == [LEASE]
    assert held.valid_until == clock.now + LEASE_S


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("away"),
        RuntimeError("Transport does not expose socket instance"),
        asyncio.CancelledError(),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_error_ends_the_renewals(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    held = lease_of(clock, store := RenewingStore(error))
    clock.now += LEASE_S / 3

    async with renewed(held):
        await until(lambda: store.renewed)
        clock.now += 1
        await until(lambda: held.valid_until == clock.now + LEASE_S)

    (line,) = caplog.records
    assert line.message == "lease_not_renewed"
    assert vars(line)["fields"]["error"] == summary(error)


async def test_an_unexpected_error_does_not_end_the_renewals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, broken = Clock(), [True]
    held = lease_of(clock, store := RenewingStore())

    def may_renew(held: RenewedLease) -> bool:
        if broken.pop() if broken else False:
            raise ZeroDivisionError
        return held.is_due()

    clock.now += LEASE_S / 3
    task = asyncio.ensure_future(renew_leases({held: None}, may_renew=may_renew, timings=TIMINGS))
    await until(lambda: store.renewed)
    task.cancel()

    assert [line.message for line in caplog.records] == ["lease_renewal_failed"]


async def test_a_renewal_that_hangs_is_stopped_and_does_not_delay_others() -> None:
    hangs = asyncio.Event()

    async def hang() -> bool:
        hangs.set()
        await asyncio.Event().wait()
        return False

    clock = Clock()
    silent = RenewingStore(hang)
    slow = lease_of(clock, silent)
    others = [lease_of(clock, RenewingStore()) for _ in range(20)]
    clock.now += LEASE_S / 3

    async with renewed(slow, *others, timings=structs.replace(TIMINGS, timeout_s=0.2)):
        await hangs.wait()
        await until(lambda: all(held.valid_until == clock.now + LEASE_S for held in others))
        clock.now += 1
        await until(lambda: slow.valid_until == clock.now + LEASE_S)

    assert len(silent.renewed) == 2


async def test_a_running_renewal_ends_with_the_renewals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hangs = asyncio.Event()

    async def hang() -> bool:
        hangs.set()
        await asyncio.Event().wait()
        return False

    clock = Clock()
    held = lease_of(clock, RenewingStore(hang))
    clock.now += LEASE_S / 3

    async with renewed(held):
        await hangs.wait()

    assert caplog.records == []


async def test_a_lease_is_not_renewed_in_a_step_or_past_its_call_or_when_it_has_ended() -> None:
    clock = Clock()
    stores = [RenewingStore() for _ in range(5)]
    in_step, past_call, over, free, unfenced = (lease_of(clock, store) for store in stores)
    in_step.step, unfenced.step = open_step(is_fenced=True), open_step(is_fenced=False)
    over.end(LeaseLost("theirs"))

    with past_call.track_call("wait", timeout_s=5.0), free.track_call("wait", timeout_s=60.0):
        clock.now += LEASE_S / 3
        async with renewed(in_step, past_call, over, free, unfenced):
            await until(lambda: stores[3].renewed and stores[4].renewed)
            await asyncio.sleep(0.01)
            assert [len(store.renewed) for store in stores] == [0, 0, 0, 1, 1]
            in_step.step = None
            await until(lambda: stores[0].renewed)

    assert past_call.call_ends_at is None


async def test_a_renewal_that_waited_for_a_step_of_its_run_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()

    async def behind_the_fence() -> bool:
        lease.step = open_step(is_fenced=True)
        raise StoreUnavailable("lock wait timeout")

    lease = lease_of(clock, store := RenewingStore(behind_the_fence))
    clock.now += LEASE_S / 3

    async with renewed(lease):
        await until(lambda: store.renewed)
        await asyncio.sleep(0.01)

    assert caplog.records == []


async def test_a_lease_whose_run_ends_while_it_waits_for_a_slot_is_not_renewed() -> None:
    clock, go_on = Clock(), asyncio.Event()

    async def wait() -> bool:
        await go_on.wait()
        return False

    stores = [RenewingStore(wait), RenewingStore(wait), RenewingStore()]
    leases = dict.fromkeys(lease_of(clock, store) for store in stores)
    clock.now += LEASE_S / 3
    task = asyncio.ensure_future(renew_leases(leases, timings=TIMINGS))
    await until(lambda: stores[0].renewed and stores[1].renewed)
    del leases[list(leases)[2]]
    go_on.set()
    await asyncio.sleep(0.01)
    task.cancel()

    assert [len(store.renewed) for store in stores] == [1, 1, 0]


async def test_a_thousand_leases_are_all_renewed() -> None:
    clock = Clock()
    store = RenewingStore()
    leases = [
        lease_of(clock, store, Lease(RunId(ThreadId("a" * 44), n), LeaseToken("t")))
        for n in range(1000)
    ]
    clock.now += LEASE_S / 3

    async with renewed(*leases):
        await until(lambda: len(store.renewed) >= 1000)

    assert sorted(one.run.ordinal for one in store.renewed) == list(range(1000))


async def test_an_outage_is_logged_once_for_each_lease(caplog: pytest.LogCaptureFixture) -> None:
    away = StoreUnavailable("away")
    clock = Clock()
    held = lease_of(clock, store := RenewingStore(away, away, False, away))
    for _ in range(4):
        await renew(held, cast("Store", store))

    assert [line.message for line in caplog.records] == ["lease_not_renewed"] * 2
