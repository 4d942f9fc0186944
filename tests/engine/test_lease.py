import asyncio

import pytest

from tests.engine.stage import Stage, start
from twelvefold.core.ports import Lease, Store
from twelvefold.engine.append import Driven
from twelvefold.engine.lease import Renewed
from twelvefold.errors import CancelAsked, LeaseLost, StoreUnavailable

LEASE_S = 20.0
pytestmark = pytest.mark.usefixtures("frequent_renewals")


@pytest.fixture
async def store(stage: Stage) -> Store:
    return stage.process().store


@pytest.fixture
async def held(stage: Stage) -> Driven:
    return await start(stage.process())


async def take_over(stage: Stage, store: Store, lease: Lease) -> None:
    await stage.let_leases_run_out()
    assert await store.claim(lease.run, 20.0)


async def test_a_lease_is_kept_while_the_body_runs(
    stage: Stage, store: Store, held: Driven
) -> None:
    async with Renewed(store, held.lease, LEASE_S):
        await stage.let_leases_run_out()
        assert not (await store.run(held.run)).leased
        while not (await store.run(held.run)).leased:
            await asyncio.sleep(0.001)


async def test_a_short_body_costs_no_renewal(store: Store, held: Driven) -> None:
    tasks = asyncio.all_tasks()

    async with Renewed(store, held.lease, LEASE_S):
        assert asyncio.all_tasks() == tasks

    await asyncio.sleep(0.03)
    assert asyncio.all_tasks() == tasks


async def test_the_body_ends_when_the_lease_is_lost(
    stage: Stage, store: Store, held: Driven
) -> None:
    await take_over(stage, store, held.lease)

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        async with Renewed(store, held.lease, LEASE_S):
            await asyncio.sleep(20)

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


async def test_the_body_ends_when_somebody_asks_for_it(store: Store, held: Driven) -> None:
    await store.ask_cancel(held.run)

    with pytest.raises(CancelAsked, match="is to be cancelled"):
        async with Renewed(store, held.lease, LEASE_S):
            await asyncio.sleep(20)


async def test_a_body_that_is_cancelled_by_others_too_is_cancelled(
    store: Store, held: Driven
) -> None:
    await store.ask_cancel(held.run)

    async def driver() -> None:
        async with Renewed(store, held.lease, LEASE_S):
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
    store: Store, held: Driven
) -> None:
    await store.ask_cancel(held.run)

    async def driver() -> None:
        async with Renewed(store, held.lease, LEASE_S):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                raise ValueError("of its own") from None

    with pytest.raises(ValueError, match="of its own"):
        await driver()


async def test_a_task_that_was_cancelled_before_still_learns_why_its_body_ends(
    store: Store, held: Driven
) -> None:
    await store.ask_cancel(held.run)
    me = asyncio.current_task()
    assert me is not None

    me.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    with pytest.raises(CancelAsked):
        async with Renewed(store, held.lease, LEASE_S):
            await asyncio.sleep(20)
    me.uncancel()


async def test_a_renewal_that_learns_too_late_that_the_lease_is_lost_ends_nothing(
    store: Store, held: Driven, monkeypatch: pytest.MonkeyPatch
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

    async with Renewed(store, held.lease, LEASE_S):
        await asked.wait()

    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0
    assert asyncio.all_tasks() == {me}


async def test_a_renewal_that_fails_is_tried_again(
    stage: Stage, store: Store, held: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = iter([StoreUnavailable("away")])
    renew = store.renew

    async def renew_later(lease: Lease, lease_s: float) -> bool:
        for error in away:
            raise error
        return await renew(lease, lease_s)

    monkeypatch.setattr(store, "renew", renew_later)

    async with Renewed(store, held.lease, LEASE_S):
        await stage.let_leases_run_out()
        while not (await store.run(held.run)).leased:
            await asyncio.sleep(0.001)

    assert next(away, None) is None
