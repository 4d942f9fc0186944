"""Detects event loops that are blocked, and names the tool that blocks one.

A tool that waits without `await` (`time.sleep`, `requests.get`) stops everything else in its event
loop: other runs, their timeouts, the web server's responses.
"""

import asyncio
from collections.abc import Collection, Iterable

from msgspec import Struct

from twelvefold.engine.lease.held_lease import Clock, RenewedLease, RunningCall
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
BLOCKED_S = 1.0
"""An event loop that runs no callback for longer than this is reported as blocked."""


class _Probe(Struct):
    """A callback that was sent to an event loop, and when the loop ran it."""

    sent_at: float
    answered_at: float | None = None
    is_reported: bool = False
    call: RunningCall | None = None


class LoopWatch:
    """Watches event loops from a thread that runs none of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._probes: dict[asyncio.AbstractEventLoop, _Probe] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a loop has been sent a callback that it has not run yet."""
        return any(probe.answered_at is None for probe in list(self._probes.values()))

    def check(self, leases: Collection[RenewedLease]) -> None:
        """Send each loop that has a lease a callback, and report loops that did not run theirs."""
        loops = {lease.loop for lease in leases if lease.loop}
        for loop in loops | set(self._probes):
            probe = self._probes.get(loop)
            if probe is None:
                self._send(loop)
            elif probe.answered_at is None:
                self._report(loop, probe, leases)
            else:
                self._end(loop, probe)
                if loop in loops:
                    self._send(loop)

    def is_stuck(self, lease: RenewedLease) -> bool:
        """Return whether the lease's loop is blocked for so long that others should take its runs.

        That is past the timeout of the call that blocks it, or for longer than the lease.
        """
        probe = self._probes.get(lease.loop) if lease.loop else None
        if probe is None or probe.answered_at is not None:
            return False
        ends_at = probe.call.ends_at if probe.call else probe.sent_at + lease.lease_s
        return self._clock() > ends_at

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        probe = _Probe(self._clock())

        def answer() -> None:
            probe.answered_at = self._clock()

        try:
            loop.call_soon_threadsafe(answer)
        except RuntimeError:  # it is closed
            return
        self._probes[loop] = probe

    def _report(
        self, loop: asyncio.AbstractEventLoop, probe: _Probe, leases: Iterable[RenewedLease]
    ) -> None:
        blocked_s = self._clock() - probe.sent_at
        if loop.is_closed():
            del self._probes[loop]
        elif blocked_s > BLOCKED_S and not probe.is_reported:
            probe.is_reported = True
            task = asyncio.current_task(loop)
            calls = (lease.call_of(task) for lease in leases)
            probe.call = next((call for call in calls if call), None)
            self._log(probe, blocked_s, is_over=False)

    def _end(self, loop: asyncio.AbstractEventLoop, probe: _Probe) -> None:
        del self._probes[loop]
        if probe.is_reported and probe.answered_at is not None:
            self._log(probe, probe.answered_at - probe.sent_at, is_over=True)

    def _log(self, probe: _Probe, blocked_s: float, *, is_over: bool) -> None:
        call = {"run": str(probe.call.run), "tool": probe.call.tool} if probe.call else {}
        log.warning("event_loop_blocked", seconds=round(blocked_s, 1), over=is_over, **call)
