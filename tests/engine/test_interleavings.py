"""Whatever happens to the processes, the journal is that of a run without faults.

Kills, stops and lost answers at any place that a process reaches, in any sequence.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.stage import (
    WITHOUT_DATABASE,
    Crash,
    Stage,
    Trouble,
    cut_off,
    kill,
    resume,
    staged,
    start,
    world,
)
from twelvefold.core.events import Event, Item, OutcomeSettled, OutcomeUnknown
from twelvefold.core.ids import RunId
from twelvefold.core.ports import OVER
from twelvefold.core.thread import Thread, fold
from twelvefold.engine.commands import answer, settle
from twelvefold.engine.drive import Outcome
from twelvefold.errors import Conflict
from twelvefold.services.model.scripted import calls, says

PROCESSES = 40
"""More than any run needs; a run that is not over by then is stuck."""
Script = Sequence[list[Item]]
Happens = tuple[str, int]
"""A fault of a process, and at which of the places that it reaches; at 0, none."""


@dataclass
class Ending:
    """The journal and the effects of a run."""

    events: list[object]
    bought: list[str]
    shipped: list[str]
    notified: list[str]


async def play(template: Path, script: Script, troubles: Sequence[Happens]) -> Ending:
    """Drive a run to its end by one process after another, each until its fault."""
    async with staged(template) as stage:
        run = (await start(stage.process())).run
        left = chain(troubles, repeat(("", 0)))
        for _ in range(PROCESSES):
            thread = fold(await stage.entries(run))
            if thread.status in OVER:
                return await _ending(stage, run)
            await stage.let_leases_run_out()
            if thread.waits:
                await _person(stage, run, thread)
            else:
                await _process(stage, run, script, *next(left))
    raise AssertionError("the run is stuck")


async def _process(stage: Stage, run: RunId, script: Script, kind: str, at: int) -> None:
    task: asyncio.Task[Outcome]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.call_soon_threadsafe(task.cancel)  # a tool may be in a thread

    spares = WITHOUT_DATABASE if kind == "cut off" else ()
    happens = {"killed": kill, "cut off": cut_off}.get(kind, stop)
    world.trouble = Trouble(happens, at=at, spares=spares)
    services = stage.process(*script, says("Good bye."), trouble=world.trouble)
    task = asyncio.ensure_future(resume(services, run))
    await asyncio.wait([task])
    error = None if task.cancelled() else task.exception()
    assert isinstance(error, Crash | Conflict | None)


async def _person(stage: Stage, run: RunId, thread: Thread) -> None:
    """Approve every call, and settle unknown outcomes by what has happened in the world."""
    world.trouble = Trouble()
    services, call = stage.process(), thread.pending[0]
    item = json.loads(call.arguments)["item"]
    if call.state == "asked":
        await answer(services, run, approved=True, by="bob")
    elif item in world.shipped:
        await settle(services, run, settled="done", by="bob", result=f"shipped {item}")
    else:
        await settle(services, run, settled="retry", by="bob")


async def _ending(stage: Stage, run: RunId) -> Ending:
    assert not (await stage.record(run)).leased
    keys = dict(world.notified)
    return Ending(
        [_without_ids(event) for event in await stage.journal(run) if not _is_doubt(event)],
        await stage.bought(),
        sorted(world.shipped),
        sorted(keys.values()),
    )


def _is_doubt(event: Event) -> bool:
    return isinstance(event, OutcomeUnknown | OutcomeSettled)


def _without_ids(event: Event) -> object:
    return type(event).__name__, msgspec.to_builtins(event) | {"call": ""}


def _scripts(replies: Sequence[Sequence[tuple[str, str]]]) -> Script:
    """Return replies whose calls have an item each, except where the item matters."""
    return [
        calls(*((name, {"item": item or f"lamp {r}.{c}"}) for c, (name, item) in enumerate(reply)))
        for r, reply in enumerate(replies)
    ]


a_call = st.sampled_from(
    [
        *[("buy", ""), ("ship", ""), ("notify", ""), ("look", ""), ("weigh", ""), ("refund", "")],
        *[("buy", "a dragon"), ("buy", "a curse"), ("fly", "")],
        *[("inspect", ""), ("order", ""), ("order", "a dragon"), ("order", "a curse")],
    ]
)
scripts = st.lists(st.lists(a_call, min_size=1, max_size=3), max_size=3).map(_scripts)
troubles = st.lists(
    st.tuples(st.sampled_from(["killed", "stopped", "cut off"]), st.integers(1, 40)),
    max_size=5,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scripts, troubles)
def test_the_same_journal_is_reached_and_everything_is_done_once(
    template: Path, script: Script, troubles: Sequence[Happens]
) -> None:
    disturbed = asyncio.run(play(template, script, troubles))

    assert disturbed == asyncio.run(play(template, script, []))
