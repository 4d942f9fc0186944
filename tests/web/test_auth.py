"""Who is let in: by a key, or, while there is none, from the same machine."""

import logging
from dataclasses import replace

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from tests.web.doubles import BEARER, OTHER, TOKEN, Clock, Keys, api_key
from twelvefold.config import Settings
from twelvefold.core.ports import Principal
from twelvefold.errors import SettingsError, StoreUnavailable
from twelvefold.web.http.authentication import (
    CACHE_TTL_S,
    LOCAL,
    LOOKUP_LIMITS,
    Authenticator,
    Caller,
    hash_of,
    is_loopback,
    principal_of,
)
from twelvefold.web.http.errors import ApiError

ANN = Caller(Principal("ann"), "key-1")
ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound
HOME = {"host": "localhost:8000"}


async def open_doors(keys: Keys) -> Authenticator:
    return await Authenticator.of(keys.store, Settings())


async def refused(authenticator: Authenticator, headers: dict[str, str]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await authenticator.caller(Headers(headers))
    return caught.value


async def test_a_key_says_on_whose_behalf() -> None:
    authenticator = await open_doors(Keys([api_key(), api_key(OTHER, "bob", "key-2")]))

    assert await authenticator.caller(Headers(BEARER)) == ANN
    assert (
        await authenticator.caller(Headers({"authorization": f"bearer {OTHER}"}))
    ).key == "key-2"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer sk-proj-123"},
        {"authorization": f"Bearer {OTHER}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer tw_\xe9"},
        {"api-key": TOKEN},
    ],
    ids=str,
)
async def test_anything_else_is_401_and_says_how(given: dict[str, str]) -> None:
    error = await refused(await open_doors(Keys([api_key()])), {**HOME, **given})

    assert (error.status, error.code) == (401, "invalid_api_key")
    assert error.headers["www-authenticate"] == 'Bearer realm="twelvefold"'
    assert TOKEN not in str(error)


async def test_a_malformed_key_costs_no_query() -> None:
    keys = Keys([api_key()])
    authenticator = await open_doors(keys)
    asked = keys.asked

    await refused(authenticator, {"authorization": "Bearer nonsense"})

    assert keys.asked == asked


async def test_a_key_is_looked_up_once_in_a_while() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)

    for _ in range(5):
        await authenticator.caller(Headers(BEARER))
    assert keys.asked == 1
    clock.now += CACHE_TTL_S + 0.1
    await authenticator.caller(Headers(BEARER))
    assert keys.asked == 2


async def test_a_revoked_key_ends_within_seconds() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    await authenticator.caller(Headers(BEARER))
    keys.revoked.add("key-1")

    assert await authenticator.caller(Headers(BEARER)) == ANN
    clock.now += CACHE_TTL_S + 0.1
    assert (await refused(authenticator, BEARER)).status == 401
    assert (await refused(authenticator, BEARER)).status == 401


async def test_a_key_that_cannot_be_looked_up_lets_nobody_in() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    await authenticator.caller(Headers(BEARER))
    clock.now += CACHE_TTL_S + 0.1
    keys.is_away = True

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await authenticator.caller(Headers(BEARER))


async def test_without_any_key_this_machine_is_let_in_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        authenticator = await open_doors(Keys())

    assert await authenticator.caller(Headers(HOME)) == Caller(LOCAL, "")
    assert await authenticator.caller(Headers({**HOME, "authorization": "Bearer sk-any"}))
    assert [record.getMessage() for record in caplog.records] == ["open_without_key"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8000"},
        {},
        {**HOME, "origin": "https://evil.example"},
        {**HOME, "origin": "null"},
        {**HOME, "origin": "http://localhost:9999"},
        {**HOME, "x-forwarded-for": "203.0.113.7"},
        {**HOME, "via": "1.1 proxy"},
        {**HOME, "host": "["},
        {**HOME, "origin": "http://["},
        {**HOME, "forwarded": "for=203.0.113.7"},
        {**HOME, "sec-fetch-site": "cross-site"},
        {**HOME, "sec-fetch-site": "same-site"},
        {**HOME, "sec-fetch-site": "Cross-Site", "origin": "http://localhost:8000"},
        {**HOME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {**HOME, "sec-fetch-site": ""},
    ],
    ids=str,
)
async def test_without_any_key_a_stranger_is_kept_out(headers: dict[str, str]) -> None:
    error = await refused(await open_doors(Keys()), headers)

    assert (error.status, error.code) == (403, "no_api_key")
    assert "twelvefold keys create" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "localhost", "app.localhost:1"])
