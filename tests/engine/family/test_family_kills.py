"""Processes that die while a run and the runs below it are driven."""

import asyncio
import random

import pytest

from tests.builders import user
from tests.engine.family.stories import children_of, firm, resume_family
from tests.engine.stage import ANN, Crash, Stage, Trouble, cut_off, kill
from twelvefold.core.events import ChildrenStarted, RunFinished
from twelvefold.core.ids import RunId
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.services.model.scripted import Scripted, calls, says

ONE = (calls(("clerk", {"input": "a lamp"})), says("Done."))
TWO = (calls(("clerk", {"input": "a lamp"}), ("clerk", {"input": "a rug"})), says("Done."))
FAN = (calls(("buy_all", {"items": ["a lamp", "a rug", "a vase"]})), says("Done."))
HAND_OFF = (calls(("hand_over", {"input": "a lamp"})),)
NOTED = (calls(("note_and_buy", {"item": "a lamp"})), says("Done."))
STORIES = {
    "one": (ONE, ["a lamp"]),
    "two": (TWO, ["a lamp", "a rug"]),
    "fan": (FAN, ["a lamp", "a rug", "a vase"]),
    "hand_off": (HAND_OFF, ["a lamp"]),
    "noted": (NOTED, ["a lamp", "note a lamp"]),
}
PLACES = 130
"""More places than any of the stories passes."""


async def _enqueue(stage: Stage, story: tuple[Scripted, ...]) -> RunId:
    request = RunRequest(workflow="boss", principal=ANN, items=[user("go")])
    run, _ = await enqueue_run(firm(stage, *story), request)
    return run


async def _assert_done_once(stage: Stage, run: RunId, bought: list[str]) -> None:
    """The whole family is over, each item was bought once, and each call started its runs once."""
    events = await stage.journal(run)
    assert events[-1] == RunFinished("completed")
    assert await stage.bought() == bought
    started = [event for event in events if isinstance(event, ChildrenStarted)]
    assert len({event.call for event in started}) == len(started)
    for child in children_of(events):
        assert (await stage.journal(child))[-1] == RunFinished("completed")
    assert await stage.process().store.count_descendants(run) == len(children_of(events))


@pytest.mark.parametrize("name", STORIES)
async def test_a_family_survives_a_death_at_every_place(stage: Stage, name: str) -> None:
    story, bought = STORIES[name]
    for at in range(1, PLACES):
        run = await _enqueue(stage, story)
        trouble = Trouble(kill, at=at)
        try:
            await resume_family(firm(stage, *story, trouble=trouble), run)
        except Crash:
            await stage.let_leases_run_out()
            await resume_family(firm(stage, *story), run)
            await _assert_done_once(stage, run, bought)
            await stage.forget_bought()
        else:
            assert at > 10
            return
    raise AssertionError("the story has more places")


@pytest.mark.parametrize("name", STORIES)
async def test_a_family_survives_an_outage_at_every_place(stage: Stage, name: str) -> None:
    story, bought = STORIES[name]
    for at in range(1, PLACES, 3):
        run = await _enqueue(stage, story)
        trouble = Trouble(cut_off, at=at)
        await resume_family(firm(stage, *story, trouble=trouble), run)
        await _assert_done_once(stage, run, bought)
        await stage.forget_bought()


async def test_two_processes_drive_one_family_together(stage: Stage) -> None:
    run = await _enqueue(stage, FAN)

    await asyncio.gather(
        *(resume_family(firm(stage, *FAN), run) for _ in range(2)), return_exceptions=False
    )

    await _assert_done_once(stage, run, STORIES["fan"][1])


async def test_fifty_children_survive_deaths(stage: Stage) -> None:
    items = [f"lamp {number:02}" for number in range(50)]
    story = (calls(("buy_all", {"items": items})), says("Done."))
    run, deaths, chance = await _enqueue(stage, story), 0, random.Random(7)

    while True:
        trouble = Trouble(kill, at=chance.randint(20, 200))
        try:
            await resume_family(firm(stage, *story, trouble=trouble), run)
            break
        except Crash:
            deaths += 1
            await stage.let_leases_run_out()

    assert deaths >= 3
    await _assert_done_once(stage, run, items)
