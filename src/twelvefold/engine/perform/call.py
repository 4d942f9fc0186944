"""One tool call, by its effect, and its outcome as an event."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import cast

from msgspec import Struct

from twelvefold.core import (
    Event,
    FanOut,
    ModelReplied,
    OutcomeUnknown,
    StepTransaction,
    ToolFailed,
    ToolReadOnly,
    ToolSucceeded,
    ValidCall,
    WaitStarted,
    place_text,
    render_result,
    truncate,
)
from twelvefold.core.waiting import WAITS
from twelvefold.core.waits import start_wait
from twelvefold.engine.held_run import CallOutcome, with_duration
from twelvefold.engine.lease import HeldLease, LeaseGuard
from twelvefold.engine.perform.function import OUTSIDE_EFFECTS, call_tool, run_in_own_task
from twelvefold.engine.perform.tool_error import tool_error
from twelvefold.engine.perform.tool_thread import NotStarted
from twelvefold.engine.services import Services
from twelvefold.errors import CancelAsked, StaleRun, StoreRefused, StoreUnavailable, ToolRefused
from twelvefold.observe import metrics
from twelvefold.observe.log import get_logger
from twelvefold.observe.trace_context import call_context

log = get_logger(__name__)
FAULT = (
    "Error: the tool failed for a reason that is not yours; try something else, or tell the user"
)
UNREADABLE = "The tool did its work, but what it returned cannot be shown; tell the user"
KEYED_ATTEMPTS = 3
"""How often a call with a key is attempted until it times out for good: the key makes the attempts
one call."""


class FanOutCall(Struct, frozen=True):
    """A call whose tool ran and returned the runs to start."""

    call: ValidCall
    returned: FanOut


class RollbackTool(Exception):
    """Rolls back the step's transaction, because the tool in it failed with `outcome`."""

    def __init__(self, outcome: CallOutcome) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome


async def run_call(
    services: Services,
    lease: HeldLease,
    principal: str,
    call: ValidCall,
    db: ToolReadOnly | None = None,
    tx: StepTransaction | None = None,
    attempts: int = KEYED_ATTEMPTS,
) -> CallOutcome | FanOutCall:
    """Call one tool and return the outcome, or the runs that it starts.

    An exception of the tool becomes a ToolFailed, and so does one of a statement that `tx` still
    had to flush. A failure of the connection `db` raises StoreUnavailable, even if the tool caught
    it: the step did not happen. A call with an outside effect starts only while the lease is known
    to be valid, and raises LeaseLost or CancelAsked otherwise. One that takes too long, or outlives
    the lease, is an OutcomeUnknown; one with a key only after `attempts` attempts.
    """
    began = services.monotonic()
    with nullcontext() if services.traces is None else call_context(call.call.id):
        outcome = await _run(services, lease, principal, call, db, tx, attempts)
    if isinstance(outcome, OutcomeUnknown | FanOutCall):
        return outcome
    return with_duration(services, outcome, began)


async def _run(
    services: Services,
    lease: HeldLease,
    principal: str,
    call: ValidCall,
    db: ToolReadOnly | None,
    tx: StepTransaction | None,
    attempts: int,
) -> CallOutcome | FanOutCall:
    is_outside = call.tool.effect in OUTSIDE_EFFECTS
    while True:
        if is_outside:
            await lease.ensure_valid_for_effect()
        limit, guard = asyncio.timeout(call.tool.timeout_s), LeaseGuard(lease)
        try:
            async with limit, guard if is_outside else nullcontext():
                result = await run_in_own_task(partial(call_tool, lease, principal, call, db, tx))
                await _flush(db, tx)
        except NotStarted as error:
            _raise_if_cancelled(error)
        except (GeneratorExit, KeyboardInterrupt):
            raise
        # A tool may raise SystemExit (an argument parser) or a panic (a library in Rust). No call
        # may end the process: the next process would run it again.
        except BaseException as error:
            _raise_if_not_of_the_tool(db, error)
            await _raise_if_lost(lease, guard, call)
            was_stopped = limit.expired() or guard.lapsed
            attempts -= 1
            if not (was_stopped and attempts and _may_run_again(call)):
                return failed_call(services, call, error, was_stopped=was_stopped)
            if metrics.active is not None:
                metrics.active.retried("tool")
            log.warning(
                "tool_timed_out", tool=call.tool.name, call=call.call.id, attempts_left=attempts
            )
        else:
            return _outcome(services, call, result)


