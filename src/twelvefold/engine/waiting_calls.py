"""The calls that wait for a person in a run and in the runs below it.

A person answers them at the run that a caller started: the runs below it are hidden.
"""

import math
from functools import partial
from typing import NamedTuple

from twelvefold.core import Call, RunId, Thread, WaitStarted, fold
from twelvefold.core.children import awaited_runs
from twelvefold.engine.services import Services
from twelvefold.errors import NotFound


class WaitingCall(NamedTuple):
    """A call that a person has to answer, and the run that has it."""

    run: RunId
    workflow: str
    call: Call


async def waiting_calls(services: Services, run: RunId, thread: Thread) -> list[WaitingCall]:
    """Return the calls that wait for a person: those of the run, then those of the runs below it.

    `thread` is that of the run.
    """
    found = [
        WaitingCall(run, thread.workflow, call) for call in thread.pending if needs_person(call)
    ]
    for child in awaited_runs(thread.parent_calls):
        try:
            record = await services.retry(partial(services.store.run, child), math.inf)
            if record.status != "waiting":
                continue
            stored = await services.retry(partial(services.store.load, child.thread), math.inf)
        except NotFound:  # it was deleted
            continue
        found += await waiting_calls(services, child, fold(stored.entries))
    return found


def needs_person(call: Call) -> bool:
    """Return whether a person has to answer a pending call."""
    if isinstance(call.wait, WaitStarted):
        return bool(call.wait.question)
    return call.state in ("asked", "unknown")
