"""Selection of the proxy by the environment's variables."""

import pytest

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.http import Proxies

BOTH = Proxies("http://secure:3128", "http://plain:3128")


def test_each_scheme_has_its_proxy() -> None:
    assert BOTH.for_url("https://a.example/v1") == "http://secure:3128"
    assert BOTH.for_url("http://a.example/v1") == "http://plain:3128"
    assert Proxies(http="http://plain:3128").for_url("https://a.example") is None
    assert Proxies().for_url("http://a.example") is None


def test_a_proxy_may_be_named_without_a_scheme() -> None:
    assert Proxies(https="proxy:3128").for_url("https://a.example") == "http://proxy:3128"


@pytest.mark.parametrize("proxy", ["socks5://proxy:1080", "socks5h://proxy:1080", "ftp://proxy"])
def test_an_unsupported_proxy_scheme_is_an_error(proxy: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"HTTPS_PROXY: the proxy scheme .* NO_PROXY"):
        Proxies(https=proxy).for_url("https://a.example")

    assert Proxies(https=proxy, direct="a.example").for_url("https://a.example") is None


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("https://api.example.org/v1", "*"),
        ("https://api.example.org/v1", "api.example.org"),
        ("https://API.example.org/v1", "Api.Example.ORG"),
        ("https://api.example.org/v1", "example.org"),
        ("https://api.example.org/v1", ".example.org"),
        ("https://api.example.org/v1", "*.example.org"),
        ("https://api.example.org/v1", "localhost, other.org , example.org"),
        ("https://api.example.org/v1", "localhost example.org"),
        ("https://api.example.org/v1", "api.example.org:443"),
        ("https://api.example.org:8443/v1", "example.org:8443"),
        ("http://127.0.0.1:8080/v1", "127.0.0.1"),
        ("http://127.0.0.1:8080/v1", "127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1", "127.0.0.0/8"),
        ("http://10.1.2.3/v1", "10.0.0.0/8"),
        ("http://[::1]:8080/v1", "::1"),
        ("http://[::1]:8080/v1", "[::1]"),
        ("http://[::1]:8080/v1", "[::1]:8080"),
        ("http://[::1]:8080/v1", "0:0:0:0:0:0:0:1"),
        ("http://[fd00::5]/v1", "fd00::/8"),
        ("http://localhost:11434/v1", "localhost"),
    ],
)
def test_a_listed_host_needs_no_proxy(url: str, direct: str) -> None:
    proxies = Proxies("http://secure:3128", "http://plain:3128", direct)

    assert proxies.for_url(url) is None


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("https://api.example.org/v1", ""),
        ("https://api.example.org/v1", ","),
        ("https://api.example.org/v1", "."),
        ("https://api.example.org/v1", "example.com"),
        ("https://api.example.org/v1", "ample.org"),
        ("https://api.example.org/v1", "www.api.example.org"),
        ("https://api.example.org/v1", "example.org:8443"),
        ("https://api.example.org/v1", "10.0.0.0/8"),
        ("http://11.1.2.3/v1", "10.0.0.0/8"),
        ("http://127.0.0.1:8080/v1", "localhost"),
        ("http://127.0.0.1:8080/v1", "127.0.0.0/40"),
    ],
)
def test_any_other_host_goes_through_the_proxy(url: str, direct: str) -> None:
    proxies = Proxies("http://secure:3128", "http://plain:3128", direct)

    assert proxies.for_url(url) is not None


def test_the_environments_proxies_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "http_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://secure:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://plain:3128")
    monkeypatch.setenv("NO_PROXY", "a.example")

    assert Proxies.from_environment() == Proxies(
        "http://secure:3128", "http://plain:3128", "a.example"
    )


def test_a_password_of_a_proxy_is_not_shown() -> None:
    assert "hidden" not in repr(Proxies("http://ann:hidden@p:1", "http://ann:hidden@p:1"))
