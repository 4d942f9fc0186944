"""Budgets and what was spent of them: reservations, settlements, and the runs that wait."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from tests.builders import finished
from tests.services.store.builders import append, leased, rows
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Store, WaitCondition
from twelvefold.core.ports.budgets import NOTHING, Amount, Budget, BudgetScope, Reservation, Used
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import NotFound, StoreUnavailable
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql import budgets
from twelvefold.services.store.sql.base import MAX_LIST
from twelvefold.services.store.sql.store import SQLStore

ANN = Budget(BudgetScope(principal="ann"), "day", tokens=1_000, micro_usd=500)
SUPPORT = Budget(BudgetScope(workflow="support"), "month", policy="wait", micro_usd=90)
RUN = RunId(ThreadId("7" * 44), 1)
PERIOD = 1_790_000_000_000_000
KEY = (ANN.id, PERIOD)


def reservation(attempt: str = "a-1", tokens: int = 400, micro_usd: int = 100) -> Reservation:
    return Reservation(RUN, 4, attempt, ANN.id, PERIOD, Amount(tokens, micro_usd))


async def used(store: Store) -> Used:
    return (await store.used([KEY])).get(KEY, Used())


# --- budgets ------------------------------------------------------------------------------------


async def test_a_database_without_budgets_has_the_time(store: Store) -> None:
    now_us, budgets = await store.budgets()

    assert now_us > 0
    assert budgets == []


async def test_a_budget_is_set_replaced_and_removed(store: Store) -> None:
    raised = replace(ANN, tokens=None, micro_usd=900, policy="wait")
    await store.set_budget(ANN)
    await store.set_budget(SUPPORT)
    assert (await store.budgets())[1] == [SUPPORT, ANN]

    await store.set_budget(raised)
    await store.set_budget(raised)
    await store.remove_budget(SUPPORT.id)

    assert (await store.budgets())[1] == [raised]
    with pytest.raises(NotFound, match="no budget"):
        await store.remove_budget(SUPPORT.id)


async def test_processes_that_set_the_same_budget_do_not_collide(
    store: Store, rival: Store
) -> None:
    await asyncio.gather(*(one.set_budget(ANN) for one in (store, rival) * 3))

    assert (await store.budgets())[1] == [ANN]


# --- reservations -------------------------------------------------------------------------------


async def test_what_is_reserved_is_replaced_by_what_was_spent(store: Store) -> None:
    assert await store.reserve(ANN, reservation()) is None
    assert await used(store) == Used(NOTHING, Amount(400, 100))
    assert await store.reservations(RUN) == [reservation()]

    assert await store.settle(reservation(), Amount(30, 7))

    assert await used(store) == Used(Amount(30, 7), NOTHING)
    assert await store.reservations(RUN) == []


async def test_a_call_is_reserved_once_and_settled_once(store: Store) -> None:
    for _ in range(2):
        assert await store.reserve(ANN, reservation()) is None
    assert await used(store) == Used(NOTHING, Amount(400, 100))

    assert await store.settle(reservation(), Amount(30, 7))
    assert not await store.settle(reservation(), Amount(30, 7))

    assert await used(store) == Used(Amount(30, 7), NOTHING)


async def test_a_call_that_was_charged_in_full_is_not_settled_again(
    store: Store, rival: Store
) -> None:
    await store.reserve(ANN, reservation())
    (lost,) = await rival.reservations(RUN)
    await rival.settle(lost, lost.amount)

    assert not await store.settle(reservation(), Amount(30, 7))

    assert await used(store) == Used(Amount(400, 100), NOTHING)


@pytest.mark.parametrize("more", [Amount(601, 1), Amount(1, 401)])
async def test_a_budget_without_room_changes_nothing(store: Store, more: Amount) -> None:
    await store.reserve(ANN, reservation())

    full = await store.reserve(ANN, reservation("a-2", *more))

    assert full == Used(NOTHING, Amount(400, 100))
    assert await store.reservations(RUN) == [reservation()]
    assert await store.reserve(ANN, reservation("a-3", 600, 400)) is None


async def test_a_call_larger_than_an_unused_budget_finds_no_room(store: Store) -> None:
    assert await store.reserve(ANN, reservation(tokens=1_001)) == Used()


async def test_a_budget_without_limits_has_room(store: Store) -> None:
    free = replace(ANN, tokens=None, micro_usd=None)

    assert await store.reserve(free, reservation(tokens=10**12, micro_usd=10**12)) is None


async def test_each_period_has_its_own_spending(store: Store) -> None:
    later = reservation("a-2")._replace(period_us=PERIOD + 1)
    await store.reserve(ANN, reservation())
    await store.settle(reservation(), Amount(900, 1))

    assert await store.reserve(ANN, later) is None

    found = await store.used([KEY, (ANN.id, PERIOD + 1), (SUPPORT.id, PERIOD)])
    assert found == {
        KEY: Used(Amount(900, 1), NOTHING),
        (ANN.id, PERIOD + 1): Used(NOTHING, Amount(400, 100)),
    }


async def test_concurrent_calls_do_not_pass_the_limit(store: Store, rival: Store) -> None:
    async def reserve(number: int) -> Used | None:
        one = (store, rival)[number % 2]
        call = reservation(f"a-{number}", 150, 1)
        return await retry_unavailable(lambda: one.reserve(ANN, call), 30)

    results = await asyncio.gather(*map(reserve, range(12)))

    assert results.count(None) == 6
    assert (await used(store)).total == Amount(900, 6)


async def test_calls_of_runs_that_are_over_are_charged_in_full(store: Store) -> None:
    now_us, _ = await store.budgets()
    over, active = [await leased(store) for _ in range(2)]
    began_us = ANN.period(now_us).began_us
    for lease in (over, active):
        call = Reservation(lease.run, 2, "a-1", ANN.id, began_us, Amount(200, 5))
        assert await store.reserve(ANN, call) is None
    await append(store, over, 1, finished(), status="cancelled")

    counts = [await store.charge_lost() for _ in range(2)]

    assert counts == [1, 0]
    key = (ANN.id, began_us)
    assert (await store.used([key]))[key] == Used(Amount(200, 5), Amount(200, 5))
    assert len(await store.reservations(active.run)) == 1


# --- runs that wait -----------------------------------------------------------------------------


async def waiting_until(store: Store, at_us: int) -> RunId:
    lease = await leased(store)
    await append(store, lease, 1, status="waiting", wait=WaitCondition(at_us))
    return lease.run


async def due(store: Store) -> list[RunId]:
    return [one.run for one in (await store.waiting_work(workflows=["academy"], limit=9)).runs]


@pytest.mark.parametrize("change", ["set", "removed"])
async def test_runs_that_wait_for_a_budget_look_again_when_it_changes(
    store: Store, change: str
) -> None:
    now_us, _ = await store.budgets()
    await store.set_budget(ANN)
    renews_us = ANN.period(now_us).renews_us
    run = await waiting_until(store, renews_us)
    await waiting_until(store, renews_us + 1)
    assert await due(store) == []

    await (store.set_budget(ANN) if change == "set" else store.remove_budget(ANN.id))

    assert await due(store) == [run]


async def test_many_runs_that_wait_for_a_budget_are_woken_in_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "MAX_WOKEN", MAX_LIST + 20)
    assert isinstance(store, SQLStore)
    now_us, _ = await store.budgets()
    number, renews_us = MAX_LIST + 30, ANN.period(now_us).renews_us
    for _ in range(number):
        lease = await leased(store)
        await append(store, lease, 1, status="waiting", wait=WaitCondition(renews_us))
    transactions, begin = 0, store._transaction

    def count() -> AbstractAsyncContextManager[Connection]:
        nonlocal transactions
        transactions += 1
        return begin()

    monkeypatch.setattr(store, "_transaction", count)
    await store.set_budget(ANN)

    work = await store.waiting_work(workflows=["academy"], limit=1)
    assert len(work.runs) == number
    assert transactions < 10


async def test_a_removal_that_fails_before_runs_look_again_can_be_repeated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_us, _ = await store.budgets()
    await store.set_budget(ANN)
    run = await waiting_until(store, ANN.period(now_us).renews_us)

    async def fail(_: Budget) -> None:
        monkeypatch.undo()
        raise StoreUnavailable("the connection is lost")

    monkeypatch.setattr(store, "_wake_waiting", fail)
    with pytest.raises(StoreUnavailable):
        await store.remove_budget(ANN.id)
    assert await due(store) == []

    await store.remove_budget(ANN.id)

    assert await due(store) == [run]
    assert (await store.budgets())[1] == []


async def test_what_was_spent_long_ago_is_pruned(store: Store) -> None:
    await store.reserve(ANN, reservation())
    await store.reserve(ANN, reservation("a-2")._replace(period_us=PERIOD + 2_700_000_000_000))

    await store.prune(before_us=PERIOD + 2_678_400_000_001)

    assert [one.attempt for one in await store.reservations(RUN)] == ["a-2"]
    assert len(await rows(store, "select began_at from budget_periods")) == 1
