"""Token buckets in the memory of one process."""

from tests.web.doubles import Clock
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
