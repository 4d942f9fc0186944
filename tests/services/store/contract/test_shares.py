"""Shares of keys and principals, on every database."""

import asyncio
import secrets

import pytest

from tests.services.store.builders import leased, queued
from twelvefold.core.ports import Store
from twelvefold.engine import retry_unavailable

BUCKET = {"capacity_us": 60_000_000_000, "interval_us": 1_000_000_000}
"""60 tokens, one more in a quarter of an hour."""


@pytest.fixture
def owner() -> str:
    """Return an owner without a bucket and slots: tests share the database."""
    return f"key:{secrets.token_hex(8)}"


async def take(store: Store, owner: str, count: int) -> int:
    # A database may ask to try again while the bucket is made.
    grant = await retry_unavailable(lambda: store.take_tokens(owner, count, **BUCKET))
    return grant.granted


async def test_a_bucket_has_as_many_tokens_as_its_capacity(
    owner: str, store: Store, rival: Store
) -> None:
    first = await store.take_tokens(owner, 20, **BUCKET)
    assert (first.granted, round(first.full_in_us / 1e9)) == (20, 20)

    assert [await take(one, owner, 15) for one in (rival, store, rival)] == [15, 15, 10]
    assert await take(rival, owner, 15) == 0
    assert (await store.take_tokens(f"{owner}2", 60, **BUCKET)).granted == 60


async def test_returned_tokens_can_be_taken(owner: str, store: Store) -> None:
    await take(store, owner, 60)

    await store.return_tokens(owner, 5, interval_us=1_000_000_000)

    assert await take(store, owner, 60) == 5


async def test_processes_that_take_tokens_at_once_take_no_token_twice(
    owner: str, store: Store, rival: Store
) -> None:
    taken = await asyncio.gather(*(take(one, owner, 7) for one in (store, rival) * 8))

    assert 53 < sum(taken) <= 60


async def test_an_owner_has_as_many_slots_as_its_limit(
    owner: str, store: Store, rival: Store
) -> None:
    taken = [
        await one.take_slot(owner, 2, token, None)
        for one, token in ((store, "a"), (rival, "b"), (store, "c"))
    ]

    assert taken == [True, True, False]
    assert await store.take_slot(f"{owner}2", 1, "d", None)
    await store.free_slot(owner, "b")
    assert await store.take_slot(owner, 2, "e", None)


async def test_a_slot_is_taken_while_its_run_has_a_lease(owner: str, store: Store) -> None:
    driven, waiting = await leased(store), await queued(store)
    for token, run in (("a", driven.run), ("b", waiting)):
        assert await store.take_slot(owner, 2, token, None)
        await store.fill_slot(owner, token, run)

    assert await store.take_slot(owner, 2, "c", None)
    assert not await store.take_slot(owner, 2, "d", None)


async def test_a_run_has_one_slot(owner: str, store: Store, rival: Store) -> None:
    run = await queued(store)

    assert await store.take_slot(owner, 9, "a", run)
    assert not await rival.take_slot(owner, 9, "b", run)
    await store.fill_slot(owner, "a", run)

    assert await rival.take_slot(owner, 9, "c", run)
    assert not await store.take_slot(owner, 1, "d", None)


@pytest.mark.parametrize("has_rows", [False, True])
async def test_processes_that_take_slots_at_once_do_not_pass_the_limit(
    owner: str, store: Store, rival: Store, has_rows: bool
) -> None:
    for number in range(3 * has_rows):
        await store.take_slot(owner, 3, f"old{number}", None)
        await store.free_slot(owner, f"old{number}")

    tries = [one.take_slot(owner, 3, f"t{n}", None) for n, one in enumerate((store, rival) * 6)]

    assert 1 <= sum(await asyncio.gather(*tries)) <= 3
