"""Decides when a worker searches for runs: after a wake-up, immediately while it finds work, and
after pauses.

Without a broker it polls. With one it sweeps at long intervals for runs whose wake-up was lost.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from twelvefold.core import NoSubscription, RunId, WaitingRun, WakeUpSubscription
from twelvefold.engine import Services
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.worker.backoff import RunBackoff
from twelvefold.worker.poll_interval import PollInterval
from twelvefold.worker.selection import RunSelector

log = get_logger(__name__)


class RunSearch:
    """Searches with `selector`; `poll_s` and `sweep_s` are its longest pauses, see above.

    Use it inside `opened`. Setting `nudge` starts a search.
    """

    def __init__(
        self, selector: RunSelector, backoff: RunBackoff, *, poll_s: float, sweep_s: float
    ) -> None:
        self._selector = selector
        self._backoff = backoff
        self._poll = PollInterval(poll_s)
        self._sweep_s = sweep_s
        self._is_sweep = False
        self._last_wake_up = 0
        self._wake_ups: WakeUpSubscription = NoSubscription()

    @property
    def nudge(self) -> asyncio.Event:
        return self._poll.nudge

    @asynccontextmanager
    async def opened(self, services: Services, *, mail: bool) -> AsyncIterator[None]:
        """Receive wake-ups during the body, for mail too if `mail`."""
        subscription = services.wake_ups.subscribe(
            services.workflows, mail=mail, wake=self.nudge.set
        )
        async with subscription as self._wake_ups:
            yield

    @property
    def mail_is_due(self) -> bool:
        return self._selector.mail_is_due

    def return_wake_ups(self) -> None:
        """Return the wake-ups to the broker: this worker claims no more runs."""
        self._wake_ups.settle(self._wake_ups.received, used=0, room=0)

    async def select(self, slots: int, held: Mapping[RunId, str]) -> Sequence[WaitingRun] | None:
        """Return the runs to claim; None after a search that failed, and the pause after it."""
        self._last_wake_up = self._wake_ups.received
        try:
            return await self._selector.select(slots, held)
        except Exception as error:
            # Another worker may reach the database.
            self.return_wake_ups()
            if not isinstance(error, ServiceFault):
                # The error may be of one row: the other runs must be driven.
                log.exception("queue_search_failed")
            await self._poll.failed("queue_not_read", error)
            return None

    async def wait_for_slot(self) -> None:
        """Wait until `nudge` is set; no wake-ups arrive meanwhile."""
        self.return_wake_ups()
        await self._poll.nudged()

    async def pause(self, claimed: int, room: int) -> None:
        """Wait after so many claims of selected runs. `room` is how many more may be claimed."""
        self._wake_ups.settle(self._last_wake_up, used=claimed, room=room)
        if claimed and self._is_sweep:
            log.info("wake_up_missed", runs=claimed)
        # If no claim succeeded, other workers were faster, so a pause follows.
        found, longest_s = claimed > 0 and not self._backoff.is_full, self._longest_s()
        is_nudged = await self._poll.found(found, longest_s)
        self._is_sweep = longest_s == self._sweep_s and not is_nudged

    def _longest_s(self) -> float | None:
        """Return the longest pause: to the next sweep or the next paused run; None to poll."""
        has_to_poll = self._selector.leaves_runs or self._backoff.is_full
        if has_to_poll or not self._wake_ups.is_connected:
            return None
        return min(self._sweep_s, self._backoff.next_end_s)

    def end(self, run: RunId, *, was_full: bool) -> None:
        """Search immediately if another run may have waited for the slot that this run frees.

        Also after a run that is paused now, so that the next search is at the end of its pause.
        """
        ends_early = self._selector.is_held_back or run in self._backoff
        if was_full or (ends_early and not self._backoff.is_full):
            self.nudge.set()
