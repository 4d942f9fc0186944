"""What other processes write: one look for all that is followed in this one.

A reader for each would ask the database as often as there are readers.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Store
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.streaming.notifier import RunNotifier

log = get_logger(__name__)
POLL_S = 0.2
"""How often to look, and so how late a reader hears, at most, of what happens elsewhere."""


@asynccontextmanager
async def watching(store: Store, news: RunNotifier) -> AsyncIterator[None]:
    """Ring for what other processes write, as long as the body runs."""
    task = asyncio.get_running_loop().create_task(_watch(store, news), name="watch")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _watch(store: Store, news: RunNotifier) -> None:
    known: dict[ThreadId, tuple[int, int]] = {}
    while True:
        threads = await news.followed_elsewhere()
        found = await _marks(store, threads)
        # Of one that is new here, and of all after a fault, nobody knows how far its readers are.
        news.notify_threads(
            {thread for thread in threads if found.get(thread) != known.get(thread)}
        )
        known = found
        await asyncio.sleep(POLL_S)


async def _marks(store: Store, threads: Collection[ThreadId]) -> dict[ThreadId, tuple[int, int]]:
    try:
        return await store.marks(threads)
    except ServiceFault as error:
        # The readers have to find out for themselves how long this goes on.
        log.warning("journal_not_watched", error=error)
    except Exception:
        # Nobody else would begin to watch again.
        log.exception("watch_broke")
    return {}
