"""A tool call, by its effect: what it may touch, and what the model reads of it."""

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, cast

from twelvefold.core.conversation.rendering import rendered
from twelvefold.core.events import Event, OutcomeUnknown, ToolFailed, ToolSucceeded
from twelvefold.core.failures import place_text
from twelvefold.core.gates import ValidCall
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    CallKey,
    Principal,
    ReadOnly,
    StepTransaction,
    ToolReadOnly,
    Transaction,
)
from twelvefold.core.request import cut
from twelvefold.core.thread import Call
from twelvefold.core.workflow import RejectedCall, Workflow, explain
from twelvefold.engine.commit import CallOutcome
from twelvefold.engine.lease import HeldLease, LeaseGuard
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.engine.tool_error import tool_error
from twelvefold.engine.tool_thread import NotStarted, call_in_thread
from twelvefold.errors import CancelAsked, StaleRun, StoreRefused, StoreUnavailable, ToolRefused
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
FAULT = (
    "Error: the tool failed for a reason that is not yours; try something else, or tell the user"
)
LEAVES_THE_DATABASE = ("unsafe", "idempotent")
"""Effects that no transaction undoes: such a call starts only under a live lease."""
KEYED_TRIES = 3
"""How often a call with a key is run before its time is up for good: the key makes it one call."""
UNREADABLE = "The tool did its work, but what it returned cannot be shown; tell the user"


class RollbackTool(Exception):
    """Rolls back the step's transaction, because the tool in it failed; `result` is how."""

    def __init__(self, result: CallOutcome) -> None:
        super().__init__(type(result).__name__)
        self.result = result


async def run_call(
    services: Services,
    held: HeldLease,
    principal: str,
    call: ValidCall,
    db: ToolReadOnly | None = None,
    tx: StepTransaction | None = None,
    tries: int = KEYED_TRIES,
) -> CallOutcome:
    """Call one tool and return what came of it.

    Whatever the tool raises becomes a ToolFailed, and so does what `tx` still had to flush. A
    failure of its connection `db` never does, whatever the tool made of it: that raises
    StoreUnavailable, and the step did not happen. A call with an effect elsewhere starts only
    while the lease is known to hold, and raises LeaseLost or CancelAsked otherwise. One that takes
    too long, or outlives the lease, is an OutcomeUnknown; one with a key only after `tries` tries.
    """
    tool = call.tool
    leaves = tool.effect in LEAVES_THE_DATABASE
    if leaves:
        await held.confirm_for_effect()
    limit, guard = asyncio.timeout(tool.timeout_s), LeaseGuard(held)
    try:
        async with limit, guard if leaves else nullcontext():
            result = await _in_own_task(partial(_called, held, principal, call, db))
            await _settle(db, tx)
    except NotStarted:
        return await run_call(services, held, principal, call, db, tx, tries)
    except (GeneratorExit, KeyboardInterrupt):
        raise
    # A parser of arguments ends the process where it likes none, a library in Rust panics: no call
    # may end the process, and the next one, and so on.
    except BaseException as error:
        _raise_if_not_the_tools(db, error)
        if guard.lapsed:
            log.warning("lease_lapsed", tool=tool.name, call=call.call.id)
            await held.confirm()  # or leave the run to the process that has it
        is_cut_off = limit.expired() or guard.lapsed
        # A thread cannot be stopped: a second one beside it would be a second call at a time.
        if is_cut_off and tool.effect == "idempotent" and tries > 1 and tool.is_async:
            log.warning("tool_timed_out", tool=tool.name, call=call.call.id, tries=tries)
            return await run_call(services, held, principal, call, db, tx, tries - 1)
        return failed_call(services, call, error, is_cut_off=is_cut_off)
    return ToolSucceeded(call.call.id, tool.name, _shown(result, services, call))


async def _in_own_task(body: Callable[[], Awaitable[object]]) -> object:
    """Await `body()` in a task of its own; cancelling the caller cancels that task.

    A tool can leave a request for cancellation on its task without being cancelled: a TaskGroup of
    Python 3.11 does so when a child fails while the group waits for its end. On the run's task
    that would look like the end of the process.
    """

    async def attempt() -> tuple[object, BaseException | None]:
        try:
            return await body(), None
        except BaseException as error:  # a task that raises SystemExit ends the event loop
            return None, error

    result, error = await asyncio.get_running_loop().create_task(attempt())
    if error is not None:
        raise error
    return result


async def _called(
    held: HeldLease, principal: str, call: ValidCall, db: ToolReadOnly | None
) -> object:
    """What the tool returns. Raises what it raises, and NotStarted."""
    tool, arguments = call.tool, {**_handed_in(call, held, principal, db), **call.arguments}
    function = partial(tool.function, **arguments)
    with held.calling(tool.name, tool.timeout_s):
        if tool.effect not in LEAVES_THE_DATABASE:
            return await _result_of(call, function, _always)
        with _marked_as_begun(held, call.call.id):
            return await _result_of(call, function, held.is_valid)


