"""Who reads along is told at once when there is something new, if this process is where it happens.

What happens in other processes a reader has to look for. The journal is all that is ever read:
what is rung here says that there is something, not what.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakValueDictionary

from twelvefold.core.events import Entry
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Listener

POLL_S = 0.2
"""How often to look where another process drives the run, or none."""
POLL_HERE_S = 1.0
"""How often to look where the bell rings: for what somebody else wrote about the run."""


class News:
    """One process's bells, by run."""

    def __init__(self) -> None:
        self._ears: dict[RunId, set[Ear]] = {}
        # Whoever drives a run holds its bell, so it is here as long as the run is driven here.
        self._bells: WeakValueDictionary[RunId, _Bell] = WeakValueDictionary()

    def bell(self, run: RunId) -> Listener:
        """What to hand to whoever drives the run."""
        bell = _Bell(self, run)
        self._bells[run] = bell
        return bell

    def ring(self, run: RunId) -> None:
        """There is something new about this run."""
        for ear in self._ears.get(run, ()):
            ear.heard.set()

    @contextmanager
    def listening(self, run: RunId) -> "Iterator[Ear]":
        """Hear the run's bell as long as the body runs."""
        ear = Ear(self, run)
        self._ears.setdefault(run, set()).add(ear)
        try:
            yield ear
        finally:
            ears = self._ears[run]
            ears.discard(ear)
            if not ears:
                del self._ears[run]

    def rings_here(self, run: RunId) -> bool:
        """Whether somebody in this process drives the run now."""
        return run in self._bells


class Ear:
    """One reader's. What was rung since `heard` was cleared is not missed."""

    def __init__(self, news: News, run: RunId) -> None:
        self.heard = asyncio.Event()
        self._news = news
        self._run = run

    async def wait(self) -> None:
        """Until it is time to look again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_HERE_S if self._news.rings_here(self._run) else POLL_S):
                await self.heard.wait()


class _Bell:
    """A listener that rings when there is something to read."""

    def __init__(self, news: News, run: RunId) -> None:
        self._news = news
        self._run = run

    def text(self, delta: str) -> None:
        """Not in the journal yet."""

    def restarted(self, why: str) -> None:
        """Not in the journal yet."""

    def recorded(self, entry: Entry) -> None:
        self._news.ring(self._run)

    def shown(self) -> None:
        self._news.ring(self._run)