async def test_without_any_key_the_own_page_is_let_in(host: str) -> None:
    authenticator = await open_doors(Keys())

    for site in ("same-origin", "none"):
        own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": site}
        assert await authenticator.caller(Headers(own))


async def test_the_first_key_closes_the_door() -> None:
    keys, clock = Keys(), Clock()
    authenticator = Authenticator(keys.store, is_open=True, clock=clock)
    keys.has.append(api_key())

    await authenticator.caller(Headers(HOME))
    clock.now += CACHE_TTL_S + 0.1

    assert (await refused(authenticator, HOME)).status == 401
    assert await authenticator.caller(Headers(BEARER)) == ANN


async def test_who_shows_the_first_key_is_its_principal_at_once() -> None:
    keys = Keys()
    authenticator = Authenticator(keys.store, is_open=True, clock=Clock())
    assert await authenticator.caller(Headers({**HOME, **BEARER})) == Caller(LOCAL, "")
    keys.has.append(api_key())

    assert await authenticator.caller(Headers({**HOME, **BEARER})) == ANN
    assert (await refused(authenticator, HOME)).status == 401


async def test_a_key_that_is_shown_is_looked_for_so_often_while_there_is_none() -> None:
    keys, clock = Keys(), Clock()
    authenticator = Authenticator(keys.store, is_open=True, clock=clock)

    for number in range(1_000):
        shown = {**HOME, "authorization": f"Bearer tw_{number:043}"}
        assert await authenticator.caller(Headers(shown)) == Caller(LOCAL, "")

    assert keys.asked == LOOKUP_LIMITS.client_failures


async def test_an_address_that_tries_keys_is_refused_and_others_are_not() -> None:
    store = Keys([api_key()]).store
    authenticator = Authenticator(store, is_open=False, limits=replace(LOOKUP_LIMITS, delay_s=0))
    for number in range(LOOKUP_LIMITS.client_failures):
        tried = Headers({"authorization": f"Bearer tw_{number:043}"})
        with pytest.raises(ApiError, match="incorrect API key"):
            await authenticator.caller(tried, "2001:db8::1")

    with pytest.raises(ApiError) as caught:
        await authenticator.caller(Headers({"authorization": f"Bearer {OTHER}"}), "2001:db8::2")

    assert caught.value.status == 429
    assert await authenticator.caller(Headers(BEARER), "203.0.113.7") == ANN
    assert await authenticator.caller(Headers(BEARER), "2001:db8::2") == ANN


async def test_revoking_the_last_key_does_not_open_the_door() -> None:
    keys = Keys([api_key()], revoked={"key-1"})

    assert (await refused(await open_doors(keys), HOME)).status == 401


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.0.2.1", "example.org"])
async def test_nobody_listens_to_others_without_a_key(host: str) -> None:
    with pytest.raises(SettingsError, match=r"HOST: .* no API key; run `twelvefold keys create"):
        await Authenticator.of(Keys().store, Settings(host=host))

    await Authenticator.of(Keys([api_key()]).store, Settings(host=host))


async def test_nobody_listens_to_a_proxy_without_a_key() -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES: a proxy lets others in"):
        await Authenticator.of(Keys().store, Settings(trusted_proxies=("127.0.0.1",)))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        (ANYWHERE, False),
        ("::", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_key_is_kept_as_its_sha256() -> None:
    assert hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_handler_that_nobody_stands_before_lets_nobody_in() -> None:
    with pytest.raises(ApiError) as caught:
        principal_of(Request({"type": "http", "headers": []}))

    assert caught.value.status == 401
    assert principal_of(asking("POST", ANN)) == Principal("ann")


def asking(method: str, caller: Caller) -> Request:
    state = {"caller": caller}
    return Request({"type": "http", "method": method, "headers": [], "state": state})


async def test_a_key_may_do_only_what_its_scopes_say() -> None:
    authenticator = await open_doors(Keys([api_key(scopes=("approve",))]))
    caller = await authenticator.caller(Headers(BEARER))

    with pytest.raises(ApiError, match="does not have the scope 'runs'") as caught:
        principal_of(asking("POST", caller))

    assert (caught.value.status, caught.value.code) == (403, "missing_scope")
    assert principal_of(asking("POST", caller), "approve") == Principal("ann")
    assert principal_of(asking("GET", caller)) == Principal("ann")
