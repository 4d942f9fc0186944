"""Token buckets and the rate limit of requests."""

import pytest

from tests.web.doubles import Clock
from twelvefold.web.http.admission import RateLimiter
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.token_buckets import TokenBuckets


def test_a_bucket_refills() -> None:
    clock = Clock()
    buckets = TokenBuckets(2, 0.5, clock=clock)

    assert [buckets.take("a") for _ in range(3)] == [0, 0, 2.0]
    clock.now += 1
    assert buckets.take("a") == 1.0
    clock.now += 1
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0


def test_a_token_that_is_given_back_can_be_taken() -> None:
    buckets = TokenBuckets(1, 1, clock=Clock())
    buckets.take("a")

    buckets.give_back("a")
    buckets.give_back("a")

    assert [buckets.take("a"), buckets.available("a")] == [0, 0]


def test_full_buckets_are_dropped() -> None:
    clock = Clock()
    buckets = TokenBuckets(60, 1, clock=clock)
    for number in range(100):
        buckets.take(str(number))

    clock.now += 61
    buckets.take("a")

    assert len(buckets) == 1


def test_the_number_of_buckets_is_limited() -> None:
    buckets = TokenBuckets(60, 1, max_keys=10, clock=Clock())

    for number in range(100):
        buckets.take(str(number))

    assert len(buckets) == 10


def test_a_minutes_requests_may_come_at_once_and_then_evenly() -> None:
    clock = Clock()
    rate = RateLimiter(2, clock)

    assert rate.take("k") == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
    }
    rate.take("k")
    with pytest.raises(ApiError, match="the limit is 2 requests a minute") as caught:
        rate.take("k")
    assert caught.value.status == 429
    assert caught.value.headers["retry-after"] == "30"
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    clock.now += 30
    rate.take("k")


def test_each_key_has_its_own_limit() -> None:
    rate = RateLimiter(1, Clock())

    rate.take("a")
    rate.take("b")

    with pytest.raises(ApiError):
        rate.take("a")


def test_without_a_limit_nothing_is_counted() -> None:
    rate = RateLimiter(None, Clock())

    assert [rate.take("k") for _ in range(3)] == [{}, {}, {}]
