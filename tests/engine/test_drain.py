"""The guard of a run: it passes everything on, and gives the run back between two steps."""

import asyncio

import pytest

from tests.builders import approval_asked, called, entries, finished, outcome_unknown, succeeded
from tests.engine.stage import RecordingListener
from twelvefold.core.events import Event
from twelvefold.core.ports import Listener
from twelvefold.engine.drive import DrainGuard


async def record(guard: DrainGuard, *events: Event) -> str:
    """Record these entries as one commit, and continue for a moment."""
    guard.attach()
    for entry in entries(*events):
        guard.recorded(entry)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "to the end"


async def test_everything_is_passed_on_to_the_listener() -> None:
    listener = RecordingListener()
    guard: Listener = DrainGuard(listener, lambda: False)

    guard.text("You ")
    guard.shown()
    guard.restarted("cut off")
    guard.text("are in.")
    for entry in entries(called("enrol"), succeeded()):
        guard.recorded(entry)

    assert (listener.texts, listener.shown_count) == (["are in."], 1)
    assert listener.entries == list(entries(called("enrol"), succeeded()))


async def test_a_run_continues_after_a_step_while_the_process_does_not_stop() -> None:
    guard = DrainGuard(RecordingListener(), lambda: False)

    assert await asyncio.create_task(record(guard, called("enrol"))) == "to the end"


async def test_a_process_that_stops_gives_the_run_back_after_the_last_entry_of_a_commit() -> None:
    listener, stopping = RecordingListener(), asyncio.Event()
    guard = DrainGuard(listener, stopping.is_set)

    async def drive() -> None:
        guard.attach()
        stopping.set()
        for entry in entries(called("enrol"), succeeded()):
            guard.recorded(entry)
        await asyncio.Event().wait()

    task = asyncio.create_task(drive())
    await asyncio.wait([task])

    assert task.cancelled()
    assert len(listener.entries) == 2


@pytest.mark.parametrize("last", [finished(), approval_asked(), outcome_unknown()])
async def test_a_run_that_rests_after_the_step_is_not_cancelled(last: Event) -> None:
    stopping = asyncio.Event()
    guard = DrainGuard(RecordingListener(), stopping.is_set)

    async def drive() -> str:
        guard.attach()
        stopping.set()
        for entry in entries(called("enrol"), last):
            guard.recorded(entry)
        await asyncio.sleep(0.01)
        return "rests"

    assert await asyncio.create_task(drive()) == "rests"


async def test_a_second_release_does_not_cancel_the_task_again() -> None:
    guard = DrainGuard(RecordingListener(), lambda: False)
    given_back = asyncio.Event()

    async def drive() -> None:
        guard.attach()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # a second cancellation would interrupt this
            given_back.set()

    task = asyncio.create_task(drive())
    await asyncio.sleep(0)
    guard.release()
    guard.release()
    await asyncio.wait([task])

    assert given_back.is_set()


async def test_a_task_that_attaches_after_the_stop_is_cancelled_then() -> None:
    stopping = asyncio.Event()
    guard = DrainGuard(RecordingListener(), stopping.is_set)
    task = asyncio.create_task(record(guard))
    stopping.set()

    guard.release()
    await asyncio.wait([task])

    assert task.cancelled()
