"""The deltas of a reply, and a text that becomes void."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.builders import assistant, function_call
from tests.engine.deltas.stories import (
    StreamingModel,
    a_moment,
    deltas,
    drive_streamed,
    reply_of,
    restart,
    restarted,
    start_streamed,
    text,
)
from tests.engine.reading import Reader, read_events
from tests.engine.stage import (
    LIMITS,
    RecordingListener,
    Stage,
    Trouble,
    kill,
    start,
)
from twelvefold.core.events import Item
from twelvefold.core.ports import Listener, NullListener
from twelvefold.engine.commands import cancel
from twelvefold.engine.delta_writer import only_text, pause_after
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Timings
from twelvefold.errors import ModelRejected
from twelvefold.services.model.scripted import says

pytestmark = pytest.mark.usefixtures("frequent_deltas")


async def test_a_text_can_be_read_while_it_arrives(stage: Stage) -> None:
    held = await start_streamed(stage)
    reader, listener, seen = Reader(stage.process().store, held.run.thread), RecordingListener(), []

    async def look(_: Listener) -> None:
        await a_moment(_)
        await reader.look()
        seen.append(reader.events[-1])

    services = stage.process(model=StreamingModel("You ", look, "are ", look, "in."))
    await drive(services, held, listener)

    assert seen == [("text", 2, 1, "You "), ("text", 2, 1, "are ")]
    assert listener.texts == ["You ", "are ", "in."]
    assert listener.shown_count >= 2
    await reader.look()
    assert reader.events == await read_events(stage, held.run)


async def test_a_reply_has_the_cuts_of_its_text_and_replaces_the_deltas(
    stage: Stage,
) -> None:
    outcome = await drive_streamed(stage, "You ", a_moment, "are ", "all ", a_moment, "in.")

    reply = await reply_of(stage, outcome.run)
    assert (reply.first_delta, reply.cuts) in [(1, (4, 8)), (1, (4, 8, 3))]
    assert await deltas(stage, outcome.run) == []


async def test_the_first_piece_is_written_at_once_and_later_text_is_collected(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.timings = replace(stage.timings, delta_s=60.0)

    outcome = await drive_streamed(stage, "You ", a_moment, "are ", a_moment, "in.")

    assert (await reply_of(stage, outcome.run)).cuts == (4,)
    assert [one[-1] for one in await read_events(stage, outcome.run) if one[0] == "text"] == [
        "You ",
        "are in.",
    ]


async def test_a_reply_without_deltas_writes_none(stage: Stage) -> None:
    outcome = await drive_streamed(stage, reply=says("You are in."))

    assert (await reply_of(stage, outcome.run)).first_delta == 0
    assert await deltas(stage, outcome.run) == []


async def test_a_run_that_is_not_streamed_writes_no_delta(stage: Stage) -> None:
    services = stage.process(
        model=StreamingModel("You ", a_moment, "are in."),
        trouble=Trouble(kill, places=["before a delta"]),
    )

    outcome = await drive(services, await start(services), NullListener())

    reply = await reply_of(stage, outcome.run)
    assert (reply.first_delta, reply.cuts) == (0, ())


async def test_the_deltas_of_a_restarted_attempt_are_void(stage: Stage) -> None:
    outcome = await drive_streamed(
        stage, "Yo", a_moment, restart, a_moment, "You are in.", a_moment, reply=says("You are in.")
    )

    assert await read_events(stage, outcome.run) == [
        ("RunStarted", 1),
        ("text", 2, 1, "Yo"),
        ("given up", 2, 1),
        ("text", 2, 3, "You are in."),
        ("ModelReplied", 2),
        ("RunFinished", 3),
    ]
    assert await deltas(stage, outcome.run) == [text(1, "Yo"), restarted(2)]


async def test_an_attempt_can_restart_while_its_text_is_written(stage: Stage) -> None:
    outcome = await drive_streamed(stage, "Yo", restart, "You ", a_moment, "!", reply=says("You !"))

    replay = await read_events(stage, outcome.run)
    assert "".join(str(one[-1]) for one in replay if one[0] == "text").endswith("You !")


async def test_a_restart_of_an_attempt_without_deltas_writes_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = await drive_streamed(stage, restart, a_moment, restart, reply=says("You are in."))

    assert await deltas(stage, outcome.run) == []
    assert (await reply_of(stage, outcome.run)).first_delta == 0


REPORTED = {"type": "mcp_call", "id": "mcp_1", "name": "enrol", "arguments": "{}"}


TWO = [assistant("You "), assistant("are in.")]


@pytest.mark.parametrize(
    ("reply", "first_delta"), [(says("Something else."), 3), (TWO, 0), ([REPORTED], 0)]
)
async def test_a_text_that_differs_from_its_deltas_voids_them(
    stage: Stage, reply: Sequence[Item], first_delta: int
) -> None:
    outcome = await drive_streamed(stage, "You are in.", a_moment, reply=reply)

    assert (await reply_of(stage, outcome.run)).first_delta == first_delta
    assert await deltas(stage, outcome.run) == [text(1, "You are in."), restarted(2)]


@pytest.mark.usefixtures("frequent_renewals")
@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_the_deltas_of_a_reply_that_does_not_come_are_void(stage: Stage, status: str) -> None:
    run = await start_streamed(stage)

    async def end(_: Listener) -> None:
        if status == "failed":
            raise ModelRejected("no such model")
        cancelling.append(asyncio.create_task(cancel(stage.process(), run.run)))
        await asyncio.Event().wait()

    cancelling: list[asyncio.Task[str]] = []  # by another process
    services = stage.process(model=StreamingModel("You ", a_moment, end), limits=LIMITS)
    outcome = await drive(services, run, NullListener())

    assert outcome.status == status
    assert await deltas(stage, run.run) == [text(1, "You "), restarted(2)]
    assert (await read_events(stage, run.run))[1:3] == [("text", 2, 1, "You "), ("given up", 2, 1)]


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([assistant("Hi.")], "Hi."),
        ([{"type": "reasoning"}, assistant("Hi."), function_call("look")], "Hi."),
        ([assistant("a"), assistant("b")], None),
        ([function_call("look")], None),
        ([], None),
        ([{"type": "message", "content": "Hi."}], None),
        ([{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}], None),
        ([{"type": "message", "content": [{"type": "output_text"}]}], ""),
        ([{"type": "message", "content": []}], None),
    ],
)
def test_only_one_message_with_one_text_part_has_a_text(
    items: Sequence[Item], text: str | None
) -> None:
    assert only_text(items) == text


def test_the_deltas_of_a_long_reply_become_less_frequent() -> None:
    delta_s = Timings().delta_s
    assert pause_after(499, delta_s) < pause_after(500, delta_s)

    rows, written_s = 0, 0.0
    while written_s < 600:
        written_s += pause_after(rows, delta_s)
        rows += 1
    assert rows < 3_300