def _outcome(services: Services, call: ValidCall, result: object) -> CallOutcome | FanOutCall:
    """Return the outcome of a call that returned `result`: now, or after a wait."""
    if not isinstance(result, (*WAITS, FanOut)):
        text = result_text(result, services, call)
        return ToolSucceeded(call.call.id, call.tool.name, text)
    try:
        if isinstance(result, FanOut) and call.tool.fans_out:
            return FanOutCall(call, result)
        if isinstance(result, FanOut) or not call.tool.may_wait:
            kind = type(result).__name__
            raise TypeError(f"it returned a {kind}; its return annotation must name {kind}")
        return start_wait(call.call.id, call.tool.name, result, call.began_us)
    except Exception as error:  # a type of the author's may raise anything
        return failed_call(services, call, error)


async def _raise_if_lost(lease: HeldLease, guard: LeaseGuard, call: ValidCall) -> None:
    """Raise LeaseLost or CancelAsked if the lease lapsed and another process has the run."""
    if guard.lapsed:
        log.warning("lease_lapsed", tool=call.tool.name, call=call.call.id)
        await lease.ensure_valid()


def _may_run_again(call: ValidCall) -> bool:
    """Return whether a call that was stopped may be attempted again under its key.

    A thread cannot be stopped: another attempt beside it would be a second concurrent call.
    """
    return call.tool.effect == "idempotent" and call.tool.is_async


async def _flush(db: ToolReadOnly | None, tx: StepTransaction | None) -> None:
    """Send the pending statements of the tool's ORM session. Raises if its transaction is lost."""
    if tx is not None:
        await asyncio.sleep(0)  # a statement that the tool has not awaited begins now
        await tx.flush()
    if db is not None:
        db.raise_if_lost()


def _raise_if_not_of_the_tool(db: ToolReadOnly | None, error: BaseException) -> None:
    """Raise if this task is cancelled, or if the failure is the database's or the lease's."""
    _raise_if_cancelled(error)
    if db is None:
        return
    with suppress(StoreRefused):  # by the tool's own statement
        db.raise_if_lost()
    if isinstance(error, StoreUnavailable | StaleRun | CancelAsked):
        raise error


def _raise_if_cancelled(error: BaseException) -> None:
    """Raise CancelledError if this task is cancelled, even if the tool has suppressed it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def failed_call(
    services: Services, call: ValidCall, error: BaseException, *, was_stopped: bool = False
) -> CallOutcome:
    """Return the outcome of a call whose tool raised `error`.

    `was_stopped`: the call was cancelled here, because of its timeout or the lease.
    """
    if isinstance(error, ToolRefused):
        message = model_text(f"Error: {error}", services)
        return ToolFailed(call.call.id, call.tool.name, "refused", message)
    raised = tool_error(error, call.tool, timed_out=was_stopped)
    where = place_text(raised)
    # Without the message, which may contain arguments.
    log.error("tool_raised", tool=call.tool.name, call=call.call.id, error=raised.type, where=where)
    if was_stopped and call.tool.effect in OUTSIDE_EFFECTS:
        return OutcomeUnknown(call.call.id, call.tool.name)
    return ToolFailed(call.call.id, call.tool.name, "fault", FAULT, raised)


async def run_in_step(
    services: Services,
    lease: HeldLease,
    principal: str,
    call: ValidCall,
    replies: Sequence[ModelReplied],
    tx: StepTransaction,
) -> Sequence[Event]:
    """Call a transactional tool that starts no runs; return its step's entries.

    Raises RollbackTool if it fails.
    """
    outcome = await run_transactional(services, lease, principal, call, tx)
    return (*replies, cast("CallOutcome", outcome))


async def run_transactional(
    services: Services, lease: HeldLease, principal: str, call: ValidCall, tx: StepTransaction
) -> ToolSucceeded | WaitStarted | FanOutCall:
    """Call a transactional tool. Raises RollbackTool if it fails."""
    outcome = await run_call(services, lease, principal, call, tx, tx)
    if not isinstance(outcome, ToolSucceeded | WaitStarted | FanOutCall):
        raise RollbackTool(outcome)
    return outcome


def result_text(result: object, services: Services, call: ValidCall) -> str:
    """Return a result as text. A result that has none is no failure: the tool has done its work."""
    try:
        return model_text(render_result(result), services)
    except Exception as error:
        log.error("result_unreadable", tool=call.tool.name, call=call.call.id, error=error)
        return UNREADABLE


def model_text(text: str, services: Services) -> str:
    """Return the text shortened to the limit of a result, and valid as UTF-8.

    Half of a surrogate pair becomes a backslash escape.
    """
    limit = services.limits.result_chars
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= limit else truncate(clean, limit)
