"""How a process that drains gives its runs back: at the next step, or at once."""

import asyncio
from collections.abc import Callable
from typing import Any

from twelvefold.core.events import ApprovalAsked, Entry, OutcomeUnknown, RunFinished
from twelvefold.core.ports import Listener

_LAST_EVENTS = (RunFinished, ApprovalAsked, OutcomeUnknown)
"""A drive ends by itself after one of these."""


class DrainGuard:
    """Cancels the drive of a run after its current step once `is_stopping` returns true.

    It is the run's listener, and passes everything on to `listener`.
    """

    def __init__(self, listener: Listener, is_stopping: Callable[[], bool]) -> None:
        self._listener = listener
        self._is_stopping = is_stopping
        self._task: asyncio.Task[Any] | None = None
        self._is_released = False
        self._is_ending = False

    def attach(self) -> None:
        """Guard the current task, which drives the run: cancelling it gives the run back.

        A task that is cancelled before its first line gives nothing back.
        """
        self._task = asyncio.current_task()
        self._check()

    def release(self) -> None:
        """Give the run back. Works once: a second cancellation would interrupt the release."""
        if self._task is not None and not self._is_released:
            self._is_released = True
            self._task.cancel()

    def text(self, delta: str) -> None:
        self._listener.text(delta)

    def restarted(self, why: str) -> None:
        self._listener.restarted(why)

    def shown(self) -> None:
        self._listener.shown()

    def recorded(self, entry: Entry) -> None:
        self._listener.recorded(entry)
        self._is_ending = isinstance(entry.event, _LAST_EVENTS)
        # Soon, not now: the other entries of the same commit follow.
        asyncio.get_running_loop().call_soon(self._check)

    def _check(self) -> None:
        if self._is_stopping() and not self._is_ending:
            self.release()
