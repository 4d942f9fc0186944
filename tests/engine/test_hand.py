"""A run in hand: what is heard is passed on, and between two steps the process may let go."""

import asyncio

import pytest

from tests.builders import approval_asked, called, entries, finished, outcome_unknown, succeeded
from tests.engine.stage import RecordingListener
from twelvefold.core.events import Event
from twelvefold.core.ports import Listener
from twelvefold.engine.drain import DrainGuard


async def driving(hand: DrainGuard, *events: Event) -> str:
    """A drive that writes these entries in one commit, and then goes on for a moment."""
    hand.begin()
    for entry in entries(*events):
        hand.recorded(entry)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "to the end"


async def came_to(hand: DrainGuard, *events: Event) -> str:
    task = asyncio.create_task(driving(hand, *events))
    await asyncio.wait([task])
    return "let go" if task.cancelled() else task.result()


async def test_what_is_heard_is_passed_on() -> None:
    heard = RecordingListener()
    hand: Listener = DrainGuard(heard, lambda: False)

    hand.text("You ")
    hand.shown()
    hand.restarted("cut off")
    hand.text("are in.")
    for entry in entries(called("enrol"), succeeded()):
        hand.recorded(entry)

    assert (heard.said, heard.rings) == (["are in."], 1)
    assert heard.entries == list(entries(called("enrol"), succeeded()))


async def test_a_run_goes_on_behind_its_steps_as_long_as_nobody_stops() -> None:
    assert (
        await came_to(DrainGuard(RecordingListener(), lambda: False), called("enrol"))
        == "to the end"
    )


async def test_a_process_that_stops_lets_go_behind_the_whole_of_a_commit() -> None:
    heard, stopping = RecordingListener(), asyncio.Event()
    hand = DrainGuard(heard, stopping.is_set)

    async def drive() -> None:
        hand.begin()
        stopping.set()
        for entry in entries(called("enrol"), succeeded()):
            hand.recorded(entry)
        await asyncio.sleep(1)

    task = asyncio.create_task(drive())
    await asyncio.wait([task])

    assert task.cancelled()
    assert len(heard.entries) == 2


@pytest.mark.parametrize("last", [finished(), approval_asked(), outcome_unknown()])
async def test_a_run_that_rests_by_itself_is_not_broken_off(last: Event) -> None:
    stopping = asyncio.Event()
    hand = DrainGuard(RecordingListener(), stopping.is_set)

    async def drive() -> str:
        hand.begin()
        stopping.set()
        for entry in entries(called("enrol"), last):
            hand.recorded(entry)
        await asyncio.sleep(0.01)
        return "rests"

    assert await asyncio.create_task(drive()) == "rests"


async def test_a_run_is_let_go_of_once_however_often_it_is_asked_for() -> None:
    hand = DrainGuard(RecordingListener(), lambda: False)
    given_back = asyncio.Event()

    async def drive() -> None:
        hand.begin()
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0)  # what a second cancellation would break off
            given_back.set()

    task = asyncio.create_task(drive())
    await asyncio.sleep(0)
    hand.leave()
    hand.leave()
    await asyncio.wait([task])

    assert given_back.is_set()


async def test_before_it_has_begun_there_is_nothing_to_give_back_by() -> None:
    stopping = asyncio.Event()
    hand = DrainGuard(RecordingListener(), stopping.is_set)
    task = asyncio.create_task(driving(hand))
    stopping.set()

    hand.leave()
    await asyncio.wait([task])

    assert task.cancelled()
