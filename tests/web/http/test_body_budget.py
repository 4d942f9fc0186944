"""The memory budget for request bodies."""

import asyncio

import pytest

from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.errors import ApiError


async def run_tasks() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_bodies_wait_in_order() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 50)
    await budget.take("b", 50)
    first = asyncio.create_task(budget.take("c", 40))
    second = asyncio.create_task(budget.take("d", 10))
    await run_tasks()

    assert not first.done()
    assert not second.done()
    budget.give_back("a", 50)
    await run_tasks()

    assert first.done()
    assert second.done()
    assert budget.held_bytes == 100


async def test_one_owner_has_half_of_the_budget_and_does_not_block_others() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 30)
    own = asyncio.create_task(budget.take("a", 30))
    await run_tasks()

    await budget.take("b", 40)
    assert not own.done()

    budget.give_back("a", 30)
    await own
    assert budget.held_bytes == 70


async def test_smaller_bodies_do_not_overtake_a_large_one() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 40)
    large = asyncio.create_task(budget.take("b", 80))
    await run_tasks()
    small = asyncio.create_task(budget.take("c", 10))
    await run_tasks()
    assert not small.done()

    budget.give_back("a", 40)
    await large
    await run_tasks()

    assert small.done()


async def test_a_body_beyond_the_budget_is_received_alone() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 500)
    waiting = asyncio.create_task(budget.take("b", 1))
    await run_tasks()
    assert not waiting.done()

    budget.give_back("a", 500)
    await waiting
    assert budget.held_bytes == 1


async def test_a_body_that_waits_too_long_returns_503() -> None:
    budget = BodyBudget(100, wait_s=0.01)
    await budget.take("a", 100)

    with pytest.raises(ApiError) as caught:
        await budget.take("b", 1)

    assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "5")
    budget.give_back("a", 100)
    await budget.take("b", 100)


async def test_the_number_of_waiting_bodies_is_limited() -> None:
    budget = BodyBudget(100, max_waiting=1)
    await budget.take("a", 100)
    waiting = asyncio.create_task(budget.take("b", 1))
    await run_tasks()

    with pytest.raises(ApiError, match="too many large requests"):
        await budget.take("c", 1)

    waiting.cancel()
    await run_tasks()
    budget.give_back("a", 100)
    assert budget.held_bytes == 0


async def test_a_request_that_is_cancelled_when_granted_gives_its_bytes_back() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 100)
    waiting = asyncio.create_task(budget.take("b", 50))
    await run_tasks()

    budget.give_back("a", 100)
    waiting.cancel()
    await run_tasks()

    assert budget.held_bytes == 0


async def test_one_owner_may_have_a_quarter_of_the_waiting_bodies() -> None:
    budget = BodyBudget(100, max_waiting=8)
    await budget.take("a", 100)
    waiting = [asyncio.create_task(budget.take("b", 1)) for _ in range(2)]
    await run_tasks()

    with pytest.raises(ApiError, match="too many large requests"):
        await budget.take("b", 1)

    waiting.append(asyncio.create_task(budget.take("c", 1)))
    budget.give_back("a", 100)
    await asyncio.gather(*waiting)
    assert budget.held_bytes == 3
