"""Deltas when another process takes over, or the database is unavailable."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.deltas.stories import (
    STREAMED,
    Act,
    StreamingModel,
    a_moment,
    deltas,
    drive_streamed,
    reply_of,
    restarted,
    start_streamed,
    take_over,
    text,
)
from tests.engine.reading import read_events
from tests.engine.stage import (
    Crash,
    Stage,
    Trouble,
    cut_off,
    kill,
    start,
)
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Listener, NullListener
from twelvefold.engine.commands import cancel
from twelvefold.engine.drive import drive
from twelvefold.errors import ModelUnavailable, StoreRefused
from twelvefold.services.model.scripted import says

pytestmark = pytest.mark.usefixtures("frequent_deltas")


async def die_after_a_delta(stage: Stage) -> RunId:
    """Return a run whose process died after its first delta."""
    run = await start_streamed(stage)
    dying = stage.process(
        model=StreamingModel("Yo", a_moment, die), trouble=Trouble(kill, places=DYING)
    )
    with pytest.raises(Crash):
        await drive(dying, run, NullListener())
    return run.run


DYING = ["amid a reply", "before a load", "before a release"]


def die(_: Listener) -> None:
    raise Crash


async def test_a_process_that_takes_over_writes_its_own_text(stage: Stage) -> None:
    run = await die_after_a_delta(stage)

    await take_over(stage, run, "You ", a_moment, "are in.")

    assert await read_events(stage, run) == [
        ("RunStarted", 1),
        ("text", 2, 1, "Yo"),
        ("given up", 2, 1),
        ("text", 2, 3, "You "),
        ("text", 2, 3, "are in."),
        ("ModelReplied", 2),
        ("RunFinished", 3),
    ]


async def test_a_process_that_takes_over_without_deltas_voids_the_earlier_ones(
    stage: Stage,
) -> None:
    run = await die_after_a_delta(stage)

    await take_over(stage, run, reply=says("You are in."))

    assert await deltas(stage, run) == [text(1, "Yo"), restarted(2)]
    assert (await reply_of(stage, run)).first_delta == 3


@pytest.mark.parametrize("acts", [["Yo", a_moment], []])
async def test_a_process_that_has_lost_its_run_writes_no_delta(
    stage: Stage, acts: Sequence[Act]
) -> None:
    run = await start_streamed(stage)

    async def overtaken(_: Listener) -> None:
        await take_over(stage, run.run, "You are in.", a_moment)

    late = stage.process(model=StreamingModel(*acts, overtaken, "No", a_moment, "w!"))
    assert (await drive(late, run, NullListener())).status == "completed"

    texts = [one[-1] for one in await read_events(stage, run.run) if one[0] == "text"]
    assert texts == [*[act for act in acts if isinstance(act, str)], "You are in."]


async def test_a_process_that_finds_its_lease_lost_at_the_end_of_a_reply_stops(
    stage: Stage,
) -> None:
    run = await start_streamed(stage)

    async def overtaken(_: Listener) -> None:
        await take_over(stage, run.run, "You are in.", a_moment)

    late = stage.process(model=StreamingModel("Yo", a_moment, overtaken, "u!"))
    outcome = await drive(late, run, NullListener())

    assert outcome.status == "completed"
    assert outcome.thread.entries == await stage.entries(run.run)


async def test_a_run_that_another_process_has_ended_gets_no_more_deltas(stage: Stage) -> None:
    run = await start_streamed(stage)

    async def cancelled(_: Listener) -> None:
        await cancel(stage.process(), run.run)

    late = stage.process(model=StreamingModel(cancelled, "You ", a_moment, "are in."))
    outcome = await drive(late, run, NullListener())

    assert outcome.status == "cancelled"
    assert await deltas(stage, run.run) == [restarted(1)]
    assert await read_events(stage, run.run) == [("RunStarted", 1), ("RunFinished", 2)]


@pytest.mark.parametrize("place", ["before a delta", "after a delta"])
async def test_a_delta_that_may_have_been_written_is_void(stage: Stage, place: str) -> None:
    trouble = Trouble(cut_off, places=[place])
    model = StreamingModel("You ", a_moment, "are ", a_moment, "in.")
    services = stage.process(model=model, trouble=trouble)

    outcome = await drive(services, await start(services, options=STREAMED), NullListener())

    replay = [one for one in await read_events(stage, outcome.run) if one[0] == "text"]
    assert "".join(str(one[-1]) for one in replay).endswith("You are in.")
    assert outcome.status == "completed"


@pytest.mark.parametrize("place", ["before a delta", "after a delta"])
async def test_it_is_voided_before_the_reply_is_written(
    stage: Stage, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.timings = replace(stage.timings, delta_retry_s=60.0)
    services = stage.process(
        model=StreamingModel("You are in.", a_moment),
        trouble=Trouble(cut_off, places=[place], times=2),
    )

    outcome = await drive(services, await start(services, options=STREAMED), NullListener())

    last = [one for one in await read_events(stage, outcome.run) if one[0] == "text"][-1]
    assert last[-1] == "You are in."


async def test_a_delta_that_the_database_refuses_ends_the_drive(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(model=StreamingModel("You ", a_moment, "are in."))

    async def reject(*_: Any) -> None:
        raise StoreRefused("no such table: deltas")

    monkeypatch.setattr(services.store, "add_delta", reject)

    with pytest.raises(StoreRefused, match="no such table: deltas"):
        await drive(services, await start(services, options=STREAMED), NullListener())


async def test_a_process_that_stops_has_written_its_last_delta(stage: Stage) -> None:
    run, away = await start_streamed(stage), asyncio.Event()

    async def wait(_: Listener) -> None:
        away.set()
        await asyncio.Event().wait()

    services = stage.process(model=StreamingModel("You ", wait))
    task = asyncio.ensure_future(drive(services, run, NullListener()))
    await away.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert not (await stage.record(run.run)).leased
    assert await deltas(stage, run.run) == [text(1, "You ")]


async def test_deltas_before_an_outage_of_the_model_are_void(stage: Stage) -> None:
    def unavailable(_: Listener) -> None:
        raise ModelUnavailable("busy")

    first = await drive_streamed(stage, "Yo", a_moment, unavailable)
    await take_over(stage, first.run, "You are in.", a_moment)

    assert first.status == "queued"
    assert [one[0] for one in await read_events(stage, first.run)][1:4] == [
        "text",
        "given up",
        "text",
    ]
