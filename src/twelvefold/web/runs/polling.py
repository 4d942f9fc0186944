"""Waiting until another request no longer holds a run or the end of a conversation."""

import asyncio
import random
from collections.abc import Awaitable, Callable


async def _always() -> bool:
    return True


async def poll_until(
    end: float, interval_s: float, is_free: Callable[[], Awaitable[bool]] = _always
) -> bool:
    """Call `is_free` after each pause until it returns True; return whether it did by `end`.

    `end` is a time of the event loop. Pauses are random, about `interval_s` on average, so that
    requests that collided do not collide again.
    """
    now = asyncio.get_running_loop().time
    while now() < end:
        await asyncio.sleep(interval_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
        if await is_free():
            return True
    return False
