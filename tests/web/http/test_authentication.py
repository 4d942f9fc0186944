"""Authentication by API key, or by origin while there is no key."""

import logging
from dataclasses import replace

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from tests.web.doubles import BEARER, OTHER, TOKEN, Clock, Keys, api_key
from twelvefold.config import Settings
from twelvefold.core.ports import DEFAULT_SCOPES, Principal
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
from twelvefold.web.http.permissions import require_admin

ANN = Caller(Principal("ann"), "key-1", DEFAULT_SCOPES)
ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound
HOME = {"host": "localhost:8000"}


@pytest.fixture
def keys_clock() -> tuple[Keys, Clock]:
    return Keys(), Clock()


async def authenticator_for(keys: Keys) -> Authenticator:
    return await Authenticator.create(keys.store, Settings())


async def rejection(authenticator: Authenticator, headers: dict[str, str]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await authenticator.authenticate(Headers(headers))
    return caught.value


async def test_a_key_identifies_its_principal() -> None:
    authenticator = await authenticator_for(Keys([api_key(), api_key(OTHER, "bob", "key-2")]))

    assert await authenticator.authenticate(Headers(BEARER)) == ANN
    assert (
        await authenticator.authenticate(Headers({"authorization": f"bearer {OTHER}"}))
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
async def test_a_request_without_a_valid_key_is_401(given: dict[str, str]) -> None:
    error = await rejection(await authenticator_for(Keys([api_key()])), {**HOME, **given})

    assert (error.status, error.code) == (401, "invalid_api_key")
    assert error.headers["www-authenticate"] == 'Bearer realm="twelvefold"'
    assert TOKEN not in str(error)


async def test_a_malformed_key_causes_no_query() -> None:
    keys = Keys([api_key()])
    authenticator = await authenticator_for(keys)
    queries = keys.queries

    await rejection(authenticator, {"authorization": "Bearer nonsense"})

    assert keys.queries == queries


async def test_a_key_is_cached() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)

    for _ in range(5):
        await authenticator.authenticate(Headers(BEARER))
    assert keys.queries == 1
    clock.now += CACHE_TTL_S + 0.1
    await authenticator.authenticate(Headers(BEARER))
    assert keys.queries == 2


async def test_a_principal_has_the_key_of_its_request() -> None:
    authenticator = Authenticator(Keys([api_key()]).store, is_open=False)

    caller = await authenticator.authenticate(Headers(BEARER))

    assert (caller.principal.id, caller.principal.key_id) == ("ann", caller.key)


async def test_a_revoked_key_is_rejected_after_the_cache_expires() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    await authenticator.authenticate(Headers(BEARER))
    keys.revoked.add("key-1")

    assert await authenticator.authenticate(Headers(BEARER)) == ANN
    clock.now += CACHE_TTL_S + 0.1
    assert (await rejection(authenticator, BEARER)).status == 401
    assert (await rejection(authenticator, BEARER)).status == 401


async def test_without_the_database_no_key_is_valid() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    await authenticator.authenticate(Headers(BEARER))
    clock.now += CACHE_TTL_S + 0.1
    keys.is_unavailable = True

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await authenticator.authenticate(Headers(BEARER))


async def test_without_any_key_local_requests_are_accepted_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        authenticator = await authenticator_for(Keys())

    assert await authenticator.authenticate(Headers(HOME)) == Caller(LOCAL, "")
    assert await authenticator.authenticate(Headers({**HOME, "authorization": "Bearer sk-any"}))
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
async def test_without_any_key_other_requests_are_403(headers: dict[str, str]) -> None:
    error = await rejection(await authenticator_for(Keys()), headers)

    assert (error.status, error.code) == (403, "no_api_key")
    assert "twelvefold keys create" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "localhost", "app.localhost:1"])
async def test_without_any_key_the_page_itself_is_accepted(host: str) -> None:
    authenticator = await authenticator_for(Keys())

    for site in ("same-origin", "none"):
        own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": site}
        assert await authenticator.authenticate(Headers(own))


async def test_the_first_key_ends_open_access() -> None:
    keys, clock = Keys(), Clock()
    authenticator = Authenticator(keys.store, is_open=True, clock=clock)
    keys.has.append(api_key())

    await authenticator.authenticate(Headers(HOME))
    clock.now += CACHE_TTL_S + 0.1

    assert (await rejection(authenticator, HOME)).status == 401
    assert await authenticator.authenticate(Headers(BEARER)) == ANN


async def test_the_first_key_is_valid_immediately() -> None:
    keys = Keys()
    authenticator = Authenticator(keys.store, is_open=True, clock=Clock())
    assert await authenticator.authenticate(Headers({**HOME, **BEARER})) == Caller(LOCAL, "")
    keys.has.append(api_key())

    assert await authenticator.authenticate(Headers({**HOME, **BEARER})) == ANN
    assert (await rejection(authenticator, HOME)).status == 401


async def test_the_checks_for_a_first_key_are_limited() -> None:
    keys, clock = Keys(), Clock()
    authenticator = Authenticator(keys.store, is_open=True, clock=clock)

    for number in range(1_000):
        shown = {**HOME, "authorization": f"Bearer tw_{number:043}"}
        assert await authenticator.authenticate(Headers(shown)) == Caller(LOCAL, "")

    assert keys.queries == LOOKUP_LIMITS.client_failures


