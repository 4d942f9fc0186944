"""Steps until the run rests: under a lease, a deadline, and a cancel that acts between steps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from twelvefold.core.decide import in_doubt
from twelvefold.core.events import Event, FinalStatus, OutcomeUnknown, RunFinished
from twelvefold.core.ids import RunId
from twelvefold.core.ports import OVER, Listener, RunStatus
from twelvefold.core.thread import Call, Thread
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import cancel, give_back
from twelvefold.engine.commit import CallOutcome, HeldRun, caught_up, write
from twelvefold.engine.lease import LeaseRenewal
from twelvefold.engine.retry import cause_of
from twelvefold.engine.services import Services
from twelvefold.engine.shield import run_uninterrupted
from twelvefold.engine.step import step
from twelvefold.errors import (
    CancelAsked,
    ModelRejected,
    ModelUnavailable,
    NotFound,
    RequestError,
    ServiceFault,
    StaleRun,
    StoreFailed,
    StoreUnavailable,
    TooLarge,
)
from twelvefold.observe.log import bind, get_logger

log = get_logger(__name__)
RELEASE_S = 5.0
"""How long a process tries to give a run back; then its lease expires. `ExitLimit` ends that
earlier in a process that stops."""
POLL_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a run came to rest. `error` is a sentence, where there is something to say.

    "queued" means that a service failed and that any process may go on with the run.
    """

    run: RunId
    status: RunStatus
    thread: Thread
    error: str = ""


