"""A lease as its process knows it: until when it holds, and what happens when it does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tests.engine.leases import LEASE, LEASE_S, Clock, Renewing, lease_of, until
from tests.engine.stage import Stage, start
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.ports import Lease, Store
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.lease import HeldLease, LeaseGuard, LeaseRenewal, RenewedLease
from twelvefold.engine.renewal import LeaseRenewer, renew, renew_leases
from twelvefold.errors import CancelAsked, LeaseLost, StoreUnavailable
from twelvefold.observe.exceptions import summary


@contextlib.asynccontextmanager
async def renewed(*leases: HeldLease) -> AsyncIterator[None]:
    """Renewals of these leases while the body runs."""
    task = asyncio.ensure_future(renew_leases(dict.fromkeys(leases)))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# --- valid until ------------------------------------------------------------------------------


async def test_a_lease_is_valid_for_its_length_from_when_its_claim_was_sent() -> None:
    held = lease_of(clock := Clock())

    clock.now += LEASE_S - 0.001
    assert held.is_valid()
    clock.now += 0.001
    assert not held.is_valid()


async def test_a_claim_that_is_answered_late_counts_from_when_it_was_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    services = stage.process(monotonic=clock)
    begin = services.store.start

    async def answered_late(*args: Any) -> Any:
        answer = await begin(*args)
        clock.now += 9.0
        return answer

    monkeypatch.setattr(services.store, "start", answered_late)
    driven = await start(services)

    assert driven.held.valid_until == 1000.0 + services.limits.lease_s


async def test_an_older_renewal_takes_nothing_from_a_newer_one() -> None:
    held = lease_of(Clock())

    held.confirmed(1010.0)
    held.confirmed(1005.0)

    assert held.valid_until == 1010.0 + LEASE_S


async def test_to_confirm_a_valid_lease_asks_nothing() -> None:
    held = lease_of(Clock(), store := Renewing())

    await held.confirm()

    assert store.asked == []


async def test_a_lease_that_has_lapsed_is_renewed_before_anything_else() -> None:
    clock = Clock()
    held = lease_of(clock, store := Renewing())
    clock.now += LEASE_S

    await held.confirm()

    assert (store.asked, held.valid_until) == ([LEASE], clock.now + LEASE_S)


async def test_a_renewal_that_is_answered_too_late_confirms_nothing() -> None:
    clock = Clock()

    async def late() -> bool:
        clock.now += LEASE_S
        return False

    held = lease_of(clock, store := Renewing(late, StoreUnavailable("away"), late))
    clock.now += LEASE_S

    await held.confirm()

    assert len(store.asked) == 4
    assert held.is_valid()


@pytest.mark.parametrize(
    ("answer", "error"), [(LeaseLost("theirs"), LeaseLost), (True, CancelAsked)]
)
async def test_a_lease_that_is_over_is_not_confirmed(
    answer: bool | Exception, error: type[Exception]
) -> None:
    clock = Clock()
    held = lease_of(clock, Renewing(answer))
    clock.now += LEASE_S

    with pytest.raises(error):
        await held.confirm()


async def test_a_lease_that_was_found_lost_is_not_valid_however_fresh() -> None:
    held = lease_of(Clock(), store := Renewing())

    held.end(LeaseLost("theirs"))

    assert not held.is_valid()
    with pytest.raises(LeaseLost, match="theirs"):
        await held.confirm()
    assert store.asked == []


# --- the guard --------------------------------------------------------------------------------


async def test_a_guarded_body_ends_when_the_lease_lapses() -> None:
    clock = Clock()
    held = HeldLease(cast("Store", Renewing()), LEASE, 0.01, clock(), clock)
    guard = LeaseGuard(held)

    async def body() -> None:
        async with guard:
            clock.now += 1
            await asyncio.sleep(20)

    with pytest.raises(TimeoutError):
        await body()

    assert guard.lapsed


async def test_a_guarded_body_goes_on_while_the_lease_is_renewed() -> None:
    clock = Clock()
    held = HeldLease(cast("Store", Renewing()), LEASE, 0.01, clock(), clock)

    async with LeaseGuard(held) as guard:
        await asyncio.sleep(0.02)
        clock.now += 0.009
        held.confirmed(clock())
        await asyncio.sleep(0.02)

    assert not guard.lapsed


# --- renewals ---------------------------------------------------------------------------------


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are looked at every few milliseconds; when one is due, the test's clock says."""
    monkeypatch.setattr("twelvefold.engine.renewal.LOOKS", 10_000)
    monkeypatch.setattr("twelvefold.engine.renewal.IDLE_S", 0.001)


@pytest.mark.usefixtures("quick_looks")
async def test_a_lease_is_renewed_when_a_third_of_it_is_over() -> None:
    clock = Clock()
    held = lease_of(clock, store := Renewing())

    async with renewed(held):
        await asyncio.sleep(0.01)
        assert store.asked == []
        clock.now += LEASE_S / 3
        await until(lambda: store.asked)
        await asyncio.sleep(0.01)

    assert store.asked == [LEASE]
    assert held.valid_until == clock.now + LEASE_S