async def test_a_client_that_tries_keys_is_429_and_others_are_not() -> None:
    store = Keys([api_key()]).store
    limits = replace(LOOKUP_LIMITS, rejection_delay_s=0)
    authenticator = Authenticator(store, is_open=False, clock=Clock(), limits=limits)
    for number in range(LOOKUP_LIMITS.client_failures):
        tried = Headers({"authorization": f"Bearer tw_{number:043}"})
        with pytest.raises(ApiError, match="incorrect API key"):
            await authenticator.authenticate(tried, "2001:db8::1")

    with pytest.raises(ApiError) as caught:
        await authenticator.authenticate(
            Headers({"authorization": f"Bearer {OTHER}"}), "2001:db8::2"
        )

    assert caught.value.status == 429
    assert await authenticator.authenticate(Headers(BEARER), "203.0.113.7") == ANN
    assert await authenticator.authenticate(Headers(BEARER), "2001:db8::2") == ANN


async def test_revoking_the_last_key_does_not_open_access() -> None:
    keys = Keys([api_key()], revoked={"key-1"})

    assert (await rejection(await authenticator_for(keys), HOME)).status == 401


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.0.2.1", "example.org"])
async def test_a_server_without_a_key_listens_only_on_loopback(host: str) -> None:
    with pytest.raises(SettingsError, match=r"HOST: .* no API key; run `twelvefold keys create"):
        await Authenticator.create(Keys().store, Settings(host=host))

    await Authenticator.create(Keys([api_key()]).store, Settings(host=host))


async def test_a_server_without_a_key_trusts_no_proxy() -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES: a proxy forwards requests of others"):
        await Authenticator.create(Keys().store, Settings(trusted_proxies=("127.0.0.1",)))


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
def test_loopback_hosts_are_recognised(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_key_is_stored_as_its_sha256() -> None:
    assert hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_handler_rejects_a_request_that_was_not_authenticated() -> None:
    with pytest.raises(ApiError) as caught:
        principal_of(Request({"type": "http", "headers": []}))

    assert caught.value.status == 401
    assert principal_of(request_of("POST", ANN)) == Principal("ann")


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        (ANN, "missing_scope"),
        (replace(ANN, scopes=("admin",), workflows=("shop",)), "workflow_not_allowed"),
        (replace(ANN, scopes=("admin",), tools=("buy",)), "workflow_not_allowed"),
    ],
)
def test_only_a_key_with_the_scope_and_without_limits_is_an_operators(
    caller: Caller, code: str
) -> None:
    with pytest.raises(ApiError) as caught:
        require_admin(request_of("GET", caller))

    assert (caught.value.status, caught.value.code) == (403, code)
    operator = replace(ANN, scopes=("admin",))
    assert require_admin(request_of("POST", operator)) == operator


def request_of(method: str, caller: Caller) -> Request:
    state = {"caller": caller}
    return Request({"type": "http", "method": method, "headers": [], "state": state})


async def test_a_key_is_limited_to_its_scopes() -> None:
    authenticator = await authenticator_for(Keys([api_key(scopes=("approve",))]))
    caller = await authenticator.authenticate(Headers(BEARER))

    with pytest.raises(ApiError, match="does not have the scope 'runs'") as caught:
        principal_of(request_of("POST", caller))

    assert (caught.value.status, caught.value.code) == (403, "missing_scope")
    assert principal_of(request_of("POST", caller), "approve") == Principal("ann")
    assert principal_of(request_of("GET", caller)) == Principal("ann")


async def test_an_expired_key_is_401_with_the_reason(keys_clock: tuple[Keys, Clock]) -> None:
    keys, clock = keys_clock
    keys.has = [replace(api_key(), expires_at_us=60_000_000)]
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    assert await authenticator.authenticate(Headers(BEARER)) == ANN

    keys.now_us = 60_000_000
    clock.now += 60
    error = await rejection(authenticator, BEARER)

    assert (error.status, error.code) == (401, "expired_api_key")
    assert "this API key has expired" in str(error)
    assert error.headers["www-authenticate"] == 'Bearer realm="twelvefold"'


async def test_a_cached_key_ends_at_its_expiry(keys_clock: tuple[Keys, Clock]) -> None:
    keys, clock = keys_clock
    keys.has = [replace(api_key(), expires_at_us=500_000)]
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    await authenticator.authenticate(Headers(BEARER))
    queries = keys.queries

    clock.now += 0.4
    await authenticator.authenticate(Headers(BEARER))
    clock.now += 0.1
    error = await rejection(authenticator, BEARER)

    assert (error.code, keys.queries) == ("expired_api_key", queries)


async def test_the_secret_before_a_rotation_works_until_the_overlap_ends(
    keys_clock: tuple[Keys, Clock],
) -> None:
    keys, clock = keys_clock
    rotated = replace(api_key(OTHER), old_sha256=hash_of(TOKEN), old_until_us=1_000_000)
    keys.has = [rotated]
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)

    assert await authenticator.authenticate(Headers(BEARER)) == ANN
    clock.now += 1
    error = await rejection(authenticator, BEARER)

    assert (error.status, error.code) == (401, "expired_api_key")
    assert "rotated" in str(error)
    new = {"authorization": f"Bearer {OTHER}"}
    assert (await authenticator.authenticate(Headers(new))).key == ANN.key


async def test_a_caller_has_the_limits_of_its_key() -> None:
    keys = Keys([replace(api_key(), workflows=("shop",), tools=("look",))])
    authenticator = await authenticator_for(keys)

    caller = await authenticator.authenticate(Headers(BEARER))

    assert (caller.workflows, caller.tools) == (("shop",), ("look",))
    assert [caller.allows_workflow(name) for name in ("shop", "desk", "")] == [True, False, True]
