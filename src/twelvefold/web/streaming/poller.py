"""Notifies readers of entries that other processes write, by one task for all of them."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from twelvefold.core import Store, ThreadId
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.streaming.reader import RunNotifier

log = get_logger(__name__)


@asynccontextmanager
async def poll_journal(store: Store, notifier: RunNotifier) -> AsyncIterator[None]:
    """Notify readers of entries that other processes write, while the body runs."""
    task = asyncio.get_running_loop().create_task(_poll(store, notifier), name="poll journal")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _poll(store: Store, notifier: RunNotifier) -> None:
    known: dict[ThreadId, tuple[int, int]] = {}
    while True:
        threads = await notifier.threads_to_poll()
        found = await _load_marks(store, threads)
        # Readers of a new thread, and all readers after a fault, may be behind: notify them too.
        changed = {thread for thread in threads if found.get(thread) != known.get(thread)}
        notifier.notify_threads(changed)
        known = found
        await asyncio.sleep(notifier.waits.poll_journal_s)


async def _load_marks(
    store: Store, threads: Collection[ThreadId]
) -> dict[ThreadId, tuple[int, int]]:
    """Return the marks of each thread. Empty if the store fails; a reader gives up on its own."""
    try:
        return await store.marks(threads)
    except ServiceFault as error:
        log.warning("journal_not_polled", error=error)
    except Exception:
        # No other task would restart the poll.
        log.exception("journal_poll_failed")
    return {}
