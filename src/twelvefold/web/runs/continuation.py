"""Continues or ends the run that a client waits for when no process drives it any more.

A run whose process died or stopped is claimed and driven here. A run that a failing service has
stopped fails: its client would repeat the request, and it would be done twice if the run continued
elsewhere.
"""

import time
from collections.abc import Callable

from twelvefold.core import OVER, Principal, RunRecord
from twelvefold.engine import cancel, fail_run, take
from twelvefold.errors import CancelAsked, Conflict, NotFound, ServiceFault, StaleRun
from twelvefold.observe.log import get_logger
from twelvefold.web.http import ApiError
from twelvefold.web.runs.create import StartedRun
from twelvefold.web.state import Web, turn_memory

log = get_logger(__name__)
IDLE = (*OVER, "waiting")
"""The statuses of runs that no process has to drive."""


class Continuation:
    """The checks of one run. `clock` gives monotonic seconds."""

    def __init__(
        self, web: Web, started: StartedRun, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._web = web
        self._started = started
        self._reader = started.reader
        self._run = started.run
        self._clock = clock
        self._undriven_since: float | None = None

    async def ensure_progress(self) -> float:
        """Continue or end the run if no process drives it; return when to check again, in seconds.

        Stops the reader of a run that was deleted, or that could not be driven for
        `Waits.undriven_s`.
        """
        try:
            if self._web.draining.is_set():
                if self._started.ends_with_client:
                    await self._end_for_drain()
                return self._web.waits.check_undriven_s
            record = await self._web.services.store.run(self._run)
            if self._is_taken_care_of(record):
                self._undriven_since = None
                return self._web.waits.check_driven_s
            await self._continue(record)
        except NotFound:
            self._reader.stop()
        except ServiceFault as error:
            log.warning("run_not_checked", run=str(self._run), error=error)
        return self._web.waits.check_undriven_s

    def _is_taken_care_of(self, record: RunRecord) -> bool:
        """Return whether the run is idle, a process drives it, or a worker will."""
        return record.status in IDLE or record.leased or self._reader.projection.background

    async def _continue(self, record: RunRecord) -> None:
        try:
            if record.cancel_asked:
                await cancel(self._web.services, self._run)
            elif record.error:
                await fail_run(self._web.services, self._run, f"{record.error}; try again later")
            else:
                await self._take_over(record)
        except (Conflict, StaleRun):
            pass  # another process has claimed or ended it first
        except CancelAsked:
            await cancel(self._web.services, self._run)
        self._web.notifier.notify(self._run)

    async def _take_over(self, record: RunRecord) -> None:
        if record.workflow in self._web.services.workflows:
            try:
                await self._drive_here(Principal(record.principal))
            except ApiError as error:
                log.info("run_not_taken", run=str(self._run), error=error)
            else:
                log.info("run_taken_up", run=str(self._run))
                return
        self._note_undriven()

    async def _drive_here(self, principal: Principal) -> None:
        """Claim the run and drive it. Raises ApiError if there is no slot or no memory for it."""
        web = self._web
        with web.executor.slot(principal), turn_memory(web.executor.memory, principal, 0) as memory:
            await memory.hold((await web.services.store.thread(self._run.thread)).size)
            web.start_drive(await take(web.services, self._run), memory.reservation)

    def _note_undriven(self) -> None:
        """Stop the reader of a run that was not driven for `Waits.undriven_s`."""
        if self._undriven_since is None:
            self._undriven_since = self._clock()
        waited_s = self._clock() - self._undriven_since
        if waited_s >= self._web.waits.undriven_s:
            log.warning("run_not_driven", run=str(self._run), waited_s=round(waited_s))
            self._reader.stop()

    async def _end_for_drain(self) -> None:
        """End a run whose client cannot read the rest in another process."""
        services = self._web.services
        record = await services.store.run(self._run)
        if record.status in IDLE:
            return
        try:
            # The reason why it was given back; empty where only this process stops.
            error = record.error and f"{record.error}; try again later"
            await fail_run(services, self._run, error)
        except (Conflict, StaleRun, CancelAsked):
            await cancel(services, self._run)
        self._web.notifier.notify(self._run)