@pytest.mark.usefixtures("quick_looks")
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
    held = lease_of(clock, store := Renewing(error))
    clock.now += LEASE_S / 3

    async with renewed(held):
        await until(lambda: store.asked)
        clock.now += 1
        await until(lambda: held.valid_until == clock.now + LEASE_S)

    (line,) = caplog.records
    assert line.message == "lease_not_renewed"
    assert vars(line)["fields"]["error"] == summary(error)


@pytest.mark.usefixtures("quick_looks")
async def test_an_error_of_its_own_does_not_end_the_renewals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, broken = Clock(), [True]
    held = lease_of(clock, store := Renewing())

    def may_renew(held: RenewedLease) -> bool:
        if broken.pop() if broken else False:
            raise ZeroDivisionError
        return held.is_due()

    clock.now += LEASE_S / 3
    task = asyncio.ensure_future(renew_leases({held: None}, may_renew=may_renew))
    await until(lambda: store.asked)
    task.cancel()

    assert [line.message for line in caplog.records] == ["lease_renewal_failed"]


@pytest.mark.usefixtures("quick_looks")
async def test_a_renewal_that_hangs_is_cut_off_and_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs = asyncio.Event()

    async def hang() -> bool:
        hangs.set()
        await asyncio.sleep(600)
        return False

    clock = Clock()
    silent = Renewing(hang)
    slow = lease_of(clock, silent)
    others = [lease_of(clock, Renewing()) for _ in range(20)]
    clock.now += LEASE_S / 3
    monkeypatch.setattr("twelvefold.engine.renewal.RENEWAL_TIMEOUT_S", 0.2)

    async with renewed(slow, *others):
        await hangs.wait()
        await until(lambda: all(held.valid_until == clock.now + LEASE_S for held in others))
        clock.now += 1
        await until(lambda: slow.valid_until == clock.now + LEASE_S)

    assert len(silent.asked) == 2


@pytest.mark.usefixtures("quick_looks")
async def test_a_renewal_under_way_ends_with_the_renewals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hangs = asyncio.Event()

    async def hang() -> bool:
        hangs.set()
        await asyncio.sleep(600)
        return False

    clock = Clock()
    held = lease_of(clock, Renewing(hang))
    clock.now += LEASE_S / 3

    async with renewed(held):
        await hangs.wait()

    assert caplog.records == []


@pytest.mark.usefixtures("quick_looks")
async def test_a_lease_is_left_alone_in_a_step_and_past_its_call_and_when_it_is_over() -> None:
    clock = Clock()
    stores = [Renewing() for _ in range(4)]
    in_step, past_call, over, free = (lease_of(clock, store) for store in stores)
    in_step.in_step = True
    over.end(LeaseLost("theirs"))

    with past_call.calling("wait", timeout_s=5.0), free.calling("wait", timeout_s=60.0):
        clock.now += LEASE_S / 3
        async with renewed(in_step, past_call, over, free):
            await until(lambda: stores[3].asked)
            await asyncio.sleep(0.01)
            assert [len(store.asked) for store in stores] == [0, 0, 0, 1]
            in_step.in_step = False
            await until(lambda: stores[0].asked)

    assert past_call.call_ends_at is None


@pytest.mark.usefixtures("quick_looks")
async def test_a_renewal_that_waited_behind_its_own_step_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()

    async def behind_the_fence() -> bool:
        lease.in_step = True
        raise StoreUnavailable("lock wait timeout")

    lease = lease_of(clock, store := Renewing(behind_the_fence))
    clock.now += LEASE_S / 3

    async with renewed(lease):
        await until(lambda: store.asked)
        await asyncio.sleep(0.01)

    assert caplog.records == []


@pytest.mark.usefixtures("quick_looks")
async def test_a_lease_whose_turn_comes_after_its_run_has_ended_is_not_renewed() -> None:
    clock, go_on = Clock(), asyncio.Event()

    async def wait() -> bool:
        await go_on.wait()
        return False

    stores = [Renewing(wait), Renewing(wait), Renewing()]
    leases = dict.fromkeys(lease_of(clock, store) for store in stores)
    clock.now += LEASE_S / 3
    task = asyncio.ensure_future(renew_leases(leases))
    await until(lambda: stores[0].asked and stores[1].asked)
    del leases[list(leases)[2]]
    go_on.set()
    await asyncio.sleep(0.01)
    task.cancel()

    assert [len(store.asked) for store in stores] == [1, 1, 0]


@pytest.mark.usefixtures("quick_looks")
async def test_a_thousand_leases_are_renewed_in_turn() -> None:
    clock = Clock()
    store = Renewing()
    leases = [
        lease_of(clock, store, Lease(RunId(ThreadId("a" * 44), n), LeaseToken("t")))
        for n in range(1000)
    ]
    clock.now += LEASE_S / 3

    async with renewed(*leases):
        await until(lambda: len(store.asked) >= 1000)

    assert sorted(one.run.ordinal for one in store.asked) == list(range(1000))


