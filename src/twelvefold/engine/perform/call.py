"""One tool call, by its effect, and its outcome as an event."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, cast

from msgspec import Struct

from twelvefold.core import (
    CallId,
    CallKey,
    FanOut,
    OutcomeUnknown,
    Principal,
    ReadOnly,
    StepTransaction,
    SyncReadOnly,
    SyncTransaction,
    ToolFailed,
    ToolReadOnly,
    ToolSucceeded,
    Transaction,
    ValidCall,
    WaitStarted,
    place_text,
    render_result,
    truncate,
)
from twelvefold.core.waiting import WAITS
from twelvefold.core.waits import start_wait
from twelvefold.engine.durations import with_duration
from twelvefold.engine.held_run import CallOutcome
from twelvefold.engine.lease import HeldLease, LeaseGuard
from twelvefold.engine.perform.own_task import run_in_own_task
from twelvefold.engine.perform.sync_sql import SyncReader, SyncWriter
from twelvefold.engine.perform.tool_error import tool_error
from twelvefold.engine.perform.tool_thread import NotStarted, call_in_thread
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
OUTSIDE_EFFECTS = ("unsafe", "idempotent")
"""Effects that no transaction rolls back: such a call starts only under a valid lease."""
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
    with call_context(call.call.id):
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
                result = await run_in_own_task(partial(_call_tool, lease, principal, call, db, tx))
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


async def _call_tool(
    lease: HeldLease,
    principal: str,
    call: ValidCall,
    db: ToolReadOnly | None,
    tx: StepTransaction | None,
) -> object:
    """Return the tool's result. Raises what it raises, and NotStarted."""
    tool = call.tool
    async with _sql_for(call, db, tx) as sql:
        injected = _injected(call, lease, principal, sql)
        function = partial(tool.function, **injected, **call.resources, **call.arguments)
        if isinstance(sql, SyncWriter):
            function = partial(sql.call, function)
        return await _call_function(lease, call, function)


def _sql_for(
    call: ValidCall, db: ToolReadOnly | None, tx: StepTransaction | None
) -> AbstractAsyncContextManager[object]:
    """Return the transaction as the tool's function takes it."""
    if call.tool.is_async or db is None:
        return nullcontext(db)
    return SyncReader(db) if tx is None else SyncWriter(tx)


async def _call_function(
    lease: HeldLease, call: ValidCall, function: Callable[[], object]
) -> object:
    tool = call.tool
    with lease.track_call(tool.name, tool.timeout_s):
        if tool.effect not in OUTSIDE_EFFECTS:
            return await _run_function(call, function, _always)
        with _marked_as_started(lease, call.call.id):
            return await _run_function(call, function, lease.is_valid)


def _injected(call: ValidCall, lease: HeldLease, principal: str, db: object) -> dict[str, Any]:
    """Return the arguments that the engine passes, by the types of the parameters."""
    values: dict[type, object] = {
        Transaction: db,
        SyncTransaction: db,
        ReadOnly: db,
        SyncReadOnly: db,
        Principal: Principal(principal),
        CallKey: CallKey(f"{lease.lease.run.thread}:{call.call.id}"),
    }
    return {name: values[kind] for name, kind in call.tool.handed_in.items()}


async def _run_function(
    call: ValidCall, function: Callable[[], object], may_start: Callable[[], bool]
) -> object:
    if not call.tool.is_async:
        return await call_in_thread(call.tool.name, function, may_start)
    # Checked again: the process may have been paused since the lease was checked.
    if not may_start():
        raise NotStarted
    result = await cast("Awaitable[object]", function())
    if inspect.iscoroutine(result):
        # The tool has returned without doing the work of this coroutine.
        result.close()
        raise TypeError(f"it returned {result.__qualname__}(…) without `await` in front of it")
    return result


def _always() -> bool:
    return True


@contextmanager
def _marked_as_started(lease: HeldLease, call: CallId) -> Iterator[None]:
    """Mark the call as one that may have happened, unless the body raises NotStarted."""
    was_started = call in lease.started_calls
    lease.started_calls.add(call)
    try:
        yield
    except NotStarted:
        if not was_started:
            lease.started_calls.discard(call)
        raise


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
