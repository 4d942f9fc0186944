"""Lookups of API keys: cached, and bounded for unknown keys."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.web.doubles import Clock, api_key
from twelvefold.core.ports import ApiKey, FoundKey, Store
from twelvefold.errors import StoreUnavailable
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.key_lookups import KeyLookups, LookupLimits

ANN = api_key()
LIMITS = LookupLimits(client_failures=5, failures=12, max_keys=10, rejection_delay_s=0)


@dataclass
class Keys:
    """A store of keys. While `gate` is closed, only lookups of hashes in `quick` return."""

    has: list[ApiKey] = field(default_factory=lambda: [ANN])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    quick: set[str] = field(default_factory=set)
    lookups: list[str] = field(default_factory=list)
    concurrency: int = 0
    max_concurrency: int = 0
    is_unavailable: bool = False

    async def find_key(self, sha256: str) -> FoundKey | None:
        self.lookups.append(sha256)
        self.concurrency += 1
        self.max_concurrency = max(self.max_concurrency, self.concurrency)
        try:
            if sha256 not in self.quick:
                await self.gate.wait()
        finally:
            self.concurrency -= 1
        if self.is_unavailable:
            raise StoreUnavailable("gone")
        return next((FoundKey(one) for one in self.has if one.sha256 == sha256), None)


def keys(*, is_unavailable: bool = False) -> Keys:
    made = Keys(is_unavailable=is_unavailable)
    made.gate.set()
    return made


def lookups_in(
    store: Keys, clock: Clock | None = None, limits: LookupLimits = LIMITS
) -> KeyLookups:
    return KeyLookups(cast("Store", store), limits, clock or Clock())


async def rejected(key_lookups: KeyLookups, sha256: str, client: str = "a") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await found(key_lookups, sha256, client)
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    return caught.value


async def found(key_lookups: KeyLookups, sha256: str, client: str) -> ApiKey | None:
    cached = await key_lookups.find(sha256, client)
    return cached.key if cached else None


async def run_tasks(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_requests_with_one_key_share_a_lookup() -> None:
    store = Keys()
    key_lookups = lookups_in(store)
    waiting = [asyncio.create_task(found(key_lookups, ANN.sha256, "a")) for _ in range(20)]
    await run_tasks()

    store.gate.set()

    assert await asyncio.gather(*waiting) == [ANN] * 20
    assert store.lookups == [ANN.sha256]


async def test_a_cancelled_request_does_not_cancel_the_shared_lookup() -> None:
    store = Keys()
    key_lookups = lookups_in(store)
    first, second = [asyncio.create_task(found(key_lookups, ANN.sha256, "a")) for _ in range(2)]
    await run_tasks()
    first.cancel()
    await run_tasks()

    store.gate.set()

    assert await second == ANN


async def test_an_unknown_key_is_cached() -> None:
    store, clock = keys(), Clock()
    key_lookups = lookups_in(store, clock)

    assert [await found(key_lookups, "x", "a") for _ in range(50)] == [None] * 50
    assert len(store.lookups) == 1
    clock.now += LIMITS.fresh_s + 0.1
    assert await found(key_lookups, "x", "a") is None
    assert len(store.lookups) == 2


async def test_unknown_keys_of_one_client_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = keys(), Clock()
    key_lookups = lookups_in(store, clock)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            assert await found(key_lookups, f"x{number}", "a") is None

        errors = [await rejected(key_lookups, f"y{number}") for number in range(1_000)]

    assert len(store.lookups) == 5
    assert errors[0].headers["retry-after"] == "1"
    assert [one.getMessage() for one in caplog.records] == ["unknown_keys_refused"]
    assert await found(key_lookups, "z", "b") is None
    clock.now += 1
    assert await found(key_lookups, "z1", "a") is None
    await rejected(key_lookups, "z2")


async def test_rejections_are_delayed_up_to_a_number() -> None:
    key_lookups = lookups_in(
        keys(), limits=LookupLimits(client_failures=1, rejection_delay_s=60, max_delayed=2)
    )
    await found(key_lookups, "x", "a")
    delayed = [asyncio.create_task(found(key_lookups, f"y{n}", "a")) for n in range(2)]
    await run_tasks()

    assert not any(one.done() for one in delayed)
    await rejected(key_lookups, "z")
    for one in delayed:
        one.cancel()


async def test_unknown_keys_of_all_clients_are_limited() -> None:
    store = keys()
    key_lookups = lookups_in(store)
    for number in range(12):
        assert await found(key_lookups, f"x{number}", f"client-{number}") is None

    for number in range(100):
        await rejected(key_lookups, f"y{number}", f"other-{number}")

    assert len(store.lookups) == 12


async def test_valid_keys_take_no_token() -> None:
    good = [api_key(f"tw_{number:040}", id=f"key-{number}") for number in range(50)]
    store = keys()
    store.has = good
    key_lookups = lookups_in(store)

    assert [await found(key_lookups, one.sha256, "a") for one in good] == good


async def test_an_unavailable_database_takes_no_token() -> None:
    store = keys(is_unavailable=True)
    key_lookups = lookups_in(store)

    for number in range(50):
        with pytest.raises(StoreUnavailable):
            await found(key_lookups, f"x{number}", "a")


async def test_a_cached_key_does_not_wait_for_unknown_ones() -> None:
    store, clock = keys(), Clock()
    key_lookups = lookups_in(store, clock)
    assert await found(key_lookups, ANN.sha256, "a") == ANN
    store.gate.clear()
    store.quick = {ANN.sha256}
    flood = [asyncio.create_task(found(key_lookups, f"x{n}", f"client-{n}")) for n in range(12)]
    await run_tasks()
    clock.now += LIMITS.fresh_s + 0.1

    assert await found(key_lookups, ANN.sha256, "a") == ANN
    assert store.max_concurrency == LIMITS.concurrency + 1

    store.gate.set()
    assert await asyncio.gather(*flood) == [None] * 12


async def test_waiting_lookups_are_limited() -> None:
    store = Keys()
    key_lookups = lookups_in(
        store, limits=LookupLimits(max_waiting=4, client_max_waiting=3, rejection_delay_s=0)
    )
    waiting = [asyncio.create_task(found(key_lookups, f"x{n}", "a")) for n in range(3)]
    waiting += [asyncio.create_task(found(key_lookups, f"y{n}", "b")) for n in range(3)]
    await run_tasks()

    await rejected(key_lookups, "x9", "a")
    await rejected(key_lookups, "z", "c")

    assert len(store.lookups) == 2
    store.gate.set()
    assert await asyncio.gather(*waiting) == [None] * 6
    assert await found(key_lookups, "z", "c") is None


async def test_a_lookup_that_waits_too_long_fails() -> None:
    store = Keys()
    key_lookups = lookups_in(store, limits=LookupLimits(concurrency=1, wait_s=0.01))
    first = asyncio.create_task(found(key_lookups, "x", "a"))
    await run_tasks()

    with pytest.raises(StoreUnavailable, match="too many API keys wait"):
        await found(key_lookups, "y", "a")

    store.gate.set()
    assert await first is None


async def test_a_key_stays_valid_for_a_moment_while_it_is_refreshed() -> None:
    store, clock = keys(), Clock()
    key_lookups = lookups_in(store, clock)
    await found(key_lookups, ANN.sha256, "a")
    store.gate.clear()
    clock.now += LIMITS.fresh_s + 0.1
    checking = asyncio.create_task(found(key_lookups, ANN.sha256, "a"))
    await run_tasks()

    assert await found(key_lookups, ANN.sha256, "a") == ANN
    clock.now += LIMITS.stale_s - LIMITS.fresh_s
    late = asyncio.create_task(found(key_lookups, ANN.sha256, "a"))
    await run_tasks()
    assert not late.done()

    store.has = []  # revoked
    store.gate.set()
    assert [await checking, await late] == [None, None]
    assert len(store.lookups) == 2


async def test_memory_is_bounded() -> None:
    good = [api_key(f"tw_{number:040}", id=f"key-{number}") for number in range(50)]
    store, clock = keys(), Clock()
    store.has = good
    key_lookups = lookups_in(store, clock)
    for number, one in enumerate(good):
        await found(key_lookups, one.sha256, "a")
        clock.now += 1
        await found(key_lookups, hash_of(str(number)), "a")

    assert (len(key_lookups._known), len(key_lookups._unknown_until)) == (10, 10)
    assert (len(key_lookups._tasks), len(key_lookups._waiting)) == (0, 0)