class _Drive:
    """One run in hand; `driven` is always what the journal says."""

    def __init__(
        self, services: Services, driven: HeldRun, workflow: Workflow, listener: Listener
    ) -> None:
        self.services = services
        self.driven = driven
        self.workflow = workflow
        self.listener = listener

    async def steps(self) -> Outcome:
        if self.driven.cancel_asked:
            raise CancelAsked(f"run {self.driven.run} is to be cancelled")
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancelling = task.cancelling()
        while self.driven.status == "running":
            if task.cancelling() > cancelling:
                # A tool has made a result of the deadline's or the process's end.
                raise asyncio.CancelledError
            # The event loop may have been blocked, or a COMMIT answered late: check before more.
            await self.driven.held.confirm()
            self.driven = await step(self.services, self.driven, self.workflow, self.listener)
        if self.driven.status == "queued":  # it was to be cancelled when it was given back
            await self._cancel()
        return self.outcome()

    async def _cancel(self) -> None:
        """End a run that was given back: who asked for it may have left its end to the holder."""
        await cancel(self.services, self.driven.run)
        await self.catch_up()

    async def end(self, status: FinalStatus, reason: str, error: str = "") -> Outcome:
        """Finish the run from outside.

        A call whose result is known but not written yet is written with the end. One that was under
        way is left to a person, unless the run is cancelled: then its outcome stays unknown.
        """
        doubtful = await self.catch_up()
        if self.driven.status != "running" and not self.driven.cancel_asked:
            return self.outcome()
        events, resting = self._last_events(RunFinished(status, reason, error), doubtful)
        try:
            self.driven = await write(
                self.services, self.driven, self.listener, events, resting, error=error
            )
        except CancelAsked:
            return await self.end("cancelled", "cancelled")
        except TooLarge:
            if self.driven.unrecorded.outcome is None:
                raise
            # The result is what cannot be stored: a person has to say what came of the call.
            self.driven.unrecorded.outcome = None
            return await self.end(status, reason, error)
        return self.outcome(error)

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
        """What came of the call, where this process knows it and could not write it yet."""
        known = self.driven.unrecorded.outcome
        is_known = known and known.call == call.id and not isinstance(known, OutcomeUnknown)
        return known if is_known else None

    async def error_of_attempts(self) -> str:
        """Says that there were too many, and the last error that one of them named."""
        record = await self.services.store.run(self.driven.run)
        said = f"{self.services.limits.max_attempts} attempts at this step ended without a result"
        return f"{said}; the last error: {record.error}" if record.error else said

    async def rests(self) -> Outcome | None:
        """Where the run has come to rest, whoever brought it there; None if it goes on elsewhere.

        A renewal that falls behind our own last commit finds no lease, either.
        """
        with suppress(ServiceFault, NotFound, TimeoutError):
            async with asyncio.timeout(_moment_s(self.services)):
                while await self._is_being_cancelled():  # noqa: ASYNC110 - another process rings no bell
                    await asyncio.sleep(POLL_INTERVAL_S)
                await self.catch_up()
        return None if self.driven.status == "running" else self.outcome()

    async def _is_being_cancelled(self) -> bool:
        """Whether its end is still to come: first it is taken away, then it is ended."""
        record = await self.services.store.run(self.driven.run)
        return record.cancel_asked and record.status not in OVER

    async def let_go(self, error: str, *, counts: bool = False) -> Outcome:
        """Give the run back as it is, for any process to go on with.

        A result that is known and not written yet is written first. `counts`: this attempt counts
        towards `max_attempts`. Nothing is written once the process has abandoned work: its lease
        expires.
        """
        if self.services.exit_limit.has_passed:
            return Outcome(self.driven.run, "queued", self.driven.thread, error)
        with suppress(ServiceFault, StaleRun, CancelAsked, TimeoutError):
            async with self.keeping_lease(), asyncio.timeout(_moment_s(self.services)):
                doubtful = await self._settled(await self.catch_up())
                if self.driven.status == "running" and await self._give_back(
                    doubtful, error, counts
                ):
                    await self._cancel()
                if self.driven.status != "running":
                    return self.outcome()
        return Outcome(self.driven.run, "queued", self.driven.thread, error)

    async def _settled(self, doubtful: Call | None) -> Call | None:
        """Write the result of a doubtful call, if it is known; returns what is still in doubt."""
        known = self._known_outcome(doubtful) if doubtful else None
        if known is None:
            return doubtful
        timeout_s = _moment_s(self.services) / 2  # the rest is for giving the run back
        try:
            self.driven = await write(
                self.services, self.driven, self.listener, (known,), timeout_s=timeout_s
            )
        except (StoreUnavailable, TooLarge) as error:
            log.warning("result_not_written", call=known.call, error=error)
            return doubtful
        return None

    @asynccontextmanager
    async def keeping_lease(self) -> AsyncIterator[None]:
        """Renews the lease of a run whose steps are over, without word of what becomes of it.

        A run that somebody else took up now would pay once more for what is still to be written.
        """
        renewer, held = self.services.renewer, self.driven.held
        renewer.add(held)
        try:
            yield
        finally:
            await renewer.discard(held)

    async def _give_back(self, doubtful: Call | None, error: str, counts: bool) -> bool:
        release = self.services.store.release(
            self.driven.lease,
            in_doubt=doubtful is not None,
            behind=bool(error) or counts,  # it may fail again, so runs that wait go first
            error=error,
            counts=counts,
            usage=self.driven.unrecorded_total(),
        )
        return await run_uninterrupted(release, self.services.exit_limit)

    async def catch_up(self) -> Call | None:
        """Adopt what a step that was cut off has committed; the call that it leaves in doubt."""
        call = self._call_under_way()
        driven = await caught_up(self.services, self.driven, self.listener)
        self.driven = replace(driven, status=_status_of(driven.thread))
        return next((one for one in driven.thread.pending if call and one.id == call.id), None)

    def _call_under_way(self) -> Call | None:
        """The call that this process or, if it died in it, the last one may have started."""
        thread = self.driven.thread
        call = in_doubt(thread, self.workflow, self.services.limits)
        is_begun = call and (thread.interrupted or call.id in self.driven.held.begun)
        return call if is_begun else None

    def outcome(self, error: str = "") -> Outcome:
        thread = self.driven.thread
        said = error or thread.error or thread.reason
        return Outcome(self.driven.run, self.driven.status, thread, said)


def _moment_s(services: Services) -> float:
    """How long the end of a drive may take."""
    return min(RELEASE_S, services.exit_limit.left_s)


def _status_of(thread: Thread) -> RunStatus:
    if thread.status in OVER:
        return thread.status
    return "waiting" if thread.waits else "running"


