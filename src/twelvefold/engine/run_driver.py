"""A run while it is driven: how it is ended, or given back for another process to continue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from msgspec import Struct, structs

from twelvefold.core import (
    OVER,
    Call,
    Event,
    FinalStatus,
    Listener,
    OutcomeUnknown,
    RunFinished,
    RunId,
    RunStatus,
    Thread,
    TraceExport,
    WaitCondition,
    Workflow,
    in_doubt,
)
from twelvefold.engine.commands import cancel
from twelvefold.engine.commit import catch_up, write
from twelvefold.engine.held_run import CallOutcome, HeldRun
from twelvefold.engine.retry import cause_of
from twelvefold.engine.services import Services
from twelvefold.engine.traces import decision_of
from twelvefold.engine.uninterrupted import run_uninterrupted
from twelvefold.errors import (
    CancelAsked,
    InsufficientQuota,
    NotFound,
    ServiceFault,
    StaleRun,
    StoreUnavailable,
    TooLarge,
)
from twelvefold.observe.log import get_logger

log = get_logger(__name__)


class Outcome(Struct, frozen=True):
    """The status in which a drive left a run.

    "queued" means that any process may continue the run; `fault` is what stopped it, if anything.
    """

    run: RunId
    status: RunStatus
    thread: Thread
    fault: str = ""

    @property
    def error(self) -> str:
        """The error of the run as a sentence or a reason; "" if there is none."""
        return self.fault or self.thread.error or self.thread.reason


@dataclass(slots=True)
class RunDriver:
    """One run while it is driven; `held` is always what the journal says."""

    services: Services
    held: HeldRun
    workflow: Workflow
    listener: Listener

    def _outcome(self, fault: str = "") -> Outcome:
        return Outcome(self.held.run, self.held.status, self.held.thread, fault)

    # --- ending the run -------------------------------------------------------------------------

    async def end(self, status: FinalStatus, reason: str, error: str = "") -> Outcome:
        """Finish the run, within `release_s`. Raises StoreUnavailable if that is not possible."""
        try:
            async with self._keep_lease(), asyncio.timeout(self._release_s()):
                return await self._finish(status, reason, error)
        except TimeoutError as expired:
            cause = cause_of(expired) or "the database does not answer"
            logged = cause.logged if isinstance(cause, StoreUnavailable) else cause
            raise StoreUnavailable(f"the end of the run is not written: {cause}").loggable(
                f"the end of the run is not written: {logged}"
            ) from expired

    async def _finish(self, status: FinalStatus, reason: str, error: str) -> Outcome:
        """Write the last entries.

        A call whose result is known but not written yet is written with them. A call that had
        started is left to a person, unless the run is cancelled: then its outcome stays unknown.
        """
        doubtful = await self._catch_up()
        if self.held.status != "running" and not self.held.cancel_asked:
            return self._outcome()
        events, next_status = self._last_events(RunFinished(status, reason, error), doubtful)
        try:
            self.held = await write(
                self.services, self.held, self.listener, events, next_status, error=error
            )
        except CancelAsked:
            return await self._finish("cancelled", "cancelled", "")
        except TooLarge:
            if self.held.unrecorded.outcome is None:
                raise
            # The result is too large to store: a person has to settle the call.
            self.held.unrecorded.outcome = None
            return await self._finish(status, reason, error)
        return self._outcome(error)

    def _last_events(
        self, finished: RunFinished, doubtful: Call | None
    ) -> tuple[tuple[Event, ...], RunStatus]:
        status = finished.status
        if doubtful is None:
            return (finished,), status
        if known := self._known_outcome(doubtful):
            return (known, finished), status
        if status == "cancelled":
            return (OutcomeUnknown(doubtful.id, doubtful.tool, final=True), finished), status
        return (OutcomeUnknown(doubtful.id, doubtful.tool),), "waiting"

    def _known_outcome(self, call: Call) -> CallOutcome | None:
        """Return the outcome of the call if this process knows it and could not write it yet."""
        known = self.held.unrecorded.outcome
        is_known = known and known.call == call.id and not isinstance(known, OutcomeUnknown)
        return known if is_known else None

    async def stop_over_budget(self, error: InsufficientQuota) -> Outcome:
        """End a run that a budget has no room for, or let it wait until the budget renews.

        A change of the budget moves the time from which any process may claim the run.
        """
        if not error.waits:
            return await self.end("failed", "insufficient_quota", str(error))
        try:
            async with self._keep_lease():
                self.held = await write(
                    *(self.services, self.held, self.listener, (), "waiting"),
                    wait=WaitCondition(error.renews_us),
                    error=str(error),
                    timeout_s=self._release_s(),
                )
        except CancelAsked:
            return await self.end("cancelled", "cancelled")
        log.info("run_waits_for_budget", renews_us=error.renews_us)
        await self._look_again_if_changed(error)
        return self._outcome(str(error))

    async def _look_again_if_changed(self, error: InsufficientQuota) -> None:
        """Let the run look again if its budget was changed before it waited.

        The process that changed it has not found the run among those that wait.
        """
        services = self.services
        with suppress(ServiceFault):
            await services.budgets.refresh()
            if error.budget not in await services.budgets.covering(self.held.thread):
                look_again = services.store.look_again
                await services.retry(lambda: look_again(self.held.run, error.renews_us))
                services.wake_ups.run_queued(self.workflow.name)

    async def error_of_attempts(self) -> str:
        """Return the error of a run with too many attempts, with the last error of one of them."""
        record = await self.services.store.run(self.held.run)
        count = self.services.limits.max_attempts
        error = f"{count} attempts at this step ended without a result"
        return f"{error}; the last error: {record.error}" if record.error else error

    # --- giving the run back --------------------------------------------------------------------

    async def give_back(self, error: str, *, counts: bool = False) -> Outcome:
        """Release the run as it is, for any process to continue.

        A result that is known and not written yet is written first. `counts`: this attempt counts
        towards `max_attempts`. Nothing is written after the exit limit: the lease expires.
        """
        if self.services.exit_limit.has_passed:
            return self._queued(error)
        with suppress(ServiceFault, StaleRun, CancelAsked, TimeoutError):
            async with self._keep_lease(), asyncio.timeout(self._release_s()):
                doubtful = await self._write_known_outcome(await self._catch_up())
                if self.held.status == "running":
                    if await self._release(doubtful, error, counts):
                        await self.cancel()
                    else:
                        self.services.wake_ups.run_queued(self.workflow.name)
                if self.held.status != "running":
                    return self._outcome()
        return self._queued(error)

    def _queued(self, error: str) -> Outcome:
        return Outcome(self.held.run, "queued", self.held.thread, error)

    async def _write_known_outcome(self, doubtful: Call | None) -> Call | None:
        """Write the result of a doubtful call if it is known; return the call if it is not."""
        known = self._known_outcome(doubtful) if doubtful else None
        if known is None:
            return doubtful
        timeout_s = self._release_s() / 2  # the other half is for the release
        try:
            self.held = await write(
                self.services, self.held, self.listener, (known,), timeout_s=timeout_s
            )
        except (StoreUnavailable, TooLarge) as error:
            log.warning("result_not_written", call=known.call, error=error)
            return doubtful
        return None

    async def _release(self, doubtful: Call | None, error: str, counts: bool) -> bool:
        """Release the run; return whether a cancel has been requested."""
        await self._leave_spans()
        release = self.services.store.release(
            self.held.lease,
            in_doubt=doubtful is not None,
            requeue_last=bool(error) or counts,  # it may fail again, so runs that wait go first
            error=error,
            counts=counts,
            usage=self.held.unrecorded_total(),
        )
        return await run_uninterrupted(release, self.services.exit_limit)

    async def _leave_spans(self) -> None:
        """Let another process export the spans, if this one has no traces, or dies before."""
        trace, head = self.held.unrecorded.trace, self.held.thread.head
        if not self._has_spans_left():
            return
        await self.services.store.add_trace_export(TraceExport(self.held.run, head))
        if trace:
            trace.rest(head)

    def _has_spans_left(self) -> bool:
        if trace := self.held.unrecorded.trace:
            return trace.is_pending
        if self.services.traces is not None or self.held.claimed:
            return False
        return bool(decision_of(self.held.thread))

    async def cancel(self) -> None:
        """Cancel a run that was released: its cancel may have been left to the holder."""
        await cancel(self.services, self.held.run)
        await self._catch_up()

    async def wait_until_idle(self) -> Outcome | None:
        """After a lost lease, return the outcome of an idle run; None if another process drives it.

        A renewal that arrives after this process's own last commit finds no lease, either.
        """
        with suppress(ServiceFault, NotFound, TimeoutError):
            async with asyncio.timeout(self._release_s()):
                while await self._is_being_cancelled():  # noqa: ASYNC110 - another process does it
                    await asyncio.sleep(self.services.timings.cancel_poll_s)
                await self._catch_up()
        return None if self.held.status == "running" else self._outcome()

    async def _is_being_cancelled(self) -> bool:
        """Return whether its lease was taken for a cancel, and its end is not written yet."""
        record = await self.services.store.run(self.held.run)
        return record.cancel_asked and record.status not in OVER

    # --- the journal ----------------------------------------------------------------------------

    async def _catch_up(self) -> Call | None:
        """Adopt what an interrupted step has committed; return the call that it leaves in doubt."""
        call = self._started_call()
        held = await catch_up(self.services, self.held, self.listener)
        self.held = structs.replace(held, status=_status_of(held.thread))
        return next((one for one in held.thread.pending if call and one.id == call.id), None)

    def _started_call(self) -> Call | None:
        """Return the call that this process, or the one that died during it, may have started."""
        thread = self.held.thread
        call = in_doubt(thread, self.workflow, self.services.limits)
        is_started = call and (thread.interrupted or call.id in self.held.held_lease.started_calls)
        return call if is_started else None

    @asynccontextmanager
    async def _keep_lease(self) -> AsyncIterator[None]:
        """Renew the lease of a run whose steps are over, and do not report what becomes of it.

        A process that claimed the run now would repeat what is about to be written.
        """
        renewer, lease = self.services.renewer, self.held.held_lease
        renewer.add(lease)
        try:
            yield
        finally:
            await renewer.discard(lease)

    def _release_s(self) -> float:
        """Return how long ending the drive may take."""
        return min(self.services.timings.release_s, self.services.exit_limit.left_s)


def _status_of(thread: Thread) -> RunStatus:
    if thread.status in OVER:
        return thread.status
    return "waiting" if thread.waits and not thread.timed_calls else "running"
