"""Bytes of conversations in memory are bounded: in all, and for one principal."""

import asyncio

import pytest

from tests.builders import asked, entries, said
from tests.engine.stage import RecordingListener
from twelvefold.engine.memory import (
    MAX_WAITING,
    BudgetExhausted,
    GrowingListener,
    MemoryBudget,
    Reservation,
)

NOW = 0.0
SOON = 30.0


async def held(budget: MemoryBudget, principal: str, size: int) -> Reservation:
    reservation = budget.reservation(principal)
    await reservation.hold(size, wait_s=NOW)
    return reservation


async def refused(budget: MemoryBudget, principal: str, size: int) -> None:
    with pytest.raises(BudgetExhausted):
        await held(budget, principal, size)


async def test_reservations_hold_no_more_than_the_budget_together() -> None:
    budget = MemoryBudget(100, small=0)
    await held(budget, "ann", 50)
    await held(budget, "bob", 49)

    await refused(budget, "cid", 2)
    assert not budget.is_full
    await held(budget, "cid", 1)
    assert (budget.held, budget.is_full) == (100, True)


async def test_a_principal_holds_at_most_half_however_many_runs_it_has() -> None:
    budget = MemoryBudget(100, small=0)
    await held(budget, "ann", 30)
    await held(budget, "ann", 20)

    await refused(budget, "ann", 1)
    await held(budget, "bob", 50)


async def test_a_conversation_larger_than_the_budget_is_held_alone() -> None:
    budget = MemoryBudget(100, small=0)
    large = await held(budget, "ann", 300)

    await refused(budget, "ann", 1)
    await refused(budget, "bob", 1)
    large.release()
    await held(budget, "bob", 1)
    await refused(budget, "ann", 300)


async def test_a_reservation_that_grows_keeps_what_it_holds() -> None:
    budget = MemoryBudget(100, small=0)
    reservation = await held(budget, "ann", 40)

    await reservation.hold(50, wait_s=NOW)
    await reservation.hold(10, wait_s=NOW)
    assert budget.held == 50
    await reservation.hold(200, wait_s=NOW)  # nothing else is held
    assert budget.held == 200


async def test_bytes_that_are_in_memory_count_even_if_they_do_not_fit() -> None:
    budget = MemoryBudget(100, small=0)
    reservation = await held(budget, "ann", 40)
    listener = RecordingListener()
    growing = GrowingListener(listener, reservation)
    first, second = entries(asked(), said())

    growing.recorded(first)
    growing.recorded(second)
    growing.text("a")
    growing.shown()

    assert budget.held == 40 + first.size + second.size
    assert (listener.entries, listener.texts, listener.shown_count) == ([first, second], ["a"], 1)
    growing.restarted("why")
    assert listener.texts == []
    await refused(budget, "bob", 60)


async def test_a_reservation_is_released_with_its_context_unless_it_is_kept() -> None:
    budget = MemoryBudget(100, small=0)
    with await held(budget, "ann", 40):
        assert budget.held == 40
    assert budget.held == 0

    with await held(budget, "ann", 40) as reservation:
        reservation.keep()
    assert budget.held == 40
    reservation.release()
    reservation.release()
    assert budget.held == 0


async def test_a_small_reservation_passes_a_large_one_that_waits() -> None:
    budget = MemoryBudget(100, small=0)
    first = await held(budget, "ann", 50)
    async with asyncio.TaskGroup() as group:
        large = budget.reservation("bob")
        waits = group.create_task(large.hold(80, wait_s=SOON))
        await asyncio.sleep(0)
        await held(budget, "cid", 10)
        assert not waits.done()
        first.release()

    assert budget.held == 90


async def test_a_reservation_that_times_out_holds_nothing() -> None:
    budget = MemoryBudget(100, small=0)
    await held(budget, "ann", 50)
    large = budget.reservation("bob")

    with pytest.raises(BudgetExhausted):
        await large.hold(80, wait_s=0.01)

    assert budget.held == 50
    large.release()
    assert budget.held == 50


async def test_the_number_of_waiting_reservations_is_limited() -> None:
    budget = MemoryBudget(100, small=0)
    first = await held(budget, "ann", 100)
    async with asyncio.TaskGroup() as group:
        reservations = [budget.reservation(f"p{number}") for number in range(MAX_WAITING)]
        for reservation in reservations:
            group.create_task(reservation.hold(1, wait_s=SOON))
        await asyncio.sleep(0)
        one_more = budget.reservation("late")
        with pytest.raises(BudgetExhausted):
            await one_more.hold(1, wait_s=SOON)
        first.release()

    assert budget.held == MAX_WAITING


async def test_one_of_two_reservations_that_wait_for_the_same_bytes_gets_them() -> None:
    budget = MemoryBudget(100, small=0)
    first = await held(budget, "ann", 100)
    second, third = budget.reservation("bob"), budget.reservation("cid")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.hold(70, wait_s=SOON)) for one in (second, third)]
        await asyncio.sleep(0)
        first.grow(-1)
        first.release()
        while not any(task.done() for task in tasks):
            await asyncio.sleep(0)
        assert budget.held == 70
        (second if tasks[0].done() else third).release()

    assert budget.held == 70


async def test_a_short_turn_fits_beside_a_large_one_of_the_same_principal() -> None:
    budget = MemoryBudget(100, small=10)
    await held(budget, "ann", 80)

    await refused(budget, "ann", 11)
    await held(budget, "ann", 10)
    await held(budget, "ann", 10)
    await refused(budget, "ann", 1)
    await refused(budget, "bob", 1)
