"""The ledger of releases, and the schema that they were deployed on, on every database."""

import asyncio
from dataclasses import replace

from twelvefold.core.ports import Release, Schema, Store
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.migrate import HEAD

FIRST = Release("r1", "1.0.0", "ab" * 20, HEAD, "0002")


async def test_releases_are_listed_newest_first(store: Store, rival: Store) -> None:
    second = replace(FIRST, id="é" * 255, version="1.1.0", commit="")

    assert await store.add_release(FIRST) is True
    assert await rival.add_release(second) is True

    listed = await store.releases(limit=5)
    assert [replace(one, at_us=0) for one in listed] == [second, FIRST]
    assert listed[0].at_us >= listed[1].at_us > 0
    assert await store.releases(limit=1) == listed[:1]


async def test_the_last_release_is_recorded_once(store: Store, rival: Store) -> None:
    await store.add_release(FIRST)

    assert await rival.add_release(FIRST) is False
    assert await rival.add_release(replace(FIRST, version="1.1.0")) is True
    assert await store.add_release(FIRST) is True  # rolled back

    assert [one.version for one in await store.releases(limit=5)] == ["1.0.0", "1.1.0", "1.0.0"]


async def test_concurrent_releases_are_neither_lost_nor_doubled(store: Store, rival: Store) -> None:
    async def add(number: int) -> None:
        while True:
            try:
                await (store, rival)[number % 2].add_release(replace(FIRST, id=f"r{number}"))
                return
            except StoreUnavailable:
                await asyncio.sleep(0.001 * number)

    await asyncio.gather(*map(add, range(8)))

    assert sorted(one.id for one in await store.releases(limit=9)) == [f"r{n}" for n in range(8)]


async def test_a_schema_serves_the_levels_that_its_releases_recorded(store: Store) -> None:
    assert await store.schema() == Schema(HEAD, HEAD)

    await store.add_release(FIRST)

    assert await store.schema() == Schema(HEAD, "0002")
    await store.add_release(replace(FIRST, level="9999", serves="9999"))
    assert await store.schema() == Schema(HEAD, "0002")
