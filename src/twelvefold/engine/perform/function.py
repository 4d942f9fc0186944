"""Runs a tool, or another function of the author's, in a task of its own."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

from twelvefold.core import (
    CallId,
    CallKey,
    Principal,
    ReadOnly,
    StepTransaction,
    SyncReadOnly,
    SyncTransaction,
    ToolReadOnly,
    Transaction,
    ValidCall,
)
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.perform.sync_sql import SyncReader, SyncWriter
from twelvefold.engine.perform.tool_thread import NotStarted, call_in_thread

OUTSIDE_EFFECTS = ("unsafe", "idempotent")
"""Effects that no transaction rolls back: such a call starts only under a valid lease."""


async def run_in_own_task(body: Callable[[], Awaitable[object]]) -> object:
    """Await `body()` in a new task; cancelling the caller cancels that task.

    A body that has just ended is not cancelled any more: its outcome is known.

    A tool, or another function of the author's, can leave a request for cancellation on its task
    without being cancelled: a TaskGroup of Python 3.11 does so when a child fails while the group
    waits for its end. On the run's task that would look like the end of the process.
    """

    async def attempt() -> tuple[object, BaseException | None]:
        try:
            return await body(), None
        except BaseException as error:  # a task that raises SystemExit ends the event loop
            return None, error

    task = asyncio.get_running_loop().create_task(attempt())
    try:
        result, error = await task
    except asyncio.CancelledError:
        if not task.done() or task.cancelled():
            raise
        result, error = task.result()
    if error is not None:
        raise error
    return result


async def call_tool(
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
