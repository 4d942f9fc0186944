"""Token buckets by key."""

from tests.web.doubles import Clock
from twelvefold.web.http.client_address import TrustedAddresses, client_of
from twelvefold.web.http.token_buckets import TokenBuckets


def test_a_bucket_is_emptied_and_fills_up_again() -> None:
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

    assert [buckets.take("a"), buckets.left("a")] == [0, 0]


def test_full_buckets_are_forgotten() -> None:
    clock = Clock()
    buckets = TokenBuckets(60, 1, clock=clock)
    for number in range(100):
        buckets.take(str(number))

    clock.now += 61
    buckets.take("a")

    assert len(buckets) == 1


def test_there_are_never_more_than_so_many() -> None:
    buckets = TokenBuckets(60, 1, most_keys=10, clock=Clock())

    for number in range(100):
        buckets.take(str(number))

    assert len(buckets) == 10


def test_a_client_is_an_address_or_a_network_of_ipv6() -> None:
    assert client_of("203.0.113.7") == "203.0.113.7"
    assert client_of("::ffff:203.0.113.7") == "203.0.113.7"
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:2") == "2001:db8::/64"
    assert client_of("fe80::1%eth0") == "fe80::/64"
    assert len(client_of("x" * 1_000)) == 64


def test_trusted_addresses_are_compared_as_addresses() -> None:
    trusted = TrustedAddresses(("10.0.0.0/8", "192.0.2.1", "2001:db8::/32"))

    assert all(one in trusted for one in ("10.1.2.3", "::ffff:192.0.2.1", "2001:db8::5"))
    assert not any(one in trusted for one in ("11.0.0.1", "192.0.2.2", "", "nonsense"))
