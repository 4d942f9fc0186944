"""Polling until another request no longer holds a run or a conversation."""

import asyncio

from twelvefold.web.runs.polling import poll_until


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_poll_ends_once_it_is_free() -> None:
    answers = [False, False, True]

    async def is_free() -> bool:
        return answers.pop(0)

    assert await poll_until(in_seconds(60), 0.001, is_free)
    assert answers == []


async def test_a_poll_ends_with_its_time() -> None:
    async def is_free() -> bool:
        return False

    assert not await poll_until(in_seconds(0.01), 0.001, is_free)
    assert not await poll_until(in_seconds(-1), 60)


async def test_a_poll_without_a_condition_is_one_pause() -> None:
    begun_at = in_seconds(0)

    assert await poll_until(in_seconds(60), 0.02)
    assert in_seconds(0) - begun_at >= 0.01
