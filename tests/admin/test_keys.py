"""API keys as they are made: random, shown once, kept as hashes."""

import hashlib
import re
from collections.abc import AsyncIterator

import pytest

from twelvefold.admin.keys import create_key
from twelvefold.cli.parser import SCOPES as SCOPES_OF_THE_COMMAND
from twelvefold.core.ports import SCOPES, Store
from twelvefold.errors import RequestError
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import offline_sql


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = await open_store("sqlite://")
    await store.run_script(offline_sql("sqlite://"))
    yield store
    await store.close()


async def test_a_key_opens_what_is_kept_of_it(store: Store) -> None:
    token, kept = await create_key(store, "shop", "ann", SCOPES)

    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}", token)
    assert await store.find_key(hashlib.sha256(token.encode()).hexdigest()) == kept
    assert (kept.name, kept.principal, kept.scopes) == ("shop", "ann", ("runs", "approve"))


async def test_the_key_itself_is_kept_nowhere(store: Store) -> None:
    token, kept = await create_key(store, "shop", "ann", SCOPES)

    assert token not in repr(kept)
    async with store.read() as db:
        assert token not in repr(await db.fetch_all("SELECT * FROM api_keys"))


async def test_no_two_keys_are_alike(store: Store) -> None:
    made = [await create_key(store, f"shop {number}", "ann", SCOPES) for number in range(20)]

    assert len({token for token, _ in made}) == 20
    assert len({kept.id for _, kept in made}) == 20


async def test_scopes_are_kept_once_and_in_order(store: Store) -> None:
    _, kept = await create_key(store, "shop", "ann", ["approve", "runs", "approve"])

    assert kept.scopes == SCOPES


async def test_a_scope_that_there_is_none_of_is_refused(store: Store) -> None:
    with pytest.raises(RequestError, match="no scope 'root'; there are runs, approve"):
        await create_key(store, "shop", "ann", ["runs", "root"])

    assert await store.keys() == []


async def test_a_name_that_is_taken_is_refused_until_that_key_is_revoked(store: Store) -> None:
    _, first = await create_key(store, "shop", "ann", SCOPES)

    with pytest.raises(RequestError, match="there is a key 'shop' already; revoke it first"):
        await create_key(store, "shop", "bob", SCOPES)
    await store.revoke_key(first.id)

    await create_key(store, "shop", "bob", SCOPES)


def test_the_command_knows_the_same_scopes() -> None:
    """It has a list of its own, so that --help need not import the core."""
    assert SCOPES_OF_THE_COMMAND == SCOPES
