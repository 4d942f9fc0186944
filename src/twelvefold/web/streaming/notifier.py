"""Who reads along is told at once when there is something new, if this process is where it happens.

What happens in other processes somebody has to look for: `watch` does, for all. The journal is all
that is ever read: what is rung here says that there is something, not what.
"""

import asyncio
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from weakref import WeakValueDictionary

from twelvefold.core.events import Entry
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Listener

POLL_HERE_S = 1.0
"""How often to look where the bell rings: for what somebody else wrote about the run."""
POLL_ELSEWHERE_S = 5.0
"""How often to look where the watch rings: for when the database keeps it from it."""


class RunNotifier:
    """One process's bells, by run."""

    def __init__(self) -> None:
        self._ears: dict[RunId, set[Subscription]] = {}
        # Whoever drives a run holds its bell, so it is here as long as the run is driven here.
        self._bells: WeakValueDictionary[RunId, _NotifyingListener] = WeakValueDictionary()
        self._joined = asyncio.Event()

    def listener(self, run: RunId) -> Listener:
        """What to hand to whoever drives the run."""
        listener = _NotifyingListener(self, run)
        self._bells[run] = listener
        return listener

    def notify(self, run: RunId) -> None:
        """There is something new about this run."""
        for subscription in self._ears.get(run, ()):
            subscription.heard.set()

    def notify_threads(self, threads: Container[ThreadId]) -> None:
        """There is something new in these threads."""
        for run in self._ears:
            if run.thread in threads:
                self.notify(run)

    def wake(self) -> None:
        """Have every reader look up: the process is about to end."""
        for run in self._ears:
            self.notify(run)

    @contextmanager
    def subscribe(self, run: RunId) -> "Iterator[Subscription]":
        """Hear the run's bell as long as the body runs."""
        subscription = Subscription(self, run)
        self._ears.setdefault(run, set()).add(subscription)
        self._joined.set()
        try:
            yield subscription
        finally:
            subscriptions = self._ears[run]
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._ears[run]

    def is_driven_here(self, run: RunId) -> bool:
        """Whether somebody in this process drives the run now."""
        return run in self._bells

    async def followed_elsewhere(self) -> set[ThreadId]:
        """Threads with a reader here and no bell; waits until there is a reader at all."""
        while not self._ears:
            self._joined.clear()
            await self._joined.wait()
        return {run.thread for run in self._ears if not self.is_driven_here(run)}


class Subscription:
    """One reader's. What was rung since `heard` was cleared is not missed."""

    def __init__(self, news: RunNotifier, run: RunId) -> None:
        self.heard = asyncio.Event()
        self._news = news
        self._run = run

    async def wait(self, at_most_s: float) -> None:
        """Until it is time to look again."""
        is_here = self._news.is_driven_here(self._run)
        poll_s = POLL_HERE_S if is_here else POLL_ELSEWHERE_S
        with suppress(TimeoutError):
            async with asyncio.timeout(min(poll_s, at_most_s)):
                await self.heard.wait()


class _NotifyingListener:
    """A listener that rings when there is something to read."""

    def __init__(self, news: RunNotifier, run: RunId) -> None:
        self._news = news
        self._run = run

    def text(self, delta: str) -> None:
        """Not in the journal yet."""

    def restarted(self, why: str) -> None:
        """Not in the journal yet."""

    def recorded(self, entry: Entry) -> None:
        self._news.notify(self._run)

    def shown(self) -> None:
        self._news.notify(self._run)