# --- a body that keeps its lease --------------------------------------------------------------


@pytest.fixture
async def held(stage: Stage, frequent_renewals: None) -> HeldRun:
    return await start(stage.process())


@pytest.fixture
async def store(held: HeldRun) -> Store:
    return held.held.store


async def take_over(stage: Stage, store: Store, lease: Lease) -> None:
    await stage.let_leases_run_out()
    assert await store.claim(lease.run, 20.0)


async def test_a_lease_is_kept_while_the_body_runs(
    stage: Stage, store: Store, held: HeldRun
) -> None:
    await stage.let_leases_run_out()
    assert not (await store.run(held.run)).leased

    async with LeaseRenewal(LeaseRenewer(), held.held):
        while not (await store.run(held.run)).leased:
            await asyncio.sleep(0.001)


async def test_a_short_body_costs_no_renewal(store: Store, held: HeldRun) -> None:
    tasks = asyncio.all_tasks()

    async with LeaseRenewal(LeaseRenewer(), held.held):
        assert asyncio.all_tasks() == tasks

    await asyncio.sleep(0.03)
    assert asyncio.all_tasks() == tasks


async def test_the_body_ends_when_the_lease_is_lost(
    stage: Stage, store: Store, held: HeldRun
) -> None:
    await take_over(stage, store, held.lease)

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        async with LeaseRenewal(LeaseRenewer(), held.held):
            await asyncio.sleep(20)

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


async def test_the_body_ends_when_somebody_asks_for_it(store: Store, held: HeldRun) -> None:
    await store.ask_cancel(held.run)

    with pytest.raises(CancelAsked, match="is to be cancelled"):
        async with LeaseRenewal(LeaseRenewer(), held.held):
            await asyncio.sleep(20)


async def test_a_body_that_is_cancelled_by_others_too_is_cancelled(
    store: Store, held: HeldRun
) -> None:
    await store.ask_cancel(held.run)

    async def driver() -> None:
        async with LeaseRenewal(LeaseRenewer(), held.held):
            try:
                await asyncio.sleep(20)
            finally:
                me = asyncio.current_task()
                assert me is not None
                me.cancel()

    task = asyncio.ensure_future(driver())
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_body_that_fails_while_it_is_ended_fails_in_its_own_words(
    store: Store, held: HeldRun
) -> None:
    await store.ask_cancel(held.run)

    async def driver() -> None:
        async with LeaseRenewal(LeaseRenewer(), held.held):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                raise ValueError("of its own") from None

    with pytest.raises(ValueError, match="of its own"):
        await driver()


async def test_a_task_that_was_cancelled_before_still_learns_why_its_body_ends(
    store: Store, held: HeldRun
) -> None:
    await store.ask_cancel(held.run)
    me = asyncio.current_task()
    assert me is not None

    me.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    with pytest.raises(CancelAsked):
        async with LeaseRenewal(LeaseRenewer(), held.held):
            await asyncio.sleep(20)
    me.uncancel()


async def test_a_body_that_ends_at_the_same_moment_as_its_lease_is_not_cancelled() -> None:
    held = lease_of(Clock())

    async with LeaseRenewal(LeaseRenewer(), held):
        held.end(LeaseLost("theirs"))
    await asyncio.sleep(0)

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


async def test_a_renewal_that_learns_too_late_that_the_lease_is_lost_ends_nothing(
    store: Store, held: HeldRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def renew(lease: Lease, lease_s: float) -> bool:
        asked.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            raise LeaseLost("too late") from None
        return False

    monkeypatch.setattr(store, "renew", renew)

    async with LeaseRenewal(LeaseRenewer(), held.held):
        await asked.wait()

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0
    assert asyncio.all_tasks() == {me}


async def test_a_renewal_that_fails_is_tried_again(
    stage: Stage, store: Store, held: HeldRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = iter([StoreUnavailable("away")])
    renew = store.renew

    async def renew_later(lease: Lease, lease_s: float) -> bool:
        for error in away:
            raise error
        return await renew(lease, lease_s)

    monkeypatch.setattr(store, "renew", renew_later)

    async with LeaseRenewal(LeaseRenewer(), held.held):
        await stage.let_leases_run_out()
        while not (await store.run(held.run)).leased:
            await asyncio.sleep(0.001)

    assert next(away, None) is None


async def test_an_outage_is_logged_once_for_each_lease(caplog: pytest.LogCaptureFixture) -> None:
    away = StoreUnavailable("away")
    clock = Clock()
    held = lease_of(clock, store := Renewing(away, away, False, away))
    for _ in range(4):
        await renew(held, cast("Store", store))

    assert [line.message for line in caplog.records] == ["lease_not_renewed"] * 2


def test_only_the_lease_of_a_run_knows_calls() -> None:
    class OfAMessage(RenewedLease):
        @property
        def about(self) -> dict[str, str]:
            return {}

        async def ask(self, store: Store) -> bool:
            return False

    lease = OfAMessage(cast("Store", Renewing()), LEASE_S, 0.0, Clock())

    assert lease.call_of(None) is None
