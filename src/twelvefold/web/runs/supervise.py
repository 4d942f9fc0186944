"""Make sure that a run which a client waits for comes to an end, whatever became of its process."""

import time
from collections.abc import Callable

from twelvefold.core.ports import OVER, Principal, RunRecord
from twelvefold.engine.commands import cancel, give_up, take
from twelvefold.engine.shield import run_uninterrupted
from twelvefold.errors import CancelAsked, Conflict, NotFound, ServiceFault, StaleRun
from twelvefold.observe.log import get_logger
from twelvefold.web.http.errors import ApiError
from twelvefold.web.state import Web
from twelvefold.web.streaming.notifier import POLL_ELSEWHERE_S, POLL_HERE_S
from twelvefold.web.streaming.reader import ResponseReader
from twelvefold.web.turn_memory import turn_memory

log = get_logger(__name__)


class Supervisor:
    """Continues or ends the foreground run of one reader when no process drives it any more.

    A run whose process died or stopped is taken up here. One that a failing service has stopped
    fails: its caller would send the request again, and it would be done twice if it continued
    elsewhere. `clock` gives monotonic seconds.
    """

    def __init__(
        self, web: Web, reading: ResponseReader, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._web = web
        self._reading = reading
        self._run = reading.id.run
        self._clock = clock
        self._check_at = clock()
        self._undriven_since: float | None = None

    async def ensure_progress(self) -> float:
        """Check whether a process drives the run, unless that was checked a moment ago.

        Returns after how many seconds the next check is due. A check that has begun is not
        interrupted by a cancellation: a run that is claimed here is driven here.
        """
        if self._web.executor.task(self._run):
            return POLL_HERE_S
        if self._web.draining.is_set():
            work = self._end_unseen()
        elif (due_in_s := self._check_at - self._clock()) > 0:
            return due_in_s
        else:
            work = self._check()
        pause_s = await run_uninterrupted(work, self._web.services.exit_limit)
        self._check_at = self._clock() + pause_s
        return pause_s

    async def _check(self) -> float:
        try:
            record = await self._web.services.store.run(self._run)
            if self._is_taken_care_of(record):
                self._undriven_since = None
                return POLL_ELSEWHERE_S
            await self._continue(record)
        except NotFound:
            self._reading.stopped = True  # it was deleted: there is nothing more to read
        except ServiceFault as error:
            log.warning("run_not_checked", run=str(self._run), error=error)
        return POLL_HERE_S

    def _is_taken_care_of(self, record: RunRecord) -> bool:
        """Whether a process drives the run, or a worker will, or it rests."""
        rests = record.status in OVER or record.status == "waiting"
        return rests or record.leased or self._reading.projection.background

    async def _continue(self, record: RunRecord) -> None:
        try:
            if record.cancel_asked:
                await cancel(self._web.services, self._run)
            elif record.error:
                await give_up(self._web.services, self._run, f"{record.error}; try again later")
            else:
                await self._take_up(record)
        except (Conflict, StaleRun):
            pass  # another process was quicker
        except CancelAsked:
            await cancel(self._web.services, self._run)
        self._web.news.notify(self._run)

    async def _take_up(self, record: RunRecord) -> None:
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
        """Claim the run and drive it. Raises ApiError where there is no place for it."""
        web = self._web
        with web.executor.slot(principal), turn_memory(web.executor.memory, principal, 0) as memory:
            await memory.hold((await web.services.store.thread(self._run.thread)).size)
            web.drive(await take(web.services, self._run), memory.reservation)

    def _note_undriven(self) -> None:
        """Stop the reader once the run has not been driven for long."""
        if self._undriven_since is None:
            self._undriven_since = self._clock()
        waited_s = self._clock() - self._undriven_since
        if waited_s >= self._web.waits.undriven_s:
            log.warning("run_not_driven", run=str(self._run), waited_s=round(waited_s))
            self._reading.stopped = True

    async def _end_unseen(self) -> float:
        """End a run in a process that stops, if its caller could never read the rest."""
        services, reading = self._web.services, self._reading
        if not reading.to_the_end:
            return POLL_HERE_S
        try:
            await reading.look()
            if not reading.over:
                # Why it was given back; empty where this process was told to stop.
                error = (await services.store.run(self._run)).error
                await give_up(services, self._run, error and f"{error}; try again later")
        except (Conflict, StaleRun, CancelAsked):
            await cancel(services, self._run)
        except ServiceFault as error:
            log.warning("run_not_ended", run=str(self._run), error=error)
        self._web.news.notify(self._run)
        return POLL_HERE_S
