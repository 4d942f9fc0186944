"""How many bytes of bodies are received at once, and whose."""

import asyncio

import pytest

from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.errors import ApiError


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_bodies_wait_for_room_in_their_order() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 50)
    await budget.take("b", 50)
    first = asyncio.create_task(budget.take("c", 40))
    second = asyncio.create_task(budget.take("d", 10))
    await turn()

    assert not first.done()
    assert not second.done()
    budget.give_back("a", 50)
    await turn()

    assert first.done()
    assert second.done()
    assert budget.held_bytes == 100


async def test_one_owner_has_half_and_does_not_keep_others_waiting() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 30)
    own = asyncio.create_task(budget.take("a", 30))
    await turn()

    await budget.take("b", 40)
    assert not own.done()

    budget.give_back("a", 30)
    await own
    assert budget.held_bytes == 70


async def test_a_large_body_is_not_passed_by_smaller_ones_for_ever() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 40)
    large = asyncio.create_task(budget.take("b", 80))
    await turn()
    small = asyncio.create_task(budget.take("c", 10))
    await turn()
    assert not small.done()

    budget.give_back("a", 40)
    await large
    await turn()

    assert small.done()


async def test_a_body_beyond_the_budget_is_received_alone() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 500)
    waiting = asyncio.create_task(budget.take("b", 1))
    await turn()
    assert not waiting.done()

    budget.give_back("a", 500)
    await waiting
    assert budget.held_bytes == 1


async def test_who_waits_too_long_tries_again_later() -> None:
    budget = BodyBudget(100, wait_s=0.01)
    await budget.take("a", 100)

    with pytest.raises(ApiError) as caught:
        await budget.take("b", 1)

    assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "5")
    budget.give_back("a", 100)
    await budget.take("b", 100)


async def test_only_so_many_wait() -> None:
    budget = BodyBudget(100, waiting=1)
    await budget.take("a", 100)
    waiting = asyncio.create_task(budget.take("b", 1))
    await turn()

    with pytest.raises(ApiError, match="too many large requests"):
        await budget.take("c", 1)

    waiting.cancel()
    await turn()
    budget.give_back("a", 100)
    assert budget.held_bytes == 0


async def test_who_leaves_while_room_is_found_keeps_none_of_it() -> None:
    budget = BodyBudget(100)
    await budget.take("a", 100)
    waiting = asyncio.create_task(budget.take("b", 50))
    await turn()

    budget.give_back("a", 100)
    waiting.cancel()
    await turn()

    assert budget.held_bytes == 0


async def test_one_owner_does_not_take_all_places_to_wait() -> None:
    budget = BodyBudget(100, waiting=8)
    await budget.take("a", 100)
    waiting = [asyncio.create_task(budget.take("b", 1)) for _ in range(2)]
    await turn()

    with pytest.raises(ApiError, match="too many large requests"):
        await budget.take("b", 1)

    waiting.append(asyncio.create_task(budget.take("c", 1)))
    budget.give_back("a", 100)
    await asyncio.gather(*waiting)
    assert budget.held_bytes == 3
