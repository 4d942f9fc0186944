"""Waits until another request no longer holds a run or the end of a conversation."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from twelvefold.core import OVER, Store, ThreadId
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.state import ClientWatch

THREAD_POLL_INTERVAL_S = 0.2
"""How often to check whether the last run of a conversation is over."""


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


async def wait_until_thread_free(
    store: Store,
    thread: ThreadId,
    client: ClientWatch,
    end: float,
    on_waiting: Callable[[], Awaitable[None]] | None = None,
) -> bool:
    """Wait until the last run of a thread is over; return whether it was by `end`.

    Does not load the journal. Calls `on_waiting`, which may raise, while the run waits for a
    person. Raises ClientDisconnect if the client leaves.
    """

    async def is_free() -> bool:
        await client.check()
        try:
            latest = (await retry_unavailable(lambda: store.listed_thread(thread))).latest
        except NotFound:
            return True  # it was deleted; the next try raises the error
        if latest is None or latest.status in OVER:
            return True
        if latest.status == "waiting" and on_waiting:
            await on_waiting()
        return False

    return await poll_until(end, THREAD_POLL_INTERVAL_S, is_free)
