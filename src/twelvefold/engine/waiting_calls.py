"""The calls that wait for a person in a run and in the runs below it.

A person answers them at the run that a caller started: the runs below it are hidden.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from twelvefold.core import (
    ApprovalAsked,
    Call,
    CallId,
    ChildAsked,
    OutcomeUnknown,
    RunId,
    Thread,
    WaitStarted,
    fold,
)
from twelvefold.core.answers import question_of
from twelvefold.core.children import awaited_runs
from twelvefold.engine.services import Services
from twelvefold.errors import NotFound

_ASKS = ApprovalAsked | WaitStarted | OutcomeUnknown


class WaitingCall(NamedTuple):
    """A call that a person has to answer, and the run that has it."""

    run: RunId
    workflow: str
    call: Call


class AskedCall(NamedTuple):
    """A call that waits since `asked_us`, in microseconds since 1970."""

    waiting: WaitingCall
    asked_us: int


def child_asked(parent_call: CallId, found: WaitingCall) -> ChildAsked:
    """Return the entry by which the run of a caller asks a person to answer a run below it.

    `parent_call` is the call of the caller's run that waits for it.
    """
    call = found.call
    asked = question_of(call)
    return ChildAsked(
        parent_call,
        call.tool,
        str(found.run),
        call.id,
        found.workflow,
        call.shown_arguments,
        asked.question if asked else "",
        asked.schema if asked else None,
        call.state == "unknown",
    )


async def waiting_calls(services: Services, run: RunId, thread: Thread) -> list[WaitingCall]:
    """Return the calls that wait for a person: those of the run, then those of the runs below it.

    `thread` is that of the run.
    """
    return [found for found, _ in await asked_calls(services, run, thread)]


async def calls_below(services: Services, children: Iterable[RunId]) -> list[WaitingCall]:
    """Return the calls that wait for a person in these runs and in those below them."""
    return [found for found, _ in await _asked_below(services, children)]


async def asked_calls(services: Services, run: RunId, thread: Thread) -> list[AskedCall]:
    """Return what `waiting_calls` does, and since when each call waits."""
    own = [
        AskedCall(WaitingCall(run, thread.workflow, call), asked_us(thread, call.id))
        for call in thread.pending
        if needs_person(call)
    ]
    return own + await _asked_below(services, awaited_runs(thread.parent_calls))


async def _asked_below(services: Services, children: Iterable[RunId]) -> list[AskedCall]:
    found: list[AskedCall] = []
    for child in children:
        try:
            record = await services.retry(partial(services.store.run, child), math.inf)
            # A call of a run that was just claimed may still wait.
            if record.status not in ("waiting", "running"):
                continue
            stored = await services.retry(partial(services.store.load, child.thread), math.inf)
        except NotFound:  # it was deleted
            continue
        found += await asked_calls(services, child, fold(stored.entries))
    return found


def asked_us(thread: Thread, call: CallId) -> int:
    """Return since when a call of the latest run waits, in microseconds since 1970."""
    times = [e.at_us for e in thread.latest if isinstance(e.event, _ASKS) and e.event.call == call]
    return times[-1] if times else 0


def needs_person(call: Call) -> bool:
    """Return whether a person has to answer a pending call."""
    if isinstance(call.wait, WaitStarted):
        return bool(call.wait.question)
    return call.state in ("asked", "unknown")
