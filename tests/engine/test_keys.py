"""API keys are random, shown once, and stored as hashes."""

import hashlib
import logging
import re
from collections.abc import AsyncIterator

import pytest

from tests.builders import finished_release
from twelvefold import Transaction, Workflow, tool
from twelvefold.boot import NoModel, RandomIds
from twelvefold.cli.arguments.keys import SCOPES as PARSER_SCOPES
from twelvefold.core.budget import Limits
from twelvefold.core.ports import DEFAULT_SCOPES, SCOPES, Store
from twelvefold.engine.keys import (
    NO_LIMITS,
    KeyLimits,
    check_limits,
    create_key,
    limit_key,
    revoke_key,
    rotate_key,
)
from twelvefold.engine.services import Services
from twelvefold.errors import MigrationUnfinished, NotFound, RequestError
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import offline_sql


@tool
async def restock(tx: Transaction) -> str:
    """Restock."""
    return ""


SHOP = Workflow("shop", "Sell.", (restock,))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = await open_store("sqlite://")
    await store.run_script(offline_sql("sqlite://"))
    yield store
    await store.close()


@pytest.fixture
def upgraded(store: Store) -> Services:
    """On a database on which an older release may still work."""
    return Services(store, NoModel(), {"shop": SHOP}, RandomIds(), Limits(), "release-7")


@pytest.fixture
async def services(upgraded: Services) -> Services:
    await upgraded.store.add_release(finished_release())
    return upgraded


async def test_a_key_is_found_by_its_hash(store: Store) -> None:
    token, key = await create_key(store, "shop", "ann", DEFAULT_SCOPES)

    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}", token)
    assert await store.find_key(hashlib.sha256(token.encode()).hexdigest()) == (key, None)
    assert (key.name, key.principal, key.scopes) == ("shop", "ann", ("runs", "approve", "signal"))


async def test_the_key_itself_is_not_stored(store: Store) -> None:
    token, key = await create_key(store, "shop", "ann", SCOPES)

    assert token not in repr(key)
    async with store.read() as db:
        assert token not in repr(await db.fetch_all("SELECT * FROM api_keys"))


async def test_keys_are_unique(store: Store) -> None:
    keys = [await create_key(store, f"shop {number}", "ann", SCOPES) for number in range(20)]

    assert len({token for token, _ in keys}) == 20
    assert len({key.id for _, key in keys}) == 20


async def test_scopes_are_stored_once_and_in_order(store: Store) -> None:
    _, key = await create_key(
        store, "shop", "ann", ["admin", "signal", "approve", "runs", "approve"]
    )

    assert key.scopes == SCOPES


async def test_an_unknown_scope_is_an_error(store: Store) -> None:
    with pytest.raises(
        RequestError, match="no scope 'root'; there are runs, approve, signal, admin"
    ):
        await create_key(store, "shop", "ann", ["runs", "root"])

    assert not await store.has_keys()


@pytest.mark.parametrize("name", ["", " ", "ann ", "a\nb", "x" * 256])
async def test_a_key_and_its_principal_have_printable_names(store: Store, name: str) -> None:
    for given, what in ((("shop", name), "principal"), ((name, "ann"), "name")):
        with pytest.raises(RequestError, match=rf"^{what} is .*; use 1 to 255 printable"):
            await create_key(store, *given, SCOPES)

    assert await store.keys(limit=1) == []


async def test_a_name_can_be_used_again_only_after_its_key_is_revoked(store: Store) -> None:
    _, first = await create_key(store, "shop", "ann", SCOPES)

    with pytest.raises(RequestError, match="a key 'shop' exists; revoke it first"):
        await create_key(store, "shop", "bob", SCOPES)
    await store.revoke_key(first.id)

    await create_key(store, "shop", "bob", SCOPES)


def test_the_parser_has_the_same_scopes() -> None:
    """The parser has its own list, so that `--help` does not import the core."""
    assert PARSER_SCOPES == SCOPES


async def test_limits_need_names_that_the_release_has(services: Services) -> None:
    await check_limits(services, KeyLimits(90.0, ("shop",), ("restock",)))

    with pytest.raises(RequestError, match="no workflow 'spop'; there are shop"):
        await check_limits(services, KeyLimits(workflows=("spop",)))
    with pytest.raises(RequestError, match="no tool 'restok'; there are restock"):
        await check_limits(services, KeyLimits(tools=("restok",)))


async def test_limits_need_a_database_without_older_releases(upgraded: Services) -> None:
    await check_limits(upgraded, NO_LIMITS)

    with pytest.raises(MigrationUnfinished, match="migrate --finish"):
        await check_limits(upgraded, KeyLimits(expires_s=60.0))
    with pytest.raises(MigrationUnfinished, match="migrate --finish"):
        await rotate_key(upgraded, "shop")


async def test_a_rotated_key_keeps_its_id_and_its_expiry(services: Services) -> None:
    first, key = await create_key(services.store, "shop", "ann", SCOPES, KeyLimits(60.0))

    second, rotated = await rotate_key(services, "shop", overlap_s=30.0)

    assert first != second
    assert (rotated.id, rotated.expires_at_us) == (key.id, key.expires_at_us)
    for token in (first, second):
        found = await services.store.find_key(hashlib.sha256(token.encode()).hexdigest())
        assert found is not None
        assert 0 < (found.left_us or 0) <= 60_000_000


async def test_an_expired_key_is_rotated_with_another_expiry(services: Services) -> None:
    _, key = await create_key(services.store, "shop", "ann", SCOPES, KeyLimits(-1.0))

    with pytest.raises(RequestError, match="key 'shop' has expired; give it another expiry"):
        await rotate_key(services, key.id)
    _, rotated = await rotate_key(services, key.id, expires_s=60.0)

    assert (rotated.expires_at_us or 0) > (key.expires_at_us or 0)


async def test_a_revoked_key_is_not_rotated(services: Services) -> None:
    _, key = await create_key(services.store, "shop", "ann", SCOPES)
    await revoke_key(services.store, key.id)

    with pytest.raises(NotFound, match="no key 'shop'"):
        await rotate_key(services, "shop")


async def test_the_share_of_a_key_is_replaced(services: Services) -> None:
    share = KeyLimits(rate_per_minute=60, max_runs=4, priority=5)
    _, key = await create_key(services.store, "shop", "ann", SCOPES, share)

    limited = await limit_key(services, "shop", KeyLimits(max_runs=8))

    assert (key.rate_per_minute, key.max_runs, key.priority) == (60, 4, 5)
    assert (limited.rate_per_minute, limited.max_runs, limited.priority) == (None, 8, 0)
    with pytest.raises(NotFound, match="no key 'desk'"):
        await limit_key(services, "desk", KeyLimits())


async def test_no_secret_is_logged(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        token, key = await create_key(services.store, "shop", "ann", SCOPES)
        other, _ = await rotate_key(services, "shop")
        await revoke_key(services.store, key.id)

    logged = [record.getMessage() for record in caplog.records]
    assert [one for one in logged if one.startswith("key_")] == [
        "key_created",
        "key_rotated",
        "key_revoked",
    ]
    everything = repr([vars(record) for record in caplog.records])
    assert not any(secret in everything for secret in (token, other, key.sha256))
