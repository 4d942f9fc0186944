"""Drives a run, step by step, under a lease and a deadline.

The drive ends when the run is idle: it is over, or it waits.

A process that drains gives its runs back at the next step, or at once: see `DrainGuard`.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, cast

from msgspec import structs

from twelvefold.core import (
    OVER,
    ApprovalAsked,
    Entry,
    Listener,
    OutcomeUnknown,
    RunFinished,
    limits_of,
)
from twelvefold.engine.commands import cancel_children, give_back
from twelvefold.engine.held_run import HeldRun, held_trace
from twelvefold.engine.lease import LeaseRenewal
from twelvefold.engine.measured import measured_step
from twelvefold.engine.retry import cause_of
from twelvefold.engine.run_driver import Outcome, RunDriver
from twelvefold.engine.services import Services
from twelvefold.engine.step import step
from twelvefold.engine.traces import driven
from twelvefold.errors import (
    CancelAsked,
    InsufficientQuota,
    MigrationUnfinished,
    ModelRejected,
    ModelUnavailable,
    NotFound,
    RequestError,
    ResourceUnavailable,
    StaleRun,
    StoreFailed,
    StoreUnavailable,
    TooLarge,
)
from twelvefold.observe import metrics
from twelvefold.observe.log import bind, get_logger

__all__ = ["DrainGuard", "Outcome", "drive", "may_have_children"]

log = get_logger(__name__)
_LAST_EVENTS = (RunFinished, ApprovalAsked, OutcomeUnknown)
"""A drive ends by itself after one of these."""


async def drive(
    services: Services, held: HeldRun, listener: Listener, *, fail_on_fault: bool = False
) -> Outcome:
    """Drive a run until it is idle.

    A fault of the model's server or of a resource, or an unexpected error, gives the run back for
    any process to continue. With `fail_on_fault` it ends the run as failed under the lease that
    is still held: a caller waits for this run, so no other process may retry it first. Raises
    StaleRun if another process continues the run. Gives the run back when cancelled.
    """
    is_observed = metrics.active is not None or services.traces is not None
    with bind(run=str(held.run)), _observed(services, held) if is_observed else nullcontext():
        workflow = services.workflows.get(held.thread.workflow)
        if workflow is None:
            await give_back(services, held)
            raise NotFound(
                f"run {held.run} is of workflow {held.thread.workflow!r}, "
                "which WORKFLOWS does not name"
            )
        driver = RunDriver(services, held, workflow, listener)
        outcome = await _drive(driver, fail_on_fault)
        if outcome.status in OVER and driver.held.unrecorded.has_lost_call:
            await _charge_lost(driver)
        if driver.held.cancelled:
            await cancel_children(services, driver.held.cancelled)
        return outcome


@contextmanager
def _observed(services: Services, held: HeldRun) -> Iterator[None]:
    """Count the drive and collect its spans, where metrics or traces are on."""
    with metrics.driven_run(), driven(held_trace(services, held)):
        yield


async def _charge_lost(driver: RunDriver) -> None:
    """Charge in full the calls of a run that is over; a worker does it if this process cannot."""
    from twelvefold.engine.metering import charge_lost  # only runs under budgets need it

    with suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(driver.services.timings.release_s):
            await charge_lost(driver.services, driver.held)


def may_have_children(services: Services, held: HeldRun) -> bool:
    """Return whether the run may start other runs, or waits for some."""
    workflow = services.workflows.get(held.thread.workflow)
    return bool(held.thread.parent_calls) or (workflow is not None and workflow.starts_runs)


async def _drive(driver: RunDriver, fail_on_fault: bool) -> Outcome:
    """Drive the run, and give it back when that fails."""
    try:
        return await (_drive_or_fail(driver) if fail_on_fault else _drive_until_idle(driver))
    except ModelUnavailable as error:
        log.warning("run_given_back", error=error)
        # A reply that broke off was paid for, so the number of such attempts is limited.
        return await driver.give_back(str(error), counts=error.usage is not None)
    except (StoreUnavailable, ResourceUnavailable) as error:
        log.warning("run_given_back", error=error)
        counts = not isinstance(error, MigrationUnfinished)
        return await driver.give_back(str(error), counts=counts)
    except StaleRun as error:
        driver.services.threads.drop(driver.held.run.thread)
        if outcome := await driver.wait_until_idle():
            return outcome
        log.warning("run_taken_over", error=error)
        if metrics.active is not None:
            metrics.active.lease_lost()
        raise
    except BaseException as error:
        # An unexpected error may recur with each attempt. A process that stops is no failure.
        await driver.give_back("", counts=not isinstance(error, asyncio.CancelledError))
        raise


async def _drive_or_fail(driver: RunDriver) -> Outcome:
    """Drive a run that must not be given back because of a fault.

    Raises what stopped the run if its end could not be written, and any unexpected error.
    """
    try:
        return await _drive_until_idle(driver)
    except (StaleRun, StoreUnavailable):
        raise  # nothing can be written now
    except (ModelUnavailable, ResourceUnavailable) as error:
        log.warning("run_failed_by_outage", error=error)
        with suppress(StoreUnavailable, TooLarge):
            return await driver.end("failed", "unavailable", f"{error}; try again later")
        raise
    except Exception as error:
        kind = type(error).__name__
        message = f"an unexpected {kind} stopped the run; the server's log says where"
        with suppress(Exception):
            await driver.end("failed", "error", message)
        raise


async def _drive_until_idle(driver: RunDriver) -> Outcome:
    services, held = driver.services, driver.held
    limits = limits_of(held.thread, services.limits)
    driver.held = structs.replace(held, drive_until=services.monotonic() + limits.deadline_s)
    if driver.workflow.needs_gate:
        await services.gate.check_workflow(driver.workflow)
    if held.attempts > limits.max_attempts:
        return await driver.end("failed", "attempts", await driver.error_of_attempts())
    try:
        async with (
            asyncio.timeout(limits.deadline_s) as deadline,
            LeaseRenewal(services.renewer, held.held_lease),
        ):
            return await _run_steps(driver)
    except CancelAsked:
        return await driver.end("cancelled", "cancelled")
    except InsufficientQuota as error:
        return await driver.stop_over_budget(error)
    except (ModelRejected, RequestError) as error:
        return await driver.end("failed", "rejected", str(error))
    except (StoreFailed, TooLarge) as error:
        return await driver.end("failed", "database", str(error))
    except TimeoutError as expired:
        if not deadline.expired():
            raise
        if cause := cause_of(expired):
            return await driver.end("failed", "database", str(cause))
        return await driver.end("incomplete", "deadline")


async def _run_steps(driver: RunDriver) -> Outcome:
    if driver.held.cancel_asked:
        raise CancelAsked(f"run {driver.held.run} has a cancel request")
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    cancelling = task.cancelling()
    perform = step if metrics.active is None else measured_step
    while driver.held.status == "running":
        if task.cancelling() > cancelling:
            # A tool has caught the cancellation by the deadline or by the process's end.
            raise asyncio.CancelledError
        # The event loop may have been blocked, or a COMMIT answered late.
        await driver.held.held_lease.ensure_valid()
        driver.held = await perform(driver.services, driver.held, driver.workflow, driver.listener)
    if driver.held.status == "queued":  # a cancel request was found when it was released
        await driver.cancel()
    driver.services.threads.put(driver.held.run.thread, driver.held.thread)
    return Outcome(driver.held.run, driver.held.status, driver.held.thread)


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
