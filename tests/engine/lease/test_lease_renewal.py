"""A body that keeps its lease, and ends when the lease is lost."""

import asyncio

import pytest

from tests.engine.leases import Clock, lease_of
from tests.engine.stage import Stage, start
from twelvefold.core.ports import Lease, Store
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.lease import LeaseRenewal, LeaseRenewer
from twelvefold.errors import CancelAsked, LeaseLost, StoreUnavailable


@pytest.fixture
async def held(stage: Stage, frequent_renewals: None) -> HeldRun:
    return await start(stage.process())


@pytest.fixture
async def store(held: HeldRun) -> Store:
    return held.held_lease.store


async def take_over(stage: Stage, store: Store, lease: Lease) -> None:
    await stage.let_leases_run_out()
    assert await store.claim(lease.run, 20.0)


async def test_a_lease_is_renewed_while_the_body_runs(
    stage: Stage, store: Store, held: HeldRun
) -> None:
    await stage.let_leases_run_out()
    assert not (await store.run(held.run)).leased

    async with LeaseRenewal(LeaseRenewer(), held.held_lease):
        while not (await store.run(held.run)).leased:
            await asyncio.sleep(0.001)


async def test_a_short_body_costs_no_renewal(store: Store, held: HeldRun) -> None:
    tasks = asyncio.all_tasks()

    async with LeaseRenewal(LeaseRenewer(), held.held_lease):
        assert asyncio.all_tasks() == tasks

    await asyncio.sleep(0.03)
    assert asyncio.all_tasks() == tasks


async def test_the_body_ends_when_the_lease_is_lost(
    stage: Stage, store: Store, held: HeldRun
) -> None:
    await take_over(stage, store, held.lease)

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        async with LeaseRenewal(LeaseRenewer(), held.held_lease):
            await asyncio.Event().wait()

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


async def test_the_body_ends_when_the_run_is_asked_to_cancel(store: Store, held: HeldRun) -> None:
    await store.ask_cancel(held.run)

    with pytest.raises(CancelAsked, match="has a cancel request"):
        async with LeaseRenewal(LeaseRenewer(), held.held_lease):
            await asyncio.Event().wait()


async def test_a_body_that_is_also_cancelled_by_another_task_is_cancelled(
    store: Store, held: HeldRun
) -> None:
    await store.ask_cancel(held.run)

    async def driver() -> None:
        async with LeaseRenewal(LeaseRenewer(), held.held_lease):
            try:
                await asyncio.Event().wait()
            finally:
                me = asyncio.current_task()
                assert me is not None
                me.cancel()

    task = asyncio.ensure_future(driver())
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_body_that_raises_while_it_is_ended_raises_its_own_error(
    store: Store, held: HeldRun
) -> None:
    await store.ask_cancel(held.run)

    async def driver() -> None:
        async with LeaseRenewal(LeaseRenewer(), held.held_lease):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("of its own") from None

    with pytest.raises(ValueError, match="of its own"):
        await driver()


async def test_a_task_that_was_cancelled_before_still_gets_the_reason(
    store: Store, held: HeldRun
) -> None:
    await store.ask_cancel(held.run)
    me = asyncio.current_task()
    assert me is not None

    me.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    with pytest.raises(CancelAsked):
        async with LeaseRenewal(LeaseRenewer(), held.held_lease):
            await asyncio.Event().wait()
    me.uncancel()


async def test_a_body_that_ends_together_with_its_lease_is_not_cancelled() -> None:
    held = lease_of(Clock())

    async with LeaseRenewal(LeaseRenewer(), held):
        held.end(LeaseLost("theirs"))
    await asyncio.sleep(0)

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


async def test_a_lease_that_is_found_lost_after_the_body_ends_nothing(
    store: Store, held: HeldRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def renew(lease: Lease, lease_s: float) -> bool:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LeaseLost("too late") from None
        return False

    monkeypatch.setattr(store, "renew", renew)

    async with LeaseRenewal(LeaseRenewer(), held.held_lease):
        await asked.wait()

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0
    assert asyncio.all_tasks() == {me}


async def test_a_renewal_that_fails_is_retried(
    stage: Stage, store: Store, held: HeldRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = iter([StoreUnavailable("away")])
    renew = store.renew

    async def renew_later(lease: Lease, lease_s: float) -> bool:
        for error in away:
            raise error
        return await renew(lease, lease_s)

    monkeypatch.setattr(store, "renew", renew_later)

    async with LeaseRenewal(LeaseRenewer(), held.held_lease):
        await stage.let_leases_run_out()
        while not (await store.run(held.run)).leased:
            await asyncio.sleep(0.001)

    assert next(away, None) is None
