"""Shares of keys and principals, on every database."""

import asyncio

import pytest

from tests.services.store.builders import leased, queued
from twelvefold.core.ports import Store, TokenGrant

BUCKET = {"capacity_us": 60_000_000, "interval_us": 1_000_000}
"""60 tokens, one more each second."""


async def take(store: Store, count: int) -> int:
    return (await store.take_tokens("key:k", count, **BUCKET)).granted


async def test_a_bucket_has_as_many_tokens_as_its_capacity(store: Store, rival: Store) -> None:
    assert await store.take_tokens("key:k", 20, **BUCKET) == TokenGrant(20, 20_000_000)

    assert [await take(one, 15) for one in (rival, store, rival)] == [15, 15, 10]
    assert await take(rival, 15) == 0
    assert (await store.take_tokens("key:other", 60, **BUCKET)).granted == 60


async def test_returned_tokens_can_be_taken(store: Store) -> None:
    await take(store, 60)

    await store.return_tokens("key:k", 5, interval_us=1_000_000)

    assert await take(store, 60) == 5


async def test_processes_that_take_tokens_at_once_take_no_token_twice(
    store: Store, rival: Store
) -> None:
    taken = await asyncio.gather(*(take(one, 7) for one in (store, rival) * 8))

    assert 53 < sum(taken) <= 60


async def test_an_owner_has_as_many_slots_as_its_limit(store: Store, rival: Store) -> None:
    taken = [
        await one.take_slot("key:k", 2, token, None)
        for one, token in ((store, "a"), (rival, "b"), (store, "c"))
    ]

    assert taken == [True, True, False]
    assert await store.take_slot("key:other", 1, "d", None)
    await store.free_slot("key:k", "b")
    assert await store.take_slot("key:k", 2, "e", None)


async def test_a_slot_is_taken_while_its_run_has_a_lease(store: Store) -> None:
    driven, waiting = await leased(store), await queued(store)
    for token, run in (("a", driven.run), ("b", waiting)):
        assert await store.take_slot("key:k", 2, token, None)
        await store.fill_slot("key:k", token, run)

    assert await store.take_slot("key:k", 2, "c", None)
    assert not await store.take_slot("key:k", 2, "d", None)


async def test_a_run_has_one_slot(store: Store, rival: Store) -> None:
    run = await queued(store)

    assert await store.take_slot("key:k", 9, "a", run)
    assert not await rival.take_slot("key:k", 9, "b", run)
    await store.fill_slot("key:k", "a", run)

    assert await rival.take_slot("key:k", 9, "c", run)
    assert not await store.take_slot("key:k", 1, "d", None)


@pytest.mark.parametrize("has_rows", [False, True])
async def test_processes_that_take_slots_at_once_do_not_pass_the_limit(
    store: Store, rival: Store, has_rows: bool
) -> None:
    for number in range(3 * has_rows):
        await store.take_slot("key:k", 3, f"old{number}", None)
        await store.free_slot("key:k", f"old{number}")

    tries = [one.take_slot("key:k", 3, f"t{n}", None) for n, one in enumerate((store, rival) * 6)]

    assert 1 <= sum(await asyncio.gather(*tries)) <= 3
