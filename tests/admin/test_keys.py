"""API keys are random, shown once, and stored as hashes."""

import hashlib
import re
from collections.abc import AsyncIterator

import pytest

from twelvefold.admin.keys import create_key
from twelvefold.cli.parser import SCOPES as PARSER_SCOPES
from twelvefold.core.ports import DEFAULT_SCOPES, SCOPES, Store
from twelvefold.errors import RequestError
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import offline_sql


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = await open_store("sqlite://")
    await store.run_script(offline_sql("sqlite://"))
    yield store
    await store.close()


async def test_a_key_is_found_by_its_hash(store: Store) -> None:
    token, key = await create_key(store, "shop", "ann", DEFAULT_SCOPES)

    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}", token)
    assert await store.find_key(hashlib.sha256(token.encode()).hexdigest()) == key
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

    assert await store.keys() == []


async def test_a_name_can_be_used_again_only_after_its_key_is_revoked(store: Store) -> None:
    _, first = await create_key(store, "shop", "ann", SCOPES)

    with pytest.raises(RequestError, match="a key 'shop' exists; revoke it first"):
        await create_key(store, "shop", "bob", SCOPES)
    await store.revoke_key(first.id)

    await create_key(store, "shop", "bob", SCOPES)


def test_the_parser_has_the_same_scopes() -> None:
    """The parser has its own list, so that `--help` does not import the core."""
    assert PARSER_SCOPES == SCOPES
