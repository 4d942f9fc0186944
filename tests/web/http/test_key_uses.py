"""The last use of keys: written by a task, at most once in a while for each key."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tests.web.doubles import Clock, Keys
from twelvefold.errors import StoreRefused
from twelvefold.web.http.key_uses import WRITE_EVERY_S, KeyUses


class Refusing(Keys):
    """Refuses to write the use of a key."""

    async def touch_key(self, id: str) -> None:
        await super().touch_key(id)
        raise StoreRefused("read only") if id == "key-1" else RuntimeError("a bug")


class Writing:
    """Uses of keys, and the task that writes them."""

    def __init__(self, keys: Keys) -> None:
        self.keys, self.clock = keys, Clock()
        self.uses = KeyUses(keys.store, self.clock)
        self.task = asyncio.ensure_future(self.uses.write())

    async def use(self, *keys: str) -> list[str]:
        for key in keys:
            self.uses.record(key)
        for _ in range(10):
            await asyncio.sleep(0)
        return self.keys.touched


@pytest.fixture
async def writing() -> AsyncIterator[Writing]:
    writing = Writing(Keys())
    yield writing
    writing.task.cancel()


async def test_a_key_is_written_once_in_a_while(writing: Writing) -> None:
    assert await writing.use("key-1", "key-1") == ["key-1"]
    writing.clock.now += WRITE_EVERY_S - 1
    assert await writing.use("key-1") == ["key-1"]
    writing.clock.now += 1

    assert await writing.use("key-1", "key-1") == ["key-1", "key-1"]


async def test_each_key_is_written(writing: Writing) -> None:
    assert sorted(await writing.use("key-1", "key-2")) == ["key-1", "key-2"]


async def test_a_failed_write_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writing = Writing(Refusing())

    with caplog.at_level(logging.WARNING):
        assert await writing.use("key-1") == ["key-1"]
        assert await writing.use("key-2") == ["key-1", "key-2"]

    assert [one.getMessage() for one in caplog.records] == ["key_use_not_written"] * 2
    assert not writing.task.done()
    writing.task.cancel()
