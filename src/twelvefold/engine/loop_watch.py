"""Notices event loops that are blocked, and names the tool that blocks one.

A tool that waits without `await` (`time.sleep`, `requests.get`) stops everything else in its event
loop: other runs, their timeouts, the web server's answers.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from twelvefold.engine.lease import Clock, HeldLease, RunningCall
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
BLOCKED_S = 1.0
"""From when on an event loop that runs no callback is called blocked."""


@dataclass(slots=True)
class _Beat:
    """A callback that was given to an event loop, and when the loop ran it."""

    sent_at: float
    answered_at: float | None = None
    is_reported: bool = False
    call: RunningCall | None = None


class LoopWatch:
    """Watches event loops from a thread that is not theirs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[asyncio.AbstractEventLoop, _Beat] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a loop has been sent a callback that it has not run yet."""
        return any(beat.answered_at is None for beat in list(self._beats.values()))

    def look(self, leases: Collection[HeldLease]) -> None:
        """Send each loop that has a lease a callback, and report those that have run none."""
        loops = {held.loop for held in leases if held.loop}
        for loop in loops | set(self._beats):
            beat = self._beats.get(loop)
            if beat is None:
                self._send(loop)
            elif beat.answered_at is None:
                self._report(loop, beat, leases)
            else:
                self._end(loop, beat)
                if loop in loops:
                    self._send(loop)

    def is_stuck(self, held: HeldLease) -> bool:
        """Whether the lease's loop is blocked for good, so that others had better take its runs.

        That is past the end of the call that blocks it, or for longer than the lease.
        """
        beat = self._beats.get(held.loop) if held.loop else None
        if beat is None or beat.answered_at is not None:
            return False
        ends_at = beat.call.ends_at if beat.call else beat.sent_at + held.lease_s
        return self._clock() > ends_at

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        beat = _Beat(self._clock())

        def answer() -> None:
            beat.answered_at = self._clock()

        try:
            loop.call_soon_threadsafe(answer)
        except RuntimeError:  # it is closed
            return
        self._beats[loop] = beat

    def _report(
        self, loop: asyncio.AbstractEventLoop, beat: _Beat, leases: Iterable[HeldLease]
    ) -> None:
        blocked_s = self._clock() - beat.sent_at
        if loop.is_closed():
            del self._beats[loop]
        elif blocked_s > BLOCKED_S and not beat.is_reported:
            beat.is_reported = True
            task = asyncio.current_task(loop)
            calls = (held.call_of(task) for held in leases)
            beat.call = next((call for call in calls if call), None)
            self._log(beat, blocked_s, is_over=False)

    def _end(self, loop: asyncio.AbstractEventLoop, beat: _Beat) -> None:
        del self._beats[loop]
        if beat.is_reported and beat.answered_at is not None:
            self._log(beat, beat.answered_at - beat.sent_at, is_over=True)

    def _log(self, beat: _Beat, blocked_s: float, *, is_over: bool) -> None:
        by = {"run": str(beat.call.run), "tool": beat.call.tool} if beat.call else {}
        log.warning("event_loop_blocked", seconds=round(blocked_s, 1), over=is_over, **by)
