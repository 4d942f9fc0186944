"""Notifies the readers in this process when a run appends to the journal.

A notification carries no content: readers read the journal. One task polls the journal for entries
of other processes, on behalf of all readers here; a poll by each reader would multiply the load on
the database by the number of readers.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Container, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from weakref import WeakValueDictionary

from twelvefold.core import Entry, Listener, RunId, Store, ThreadId
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.state import WAITS, Waits

log = get_logger(__name__)


class RunNotifier:
    """The subscriptions of one process, by run, and the runs that it drives."""

    def __init__(self, waits: Waits = WAITS) -> None:
        self.waits = waits
        self._subscriptions: dict[RunId, set[Subscription]] = {}
        # Only the drive of a run holds its listener, so an entry lasts as long as the drive.
        self._listeners: WeakValueDictionary[RunId, _NotifyingListener] = WeakValueDictionary()
        self._subscribed = asyncio.Event()

    def __len__(self) -> int:
        """The number of runs with subscriptions."""
        return len(self._subscriptions)

    def listener(self, run: RunId) -> Listener:
        """Return a listener for the drive of a run, which notifies the run's readers."""
        listener = _NotifyingListener(self, run)
        self._listeners[run] = listener
        return listener

    def notify(self, run: RunId) -> None:
        """Notify the readers of a run."""
        for subscription in self._subscriptions.get(run, ()):
            subscription.changed.set()

    def notify_threads(self, threads: Container[ThreadId]) -> None:
        """Notify the readers of all runs of these threads."""
        for run in self._subscriptions:
            if run.thread in threads:
                self.notify(run)

    def notify_all(self) -> None:
        """Notify every reader: the process drains."""
        for run in self._subscriptions:
            self.notify(run)

    @contextmanager
    def subscribe(self, run: RunId) -> "Iterator[Subscription]":
        """Subscribe to a run while the body runs."""
        subscription = Subscription(self, run)
        self._subscriptions.setdefault(run, set()).add(subscription)
        self._subscribed.set()
        try:
            yield subscription
        finally:
            subscriptions = self._subscriptions[run]
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[run]

    def is_driven_here(self, run: RunId) -> bool:
        """Return whether a task of this process drives the run."""
        return run in self._listeners

    async def threads_to_poll(self) -> set[ThreadId]:
        """Return the threads whose runs are read here and driven elsewhere.

        Waits until this process has a reader.
        """
        while not self._subscriptions:
            self._subscribed.clear()
            await self._subscribed.wait()
        return {run.thread for run in self._subscriptions if not self.is_driven_here(run)}


class Subscription:
    """One reader's subscription. A change after `changed` was cleared is not lost."""

    def __init__(self, notifier: RunNotifier, run: RunId) -> None:
        self.changed = asyncio.Event()
        self._notifier = notifier
        self._run = run

    async def wait(self, at_most_s: float = math.inf) -> None:
        """Wait until the run changes or its journal should be read without a notification."""
        waits = self._notifier.waits
        is_here = self._notifier.is_driven_here(self._run)
        poll_s = waits.poll_driven_here_s if is_here else waits.poll_driven_elsewhere_s
        with suppress(TimeoutError):
            async with asyncio.timeout(min(poll_s, at_most_s)):
                await self.changed.wait()


class _NotifyingListener:
    """Notifies the readers of a run when its drive has written something that they can read."""

    def __init__(self, notifier: RunNotifier, run: RunId) -> None:
        self._notifier = notifier
        self._run = run

    def text(self, delta: str) -> None:
        """Do nothing: the delta is not in the journal yet."""

    def restarted(self, why: str) -> None:
        """Do nothing: the restart is not in the journal yet."""

    def recorded(self, entry: Entry) -> None:
        self._notifier.notify(self._run)

    def shown(self) -> None:
        self._notifier.notify(self._run)


# --- entries of other processes -----------------------------------------------------------------


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