async def drive(
    services: Services, driven: HeldRun, listener: Listener, *, fail_on_fault: bool = False
) -> Outcome:
    """Take a run as far as it goes now.

    A fault of the model's server, or an unexpected error, gives the run back for any process to
    continue. With `fail_on_fault` it ends the run as failed under the lease that is still held: a
    caller waits for this run, so no other process may retry it first. Raises StaleRun if another
    process goes on with the run. Gives the run back when cancelled.
    """
    with bind(run=str(driven.run)):
        return await _driven(services, driven, listener, fail_on_fault)


async def _driven(
    services: Services, driven: HeldRun, listener: Listener, fail_on_fault: bool
) -> Outcome:
    workflow = services.workflows.get(driven.thread.workflow)
    if workflow is None:
        await give_back(services, driven)
        raise NotFound(
            f"run {driven.run} is of workflow {driven.thread.workflow!r}, "
            "which WORKFLOWS does not name"
        )
    hand = _Drive(services, driven, workflow, listener)
    try:
        return await (_until_rest_or_failed(hand) if fail_on_fault else _until_rest(hand))
    except ModelUnavailable as error:
        log.warning("run_let_go", error=error)
        # A reply that broke off was paid for, so it is not requested without end.
        return await hand.let_go(str(error), counts=error.usage is not None)
    except StoreUnavailable as error:
        log.warning("run_let_go", error=error)
        return await hand.let_go(str(error), counts=True)
    except StaleRun as error:
        if rested := await hand.rests():
            return rested
        log.warning("run_taken_over", error=error)
        raise
    except BaseException as error:
        # An error of our own may come again with each attempt; that a process stops is none.
        await hand.let_go("", counts=not isinstance(error, asyncio.CancelledError))
        raise


async def _until_rest_or_failed(hand: _Drive) -> Outcome:
    """Drive a run that must not be given back because of a fault.

    Raises what stopped the run if its end could not be written, and any unexpected error.
    """
    try:
        return await _until_rest(hand)
    except (StaleRun, StoreUnavailable):
        raise  # nothing can be written now
    except ModelUnavailable as error:
        log.warning("run_failed_by_outage", error=error)
        with suppress(StoreUnavailable, TooLarge):
            return await _ended(hand, "failed", "unavailable", f"{error}; try again later")
        raise
    except Exception as error:
        said = f"an unexpected {type(error).__name__} stopped the run; the server's log says where"
        with suppress(Exception):
            await _ended(hand, "failed", "error", said)
        raise


async def _until_rest(hand: _Drive) -> Outcome:
    limits = hand.services.limits
    if hand.driven.attempts > limits.max_attempts:
        error = await hand.error_of_attempts()
        return await _ended(hand, "failed", "attempts", error)
    try:
        async with (
            asyncio.timeout(limits.deadline_s) as deadline,
            LeaseRenewal(hand.services.renewer, hand.driven.held),
        ):
            return await hand.steps()
    except CancelAsked:
        return await _ended(hand, "cancelled", "cancelled")
    except (ModelRejected, RequestError) as error:
        return await _ended(hand, "failed", "rejected", str(error))
    except (StoreFailed, TooLarge) as error:
        return await _ended(hand, "failed", "database", str(error))
    except TimeoutError as late:
        if not deadline.expired():
            raise
        if cause := cause_of(late):
            return await _ended(hand, "failed", "database", str(cause))
        return await _ended(hand, "incomplete", "deadline")


async def _ended(hand: _Drive, status: FinalStatus, reason: str, error: str = "") -> Outcome:
    """Write the end, if the database is there to take it within a moment."""
    try:
        async with hand.keeping_lease(), asyncio.timeout(_moment_s(hand.services)):
            return await hand.end(status, reason, error)
    except TimeoutError as late:
        cause = cause_of(late) or "the database does not answer"
        told = cause.logged if isinstance(cause, StoreUnavailable) else cause
        raise StoreUnavailable(f"the end of the run is not written: {cause}").loggable(
            f"the end of the run is not written: {told}"
        ) from late
