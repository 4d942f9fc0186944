"""Ends the waits of a run that are over, or lets the run wait."""

import math
from collections.abc import Sequence

from msgspec.structs import replace

from twelvefold.core import (
    Await,
    CallId,
    ChildAsked,
    Event,
    Listener,
    RejectedCall,
    RunId,
    Thread,
    ToolSucceeded,
    ValidCall,
    WaitCondition,
    WaitState,
)
from twelvefold.core.children import awaited_runs, final_status
from twelvefold.core.waits import due_us, ended_waits, joined_calls, signals_of
from twelvefold.engine.children import read_answers
from twelvefold.engine.commands import cancel_children
from twelvefold.engine.commit import write
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.perform import model_text
from twelvefold.engine.services import Services
from twelvefold.engine.waiting_calls import WaitingCall, calls_below, child_asked, needs_person
from twelvefold.errors import StaleRun

AnyCall = ValidCall | RejectedCall
_MAY_ASK = ("waiting", "running")
"""Statuses of runs with a call that may wait for a person; a queued one wakes its parent later."""


async def end_waits(
    services: Services, held: HeldRun, listener: Listener, decision: Await
) -> HeldRun:
    """Write the results of waits that are over; without one, release the run, which waits.

    A wake-up that comes after the state was read queues the run. If a run below this one needs a
    person, the run of a caller records it; another run wakes its parent.
    """
    calls, thread = decision.calls, held.thread
    signals, runs = signals_of(thread, calls), awaited_runs(calls)
    state = await services.retry(
        lambda: services.store.wait_state(held.run, signals, runs), math.inf
    )
    answers = await read_answers(services, joined_calls(calls, state))
    if events := ended_waits(thread, calls, state, answers):
        return await _end(services, held, listener, [_shorten(services, one) for one in events])
    below = await _asked_below(services, held, state)
    if asked := _next_question(thread, below):
        return await write(services, held, listener, (asked,))
    condition = WaitCondition(due_us(calls), state.wakes)
    try:
        held = await write(
            services, held, listener, (), "waiting", wait=condition, asks=bool(below)
        )
    except StaleRun:
        held = await _find_waiting(services, held)
    await _notify_if_queued(services, held)
    return held


async def _asked_below(
    services: Services, held: HeldRun, state: WaitState
) -> list[tuple[CallId, WaitingCall]]:
    """Return the calls that wait for a person below a run, each with the run's call above it."""
    found: list[tuple[CallId, WaitingCall]] = []
    for call in held.thread.parent_calls:
        active = [run for run in awaited_runs([call]) if state.runs.get(run) in _MAY_ASK]
        found += [(call.id, one) for one in await calls_below(services, active)]
    return found


def _next_question(
    thread: Thread, below: Sequence[tuple[CallId, WaitingCall]]
) -> ChildAsked | None:
    """Return the entry that asks a person to answer a run below; None if there is nothing to ask.

    Only the run of a caller asks. Persons are asked one by one: not while a call of the run itself
    needs one, or the call that was asked for last still waits.
    """
    if thread.parent or not below or any(map(needs_person, thread.pending)):
        return None
    last = thread.child_asked
    waiting = {(str(one.run), one.call.id) for _, one in below}
    if last and (last.run, last.child_call) in waiting:
        return None
    return child_asked(*below[0])


async def _end(
    services: Services, held: HeldRun, listener: Listener, events: Sequence[Event]
) -> HeldRun:
    """Write the results of waits; a hand-off ends the run. Cancel the runs that are not needed."""
    status = final_status(events) or "running"
    held = await write(services, held, listener, events, status)
    await cancel_children(services, held.cancelled)
    return replace(held, cancelled=())


def _shorten(services: Services, event: Event) -> Event:
    """Return a result as the model reads it."""
    if not isinstance(event, ToolSucceeded):
        return event
    return replace(event, result=model_text(event.result, services))


async def expiry_us(services: Services, run: RunId, timeout_s: float | None) -> int:
    """Return when an approval that is asked for now expires, by the database's clock; 0: never."""
    if timeout_s is None:
        return 0
    return await _server_time(services, run) + round(timeout_s * 1_000_000)


async def with_server_time(
    services: Services, run: RunId, calls: tuple[AnyCall, ...]
) -> tuple[AnyCall, ...]:
    """Return the calls with the database's time.

    It is read before a call: after one with an effect outside the database nothing may fail.
    """
    began_us = await _server_time(services, run)
    return tuple(
        replace(one, began_us=began_us) if isinstance(one, ValidCall) else one for one in calls
    )


async def _server_time(services: Services, run: RunId) -> int:
    return (await services.retry(lambda: services.store.wait_state(run), math.inf)).now_us


async def _find_waiting(services: Services, held: HeldRun) -> HeldRun:
    """Return the run if a commit whose answer was lost has let it wait. Raises StaleRun."""
    record = await services.retry(lambda: services.store.run(held.run), math.inf)
    if record.status != "waiting":
        raise StaleRun(f"run {held.run}: another process has taken it over").loggable()
    return replace(held, status="waiting")


async def _notify_if_queued(services: Services, held: HeldRun) -> None:
    """Notify workers of a run that was woken just before it would have waited."""
    record = await services.retry(lambda: services.store.run(held.run), math.inf)
    if record.status == "queued":
        services.wake_ups.run_queued(held.thread.workflow)
