"""A run in a process's hands, and how the process lets go of it when it is about to end."""

import asyncio
from collections.abc import Callable
from typing import Any

from twelvefold.core.events import ApprovalAsked, Entry, OutcomeUnknown, RunFinished
from twelvefold.core.ports import Listener

RESTING = (RunFinished, ApprovalAsked, OutcomeUnknown)
"""What a drive ends with by itself."""


class DrainGuard:
    """Passes on what is heard of a run, and lets go of it behind a step once `stopping` says so."""

    def __init__(self, listener: Listener, stopping: Callable[[], bool]) -> None:
        self._listener = listener
        self._stopping = stopping
        self._task: asyncio.Task[Any] | None = None
        self._left = False
        self._rests = False

    def begin(self) -> None:
        """The current task drives the run: from here on to cancel it is to give the run back.

        Cancelled before its first line a task gives nothing back.
        """
        self._task = asyncio.current_task()
        self._stepped()

    def leave(self) -> None:
        """Give the run back, once: a second cancellation would break off the giving back."""
        if self._task is not None and not self._left:
            self._left = True
            self._task.cancel()

    def text(self, delta: str) -> None:
        self._listener.text(delta)

    def restarted(self, why: str) -> None:
        self._listener.restarted(why)

    def shown(self) -> None:
        self._listener.shown()

    def recorded(self, entry: Entry) -> None:
        self._listener.recorded(entry)
        self._rests = isinstance(entry.event, RESTING)
        # Soon, not now: the other entries of the same commit are still to come.
        asyncio.get_running_loop().call_soon(self._stepped)

    def _stepped(self) -> None:
        if self._stopping() and not self._rests:
            self.leave()
