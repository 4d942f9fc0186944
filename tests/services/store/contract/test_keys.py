"""API keys, on every database."""

from dataclasses import replace

import pytest

from twelvefold.core.ports import ApiKey, Store
from twelvefold.errors import DuplicateRow, NotFound


def key(number: int = 1, name: str = "shop", revoked_at_us: int | None = None) -> ApiKey:
    scopes, sha256 = ("runs", "approve"), f"{number:064x}"
    return ApiKey(f"key_{number}", name, "é" * 255, scopes, sha256, number, revoked_at_us)


async def test_a_key_is_found_by_its_hash(store: Store, rival: Store) -> None:
    await store.add_key(key())

    assert await rival.find_key(key().sha256) == (key(), None)
    assert await rival.find_key(key(2).sha256) is None


async def test_a_revoked_key_is_listed_but_not_found(store: Store) -> None:
    await store.add_key(key(1, "one"))
    await store.add_key(key(2, "two"))

    await store.revoke_key("key_1")

    assert await store.find_key(key(1).sha256) is None
    assert await store.find_key(key(2).sha256) == (key(2, "two"), None)
    two, one = await store.keys(limit=9)
    assert two == key(2, "two")
    assert one.revoked_at_us is not None
    assert one == key(1, "one", revoked_at_us=one.revoked_at_us)


async def test_a_key_is_revoked_once(store: Store) -> None:
    await store.add_key(key())
    await store.revoke_key("key_1")
    (before,) = await store.keys(limit=9)

    await store.revoke_key("key_1")

    assert await store.keys(limit=9) == [before]


@pytest.mark.parametrize("missing", ["key_9", "schlüssel"])
async def test_a_missing_key_cannot_be_revoked(store: Store, missing: str) -> None:
    with pytest.raises(NotFound, match=f"no key '{missing}'"):
        await store.revoke_key(missing)


async def test_a_name_belongs_to_one_key_until_that_is_revoked(store: Store) -> None:
    await store.add_key(key(1))

    with pytest.raises(DuplicateRow):
        await store.add_key(key(2))
    await store.revoke_key("key_1")
    await store.add_key(key(2))
    await store.revoke_key("key_2")
    await store.add_key(key(3))

    assert [one.id for one in await store.keys(limit=9)] == ["key_3", "key_2", "key_1"]


async def test_names_differ_by_case(store: Store) -> None:
    await store.add_key(key(1, "shop"))
    await store.add_key(key(2, "Shop"))

    assert len(await store.keys(limit=9)) == 2


async def test_a_key_without_scopes_has_none(store: Store) -> None:
    await store.add_key(ApiKey("k", "n", "p", (), "0" * 64, 1))

    assert (await store.keys(limit=9))[0].scopes == ()


async def test_a_key_keeps_its_limits(store: Store) -> None:
    limited = replace(key(), expires_at_us=2**52, workflows=("shop", "é"), tools=())
    await store.add_key(limited)

    assert await store.keys(limit=9) == [limited]


async def test_an_expired_key_is_found_with_the_time_since(store: Store) -> None:
    await store.add_key(replace(key(), expires_at_us=1_000))

    found = await store.find_key(key().sha256)

    assert found is not None
    assert found.left_us is not None
    assert found.left_us < 0


async def test_both_secrets_of_a_rotated_key_are_found(store: Store, rival: Store) -> None:
    await store.add_key(key())

    await store.rotate_key("key_1", "f" * 64, overlap_us=60_000_000, expires_at_us=2**52)

    new, old = await rival.find_key("f" * 64), await rival.find_key(key().sha256)
    assert new is not None
    assert old is not None
    assert new.key == old.key
    assert (new.key.id, new.key.sha256, new.key.old_sha256) == ("key_1", "f" * 64, key().sha256)
    assert 0 < (old.left_us or 0) <= 60_000_000 < (new.left_us or 0)


async def test_a_second_rotation_ends_the_first_secret(store: Store) -> None:
    await store.add_key(key())
    for secret in ("e", "f"):
        await store.rotate_key("key_1", secret * 64, overlap_us=60_000_000, expires_at_us=None)

    assert await store.find_key(key().sha256) is None
    assert [one.old_sha256 for one in await store.keys(limit=9)] == ["e" * 64]


async def test_a_revoked_key_loses_both_secrets_and_is_not_rotated(store: Store) -> None:
    await store.add_key(key())
    await store.rotate_key("key_1", "f" * 64, overlap_us=60_000_000, expires_at_us=None)
    await store.revoke_key("key_1")

    assert [await store.find_key(one) for one in ("f" * 64, key().sha256)] == [None, None]
    with pytest.raises(NotFound, match="no key 'key_1'"):
        await store.rotate_key("key_1", "e" * 64, overlap_us=0, expires_at_us=None)


async def test_the_last_use_is_recorded(store: Store) -> None:
    await store.add_key(key())

    await store.touch_key("key_1")
    await store.touch_key("key_9")

    (one,) = await store.keys(limit=9)
    assert one.last_used_at_us is not None
    assert one.last_used_at_us > one.created_at_us


async def test_keys_are_listed_in_pages(store: Store) -> None:
    assert not await store.has_keys()
    for number in (2, 1, 3, 4):
        await store.add_key(replace(key(number, f"k{number}"), created_at_us=number // 3))
    await store.revoke_key("key_4")

    first = await store.keys(limit=3)
    rest = await store.keys(limit=3, after=first[-1].id)

    assert [one.id for one in (*first, *rest)] == ["key_4", "key_3", "key_2", "key_1"]
    assert await store.has_keys()
    for missing in ("key_9", "schlüssel"):
        with pytest.raises(NotFound, match=f"no key '{missing}'"):
            await store.keys(limit=3, after=missing)


@pytest.mark.parametrize("name", ["Grüße", "key_2"])
async def test_a_key_is_found_by_its_name_and_by_its_id(store: Store, name: str) -> None:
    await store.add_key(key(1, "Grüße"))
    await store.revoke_key("key_1")
    await store.add_key(key(2, "Grüße"))

    assert await store.named_key(name) == key(2, "Grüße")
    for missing in ("key_1", "grüße", f"{name} ", "", "Gr"):
        with pytest.raises(NotFound, match="no key"):
            await store.named_key(missing)
