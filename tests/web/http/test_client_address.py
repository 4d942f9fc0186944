"""Addresses of clients and proxies."""

from twelvefold.web.http.client_address import TrustedAddresses, client_of


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
