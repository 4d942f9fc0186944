"""Unknown keys cost a bounded number of lookups, and nothing to those who have a key."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.web.doubles import Clock, api_key
from twelvefold.core.ports import ApiKey, Store
from twelvefold.errors import StoreUnavailable
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.key_lookups import KeyLookups, LookupLimits

ANN = api_key()
LIMITS = LookupLimits(client_failures=5, failures=12, most_keys=10, delay_s=0)


@dataclass
class Keys:
    """A store of keys. While `gate` is closed it answers for nobody but those in `quick`."""

    has: list[ApiKey] = field(default_factory=lambda: [ANN])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    quick: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    is_away: bool = False

    async def find_key(self, sha256: str) -> ApiKey | None:
        self.asked.append(sha256)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if sha256 not in self.quick:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.is_away:
            raise StoreUnavailable("gone")
        return next((one for one in self.has if one.sha256 == sha256), None)


def keys(*, is_away: bool = False) -> Keys:
    made = Keys(is_away=is_away)
    made.gate.set()
    return made


def lookups(store: Keys, clock: Clock | None = None, limits: LookupLimits = LIMITS) -> KeyLookups:
    return KeyLookups(cast("Store", store), limits, clock or Clock())


async def refused(looking: KeyLookups, sha256: str, client: str = "a") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await looking.find(sha256, client)
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    return caught.value


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_requests_with_one_key_share_a_lookup() -> None:
    store = Keys()
    looking = lookups(store)
    waiting = [asyncio.create_task(looking.find(ANN.sha256, "a")) for _ in range(20)]
    await turns()

    store.gate.set()

    assert await asyncio.gather(*waiting) == [ANN] * 20
    assert store.asked == [ANN.sha256]


async def test_a_request_that_is_cancelled_leaves_the_lookup_to_the_others() -> None:
    store = Keys()
    looking = lookups(store)
    first, second = [asyncio.create_task(looking.find(ANN.sha256, "a")) for _ in range(2)]
    await turns()
    first.cancel()
    await turns()

    store.gate.set()

    assert await second == ANN


async def test_an_unknown_key_is_remembered_for_a_moment() -> None:
    store, clock = keys(), Clock()
    looking = lookups(store, clock)

    assert [await looking.find("x", "a") for _ in range(50)] == [None] * 50
    assert len(store.asked) == 1
    clock.now += LIMITS.fresh_s + 0.1
    assert await looking.find("x", "a") is None
    assert len(store.asked) == 2


async def test_a_client_may_try_so_many_unknown_keys(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = keys(), Clock()
    looking = lookups(store, clock)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            assert await looking.find(f"x{number}", "a") is None

        errors = [await refused(looking, f"y{number}") for number in range(1_000)]

    assert len(store.asked) == 5
    assert errors[0].headers["retry-after"] == "1"
    assert [one.getMessage() for one in caplog.records] == ["unknown_keys_refused"]
    assert await looking.find("z", "b") is None
    clock.now += 1
    assert await looking.find("z1", "a") is None
    await refused(looking, "z2")


async def test_a_refusal_is_sent_after_a_moment_but_few_wait_for_it() -> None:
    looking = lookups(keys(), limits=LookupLimits(client_failures=1, delay_s=60, delayed=2))
    await looking.find("x", "a")
    delayed = [asyncio.create_task(looking.find(f"y{n}", "a")) for n in range(2)]
    await turns()

    assert not any(one.done() for one in delayed)
    await refused(looking, "z")
    for one in delayed:
        one.cancel()


async def test_all_clients_together_may_try_so_many() -> None:
    store = keys()
    looking = lookups(store)
    for number in range(12):
        assert await looking.find(f"x{number}", f"client-{number}") is None

    for number in range(100):
        await refused(looking, f"y{number}", f"other-{number}")

    assert len(store.asked) == 12


async def test_good_keys_cost_nothing() -> None:
    good = [api_key(f"tw_{number:040}", id=f"key-{number}") for number in range(50)]
    store = keys()
    store.has = good
    looking = lookups(store)

    assert [await looking.find(one.sha256, "a") for one in good] == good


async def test_a_database_that_is_away_costs_nothing() -> None:
    store = keys(is_away=True)
    looking = lookups(store)

    for number in range(50):
        with pytest.raises(StoreUnavailable):
            await looking.find(f"x{number}", "a")


async def test_a_known_key_does_not_wait_behind_unknown_ones() -> None:
    store, clock = keys(), Clock()
    looking = lookups(store, clock)
    assert await looking.find(ANN.sha256, "a") == ANN
    store.gate.clear()
    store.quick = {ANN.sha256}
    flood = [asyncio.create_task(looking.find(f"x{n}", f"client-{n}")) for n in range(12)]
    await turns()
    clock.now += LIMITS.fresh_s + 0.1

    assert await looking.find(ANN.sha256, "a") == ANN
    assert store.most_at_once == LIMITS.concurrency + 1

    store.gate.set()
    assert await asyncio.gather(*flood) == [None] * 12


async def test_few_wait_while_the_database_is_slow() -> None:
    store = Keys()
    looking = lookups(store, limits=LookupLimits(waiting=4, client_waiting=3, delay_s=0))
    waiting = [asyncio.create_task(looking.find(f"x{n}", "a")) for n in range(3)]
    waiting += [asyncio.create_task(looking.find(f"y{n}", "b")) for n in range(3)]
    await turns()

    await refused(looking, "x9", "a")
    await refused(looking, "z", "c")

    assert len(store.asked) == 2
    store.gate.set()
    assert await asyncio.gather(*waiting) == [None] * 6
    assert await looking.find("z", "c") is None


async def test_who_waits_for_a_lookup_too_long_tries_again_later() -> None:
    store = Keys()
    looking = lookups(store, limits=LookupLimits(concurrency=1, wait_s=0.01))
    first = asyncio.create_task(looking.find("x", "a"))
    await turns()

    with pytest.raises(StoreUnavailable, match="too many keys wait"):
        await looking.find("y", "a")

    store.gate.set()
    assert await first is None


async def test_a_key_counts_a_little_longer_while_it_is_looked_up_again() -> None:
    store, clock = keys(), Clock()
    looking = lookups(store, clock)
    await looking.find(ANN.sha256, "a")
    store.gate.clear()
    clock.now += LIMITS.fresh_s + 0.1
    checking = asyncio.create_task(looking.find(ANN.sha256, "a"))
    await turns()

    assert await looking.find(ANN.sha256, "a") == ANN
    clock.now += LIMITS.stale_s - LIMITS.fresh_s
    late = asyncio.create_task(looking.find(ANN.sha256, "a"))
    await turns()
    assert not late.done()

    store.has = []  # revoked
    store.gate.set()
    assert [await checking, await late] == [None, None]
    assert len(store.asked) == 2


async def test_memory_is_bounded() -> None:
    good = [api_key(f"tw_{number:040}", id=f"key-{number}") for number in range(50)]
    store, clock = keys(), Clock()
    store.has = good
    looking = lookups(store, clock)
    for number, one in enumerate(good):
        await looking.find(one.sha256, "a")
        clock.now += 1
        await looking.find(hash_of(str(number)), "a")

    assert (len(looking._known), len(looking._unknown)) == (10, 10)
    assert (len(looking._flights), len(looking._waiting)) == (0, 0)