async def _result_of(
    call: ValidCall, function: Callable[[], object], may_start: Callable[[], bool]
) -> object:
    if not call.tool.is_async:
        return await call_in_thread(call.tool.name, function, may_start)
    # Checked again: the process may have been paused since the lease was confirmed.
    if not may_start():
        raise NotStarted
    result = await cast("Awaitable[object]", function())
    if inspect.iscoroutine(result):
        # What it was to do is not done, though the tool has returned.
        result.close()
        raise TypeError(f"it returned {result.__qualname__}(…) without `await` in front of it")
    return result


def _always() -> bool:
    return True


@contextmanager
def _marked_as_begun(held: HeldLease, call: CallId) -> Iterator[None]:
    """Marks the call as one that may have happened; not if it was never started."""
    was_begun = call in held.begun
    held.begun.add(call)
    try:
        yield
    except NotStarted:
        if not was_begun:
            held.begun.discard(call)
        raise


async def _settle(db: ToolReadOnly | None, tx: StepTransaction | None) -> None:
    """Send what the tool's ORM session holds back. Raises if its transaction was lost."""
    if tx is not None:
        await asyncio.sleep(0)  # a statement that the tool has not waited for begins now
        await tx.flush()
    if db is not None:
        db.raise_if_lost()


def _raise_if_not_the_tools(db: ToolReadOnly | None, error: BaseException) -> None:
    """Raise what says that this task, the database or the run is not ours to use now."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        # Whatever the tool made of it: it is this task that is to end.
        raise asyncio.CancelledError from error
    if db is None:
        return
    with suppress(StoreRefused):  # by the tool's own statement
        db.raise_if_lost()
    if isinstance(error, StoreUnavailable | StaleRun | CancelAsked):
        raise error


def failed_call(
    services: Services, call: ValidCall, error: BaseException, *, is_cut_off: bool = False
) -> CallOutcome:
    """What came of a call whose tool raised `error`; `is_cut_off`: because it was cancelled."""
    if isinstance(error, ToolRefused):
        message = _readable(f"Error: {error}", services)
        return ToolFailed(call.call.id, call.tool.name, "refused", message)
    raised = tool_error(error, call.tool, timed_out=is_cut_off)
    where = place_text(raised)
    # Without the message, which may hold arguments.
    log.error("tool_raised", tool=call.tool.name, call=call.call.id, error=raised.type, where=where)
    if is_cut_off and call.tool.effect in LEAVES_THE_DATABASE:
        # It was we who stopped it: nobody knows how far it had come.
        return OutcomeUnknown(call.call.id, call.tool.name)
    return ToolFailed(call.call.id, call.tool.name, "fault", FAULT, raised)


async def run_in_step(
    services: Services, held: HeldLease, principal: str, call: ValidCall, tx: StepTransaction
) -> Event:
    """Call a transactional tool. Raises RollbackTool if what it wrote must not stay."""
    told = await run_call(services, held, principal, call, tx, tx)
    if not isinstance(told, ToolSucceeded):
        raise RollbackTool(told)
    return told


async def run_group(
    services: Services, workflow: Workflow, held: HeldLease, principal: str, calls: "Calls"
) -> tuple[Event, ...]:
    """Answer calls that leave no trace, side by side, in their order."""
    answers = await asyncio.gather(
        *(_answered(services, workflow, held, principal, *one) for one in calls),
        return_exceptions=True,
    )
    told: list[Event] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        told.append(answer)
    return tuple(told)


Calls = Sequence[tuple[ValidCall | RejectedCall, Call]]


async def _answered(
    services: Services,
    workflow: Workflow,
    held: HeldLease,
    principal: str,
    admitted: ValidCall | RejectedCall,
    call: Call,
) -> CallOutcome:
    if isinstance(admitted, RejectedCall):
        return bad_call(services, workflow, admitted, call)
    if admitted.tool.effect != "readonly":
        return await run_call(services, held, principal, admitted)

    async def read() -> CallOutcome:
        async with services.store.read() as db:
            return await run_call(services, held, principal, admitted, db)

    return await retry_unavailable(read, math.inf, services.limits.retry_timeout_s)


def bad_call(services: Services, workflow: Workflow, bad: RejectedCall, call: Call) -> ToolFailed:
    """What the model reads about a call that never reached its tool."""
    try:
        message = workflow.explain(bad)
    except Exception as error:
        log.error("explain_raised", workflow=workflow.name, failure=bad.failure, error=error)
        message = explain(bad)
    return ToolFailed(call.id, call.tool, bad.failure, _readable(message, services))


def _handed_in(call: ValidCall, held: HeldLease, principal: str, db: object) -> dict[str, Any]:
    values = {
        Transaction: db,
        ReadOnly: db,
        Principal: Principal(principal),
        CallKey: CallKey(f"{held.lease.run.thread}:{call.call.id}"),
    }
    return {name: values[kind] for name, kind in call.tool.handed_in.items()}


def _shown(result: object, services: Services, call: ValidCall) -> str:
    """What the model reads of a result. The tool has done its work, whatever it returned."""
    try:
        return _readable(rendered(result), services)
    except Exception as error:
        log.error("result_unreadable", tool=call.tool.name, call=call.call.id, error=error)
        return UNREADABLE


def _readable(text: str, services: Services) -> str:
    """The text as UTF-8 can carry it, no longer than allowed.

    Half of a surrogate pair is shown as what it is.
    """
    limit = services.limits.result_chars
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= limit else cut(clean, limit)
