"""The rate limit of requests, over all processes."""

import asyncio

import pytest

from tests.engine.stage import Stage
from tests.web.doubles import Clock
from twelvefold.services.store.sqlite.store import SQLiteStore
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.rate_limit import Rate, RateLimiter

K = [Rate("key:k", 2)]


class Fleet:
    """Processes on one database, whose clock a test moves."""

    def __init__(self, store: SQLiteStore) -> None:
        self.store, self.clock = store, Clock()
        self.statements = 0
        self.wait(0)
        take_tokens = store.take_tokens

        async def counted(*args: object, **more: object) -> object:
            self.statements += 1
            return await take_tokens(*args, **more)  # type: ignore[arg-type]

        store.take_tokens = counted  # type: ignore[method-assign, assignment]

    def process(self, **limits: int) -> RateLimiter:
        return RateLimiter(self.store, **limits, clock=self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.store.use_clock(1_000_000_000_000 + round(self.clock.now * 1e6))


@pytest.fixture
def fleet(stage: Stage) -> Fleet:
    return Fleet(stage.process().store)  # type: ignore[arg-type]


async def admitted(process: RateLimiter, rates: list[Rate], requests: int) -> int:
    """Return how many of these requests are admitted."""
    count = 0
    for _ in range(requests):
        try:
            await process.take(rates)
        except ApiError:
            continue
        count += 1
    return count


async def rejection(process: RateLimiter, rates: list[Rate]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await process.take(rates)
    return caught.value


async def test_a_minutes_requests_may_come_at_once_and_then_evenly(fleet: Fleet) -> None:
    rate = fleet.process()

    assert await rate.take(K) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
    }
    await rate.take(K)
    error = await rejection(rate, K)

    assert str(error) == "the limit is 2 requests a minute for one key"
    assert (error.status, error.headers["retry-after"]) == (429, "30")
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    fleet.wait(30)
    await rate.take(K)


async def test_the_time_of_retry_after_is_true(fleet: Fleet) -> None:
    rates, rate = [Rate("key:k", 600)], fleet.process()
    assert await admitted(rate, rates, 601) == 600

    wait_s = int((await rejection(rate, rates)).headers["retry-after"])
    fleet.wait(0.05)
    await rejection(rate, rates)
    fleet.wait(wait_s - 0.05)

    assert await admitted(rate, rates, 1) == 1


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600])
async def test_processes_share_the_limit(fleet: Fleet, per_minute: int) -> None:
    rates, processes = [Rate("key:k", per_minute)], [fleet.process() for _ in range(4)]
    total = 0
    for _ in range(3):
        total += sum([await admitted(one, rates, per_minute) for one in processes])
        fleet.wait(60)

    # The bucket is full at first: a minute's requests, and those of two minutes after it.
    assert total == 3 * per_minute


async def test_few_requests_write(fleet: Fleet) -> None:
    rates, rate = [Rate("key:k", 600)], fleet.process()

    assert await admitted(rate, rates, 300) == 300

    assert fleet.statements == 300 // rates[0].lease_size == 10


async def test_rejections_write_nothing(fleet: Fleet) -> None:
    rate = fleet.process()
    await admitted(rate, K, 3)
    statements = fleet.statements

    assert await admitted(rate, K, 100) == 0

    assert fleet.statements == statements


async def test_unused_tokens_are_returned(fleet: Fleet) -> None:
    rates, one, two = [Rate("key:k", 60)], fleet.process(), fleet.process()
    assert await admitted(one, rates, 1) == 1
    fleet.wait(0.5)

    await one.return_unused(idle_s=0.5)

    assert await admitted(two, rates, 100) == 59


async def test_tokens_in_use_are_kept(fleet: Fleet) -> None:
    rates, one, two = [Rate("key:k", 60)], fleet.process(), fleet.process()
    assert await admitted(one, rates, 1) == 1

    await one.return_unused(idle_s=0.5)

    assert await admitted(two, rates, 100) == 57


async def test_a_rejected_request_counts_against_no_limit(fleet: Fleet) -> None:
    rate = fleet.process()
    both = [Rate("principal:p", 5), Rate("key:k", 1)]

    assert await admitted(rate, both, 3) == 1

    assert await admitted(rate, both[:1], 9) == 4


async def test_the_headers_are_those_of_the_tightest_limit(fleet: Fleet) -> None:
    headers = await fleet.process().take([Rate("principal:p", 2), Rate("key:k", 9)])

    assert headers["x-ratelimit-limit-requests"] == "2"


async def test_requests_at_once_take_tokens_once(fleet: Fleet) -> None:
    rate = fleet.process()

    await asyncio.gather(*(rate.take([Rate("key:k", 60)]) for _ in range(3)))

    assert fleet.statements == 1


async def test_a_key_has_its_own_limit_before_that_of_the_settings(fleet: Fleet) -> None:
    rate = fleet.process(per_key=5, per_principal=9)

    limits = [rate.limits("é", "key_1", own) for own in (None, 2)]

    assert [[one.per_minute for one in rates] for rates in limits] == [[9, 5], [9, 2]]
    assert [one.owner.partition(":")[0] for one in limits[0]] == ["principal", "key"]
    assert all(len(one.owner) <= 80 and one.owner.isascii() for one in limits[0])


async def test_without_a_limit_nothing_is_counted(fleet: Fleet) -> None:
    rate = fleet.process()

    assert [await rate.take(rate.limits("p", "k", None)) for _ in range(3)] == [{}, {}, {}]
    assert fleet.statements == 0
