"""Runs that the tests of commands begin with."""

import asyncio

from tests.engine.stage import (
    Crash,
    Stage,
    Trouble,
    after_start,
    drive_new,
    kill,
    resume,
    start,
    world,
)
from twelvefold.core.events import (
    Event,
    ModelReplied,
    OutcomeUnknown,
)
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
MISSING = RunId(ThreadId("f" * 44), 1)
SHIPPING = calls(("ship", LAMP)), says("Good bye.")


UNKNOWN = OutcomeUnknown(CallId("2.0"), "ship")


async def answers(stage: Stage, run: RunId) -> list[Event]:
    """Return the journal of a run without its starts and its replies."""
    events = after_start(await stage.journal(run))
    return [event for event in events if not isinstance(event, ModelReplied)]


async def waiting_for_approval(stage: Stage) -> RunId:
    services = stage.process(calls(("buy", LAMP)), calls(("refund", LAMP)))
    outcome = await drive_new(services)
    assert outcome.status == "waiting"
    return outcome.run


async def left_amid(stage: Stage, place: str) -> RunId:
    """Return a run whose process was killed in an unsafe call."""
    world.trouble = trouble = Trouble(kill, places=[place])
    services = stage.process(*SHIPPING, trouble=trouble)
    run = (await start(services)).run
    await stage.let_leases_run_out()
    task = asyncio.ensure_future(resume(services, run))
    await asyncio.wait([task])
    assert isinstance(task.exception(), Crash)
    await stage.let_leases_run_out()
    world.trouble = Trouble()
    return run
