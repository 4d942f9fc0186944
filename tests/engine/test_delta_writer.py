import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import HASH, SPENT, assistant, function_call
from tests.engine.reading import Reader, told
from tests.engine.stage import (
    LIMITS,
    Crash,
    RecordingListener,
    Stage,
    Trouble,
    cut_off,
    kill,
    resume,
    start,
)
from twelvefold.core.events import Item, ModelReplied, RequestOptions
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Delta, Listener, ModelReply, ModelRequest, NullListener
from twelvefold.engine.commands import cancel
from twelvefold.engine.delta_writer import DeltaWriter, only_text, pause_after
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Timings
from twelvefold.errors import ModelRejected, ModelUnavailable, StoreRefused
from twelvefold.services.model.scripted import says

STREAMED = RequestOptions(stream=True)
Act = str | Callable[[Listener], Awaitable[None] | None]


class Typist:
    """A model that says its text piece by piece, and does other things in between."""

    def __init__(self, *acts: Act, reply: Sequence[Item] | None = None) -> None:
        self._acts = acts
        self._reply = reply

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        for act in self._acts:
            if isinstance(act, str):
                listener.text(act)
            elif (waiting := act(listener)) is not None:
                await waiting
        text = "".join(act for act in self._acts if isinstance(act, str))
        reply = [assistant(text)] if self._reply is None else self._reply
        return ModelReply(tuple(reply), SPENT, "m-1", HASH)

    async def close(self) -> None:
        """Nothing is open."""


async def a_moment(listener: Listener) -> None:
    """Until what was said is written; where that is kept from happening, a second."""
    await asyncio.sleep(0.005)
    if not isinstance(listener, DeltaWriter):
        return  # nobody streams
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            while listener._attempt.unwritten or listener._writer or listener._timer:
                await asyncio.sleep(0.001)


def anew(listener: Listener) -> None:
    listener.restarted("the connection broke")


pytestmark = pytest.mark.usefixtures("frequent_deltas")


async def begun(stage: Stage) -> HeldRun:
    return await start(stage.process(), options=STREAMED)


async def drive_streamed(stage: Stage, *acts: Act, reply: Sequence[Item] | None = None) -> Outcome:
    """A new streamed run, driven to rest."""
    services = stage.process(model=Typist(*acts, reply=reply))
    return await drive(services, await start(services, options=STREAMED), NullListener())


async def taken_over(
    stage: Stage, run: RunId, *acts: Act, reply: Sequence[Item] | None = None
) -> Outcome:
    """The run driven to rest by another process, whoever had it."""
    await stage.let_leases_run_out()
    return await resume(stage.process(model=Typist(*acts, reply=reply)), run)


async def reply_of(stage: Stage, run: RunId) -> ModelReplied:
    (reply,) = (one for one in await stage.journal(run) if isinstance(one, ModelReplied))
    return reply


async def deltas(stage: Stage, run: RunId) -> list[Delta]:
    """What is left beside the journal."""
    heard = await stage.process().store.follow(run.thread, after=9, deltas_after=(0, 0))
    return list(heard.deltas)


def text(number: int, text: str) -> Delta:
    return Delta(2, number, "text", text)


def restarted(number: int) -> Delta:
    return Delta(2, number, "restarted")


# --- pieces


async def test_others_read_a_text_while_it_comes_in(stage: Stage) -> None:
    held = await begun(stage)
    reader, heard, seen = Reader(stage.process().store, held.run.thread), RecordingListener(), []

    async def look(_: Listener) -> None:
        await a_moment(_)
        await reader.look()
        seen.append(reader.told[-1])

    services = stage.process(model=Typist("You ", look, "are ", look, "in."))
    await drive(services, held, heard)

    assert seen == [("text", 2, 1, "You "), ("text", 2, 1, "are ")]
    assert heard.texts == ["You ", "are ", "in."]
    assert heard.shown_count >= 2
    await reader.look()
    assert reader.told == await told(stage, held.run)


async def test_a_whole_reply_says_how_its_text_was_cut_and_takes_the_pieces_place(
    stage: Stage,
) -> None:
    outcome = await drive_streamed(stage, "You ", a_moment, "are ", "all ", a_moment, "in.")

    reply = await reply_of(stage, outcome.run)
    assert (reply.first_delta, reply.cuts) in [(1, (4, 8)), (1, (4, 8, 3))]
    assert await deltas(stage, outcome.run) == []


async def test_the_first_piece_is_shown_at_once_and_then_they_are_gathered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.timings = replace(stage.timings, delta_s=60.0)

    outcome = await drive_streamed(stage, "You ", a_moment, "are ", a_moment, "in.")

    assert (await reply_of(stage, outcome.run)).cuts == (4,)
    assert [one[-1] for one in await told(stage, outcome.run) if one[0] == "text"] == [
        "You ",
        "are in.",
    ]


async def test_a_reply_that_comes_in_one_piece_shows_nothing_before(stage: Stage) -> None:
    outcome = await drive_streamed(stage, reply=says("You are in."))

    assert (await reply_of(stage, outcome.run)).first_delta == 0
    assert await deltas(stage, outcome.run) == []


async def test_a_run_that_nobody_streams_shows_nothing(stage: Stage) -> None:
    services = stage.process(
        model=Typist("You ", a_moment, "are in."), trouble=Trouble(kill, places=["before a delta"])
    )

    outcome = await drive(services, await start(services), NullListener())

    reply = await reply_of(stage, outcome.run)
    assert (reply.first_delta, reply.cuts) == (0, ())


# --- a text that does not stay


async def test_an_attempt_that_is_given_up_is_called_off(stage: Stage) -> None:
    outcome = await drive_streamed(
        stage, "Yo", a_moment, anew, a_moment, "You are in.", a_moment, reply=says("You are in.")
    )

    assert await told(stage, outcome.run) == [
        ("RunStarted", 1),
        ("text", 2, 1, "Yo"),
        ("given up", 2, 1),
        ("text", 2, 3, "You are in."),
        ("ModelReplied", 2),
        ("RunFinished", 3),
    ]
    assert await deltas(stage, outcome.run) == [text(1, "Yo"), restarted(2)]


async def test_an_attempt_may_be_given_up_while_its_text_is_written_down(stage: Stage) -> None:
    outcome = await drive_streamed(stage, "Yo", anew, "You ", a_moment, "!", reply=says("You !"))

    replay = await told(stage, outcome.run)
    assert "".join(str(one[-1]) for one in replay if one[0] == "text").endswith("You !")


async def test_an_attempt_that_showed_nothing_need_not_be_called_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = await drive_streamed(stage, anew, a_moment, anew, reply=says("You are in."))

    assert await deltas(stage, outcome.run) == []
    assert (await reply_of(stage, outcome.run)).first_delta == 0


REPORTED = {"type": "mcp_call", "id": "mcp_1", "name": "enrol", "arguments": "{}"}
TWO = [assistant("You "), assistant("are in.")]


@pytest.mark.parametrize(
    ("reply", "first_delta"), [(says("Something else."), 3), (TWO, 0), ([REPORTED], 0)]
)
async def test_a_text_that_is_not_what_was_shown_is_told_anew(
    stage: Stage, reply: Sequence[Item], first_delta: int
) -> None:
    outcome = await drive_streamed(stage, "You are in.", a_moment, reply=reply)

    assert (await reply_of(stage, outcome.run)).first_delta == first_delta
    assert await deltas(stage, outcome.run) == [text(1, "You are in."), restarted(2)]


@pytest.mark.usefixtures("frequent_renewals")
@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_was_shown_of_a_reply_that_never_comes_is_called_off(
    stage: Stage, status: str
) -> None:
    run = await begun(stage)

    async def end(_: Listener) -> None:
        if status == "failed":
            raise ModelRejected("no such model")
        cancelling.append(asyncio.create_task(cancel(stage.process(), run.run)))
        await asyncio.sleep(10)

    cancelling: list[asyncio.Task[str]] = []  # by another process, which this one's end ends not
    services = stage.process(model=Typist("You ", a_moment, end), limits=LIMITS)
    outcome = await drive(services, run, NullListener())

    assert outcome.status == status
    assert await deltas(stage, run.run) == [text(1, "You "), restarted(2)]
    assert (await told(stage, run.run))[1:3] == [("text", 2, 1, "You "), ("given up", 2, 1)]


# --- more than one process


async def left_alone(stage: Stage) -> RunId:
    """A run whose process died when it had shown a piece."""
    run = await begun(stage)
    dying = stage.process(model=Typist("Yo", a_moment, die), trouble=Trouble(kill, places=DYING))
    with pytest.raises(Crash):
        await drive(dying, run, NullListener())
    return run.run


DYING = ["amid a reply", "before a load", "before a release"]


def die(_: Listener) -> None:
    raise Crash


async def test_a_process_that_takes_over_begins_its_text_anew(stage: Stage) -> None:
    run = await left_alone(stage)

    await taken_over(stage, run, "You ", a_moment, "are in.")

    assert await told(stage, run) == [
        ("RunStarted", 1),
        ("text", 2, 1, "Yo"),
        ("given up", 2, 1),
        ("text", 2, 3, "You "),
        ("text", 2, 3, "are in."),
        ("ModelReplied", 2),
        ("RunFinished", 3),
    ]


async def test_a_process_that_takes_over_and_shows_nothing_still_calls_off(stage: Stage) -> None:
    run = await left_alone(stage)

    await taken_over(stage, run, reply=says("You are in."))

    assert await deltas(stage, run) == [text(1, "Yo"), restarted(2)]
    assert (await reply_of(stage, run)).first_delta == 3


@pytest.mark.parametrize("shown", [["Yo", a_moment], []])
async def test_a_process_that_has_lost_its_run_adds_nothing(
    stage: Stage, shown: Sequence[Act]
) -> None:
    run = await begun(stage)

    async def overtaken(_: Listener) -> None:
        await taken_over(stage, run.run, "You are in.", a_moment)

    late = stage.process(model=Typist(*shown, overtaken, "No", a_moment, "w!"))
    assert (await drive(late, run, NullListener())).status == "completed"

    texts = [one[-1] for one in await told(stage, run.run) if one[0] == "text"]
    assert texts == [*[act for act in shown if isinstance(act, str)], "You are in."]


async def test_a_process_that_learns_only_at_the_end_that_it_has_lost_its_run(stage: Stage) -> None:
    run = await begun(stage)

    async def overtaken(_: Listener) -> None:
        await taken_over(stage, run.run, "You are in.", a_moment)

    late = stage.process(model=Typist("Yo", a_moment, overtaken, "u!"))
    outcome = await drive(late, run, NullListener())

    assert outcome.status == "completed"
    assert outcome.thread.entries == await stage.entries(run.run)


async def test_a_run_that_is_ended_by_another_process_gets_no_more_pieces(stage: Stage) -> None:
    run = await begun(stage)

    async def cancelled(_: Listener) -> None:
        await cancel(stage.process(), run.run)

    late = stage.process(model=Typist(cancelled, "You ", a_moment, "are in."))
    outcome = await drive(late, run, NullListener())

    assert outcome.status == "cancelled"
    assert await deltas(stage, run.run) == [restarted(1)]
    assert await told(stage, run.run) == [("RunStarted", 1), ("RunFinished", 2)]


# --- a database that is away


@pytest.mark.parametrize("place", ["before a delta", "after a delta"])
async def test_a_piece_that_may_have_been_written_is_called_off(stage: Stage, place: str) -> None:
    trouble = Trouble(cut_off, places=[place])
    model = Typist("You ", a_moment, "are ", a_moment, "in.")
    services = stage.process(model=model, trouble=trouble)

    outcome = await drive(services, await start(services, options=STREAMED), NullListener())

    replay = [one for one in await told(stage, outcome.run) if one[0] == "text"]
    assert "".join(str(one[-1]) for one in replay).endswith("You are in.")
    assert outcome.status == "completed"


@pytest.mark.parametrize("place", ["before a delta", "after a delta"])
async def test_it_is_called_off_before_the_reply_is_written(
    stage: Stage, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.timings = replace(stage.timings, delta_retry_s=60.0)
    services = stage.process(
        model=Typist("You are in.", a_moment), trouble=Trouble(cut_off, places=[place], times=2)
    )

    outcome = await drive(services, await start(services, options=STREAMED), NullListener())

    last = [one for one in await told(stage, outcome.run) if one[0] == "text"][-1]
    assert last[-1] == "You are in."


async def test_a_database_that_refuses_a_piece_ends_the_drive(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(model=Typist("You ", a_moment, "are in."))

    async def refuse(*_: Any) -> None:
        raise StoreRefused("no such table: deltas")

    monkeypatch.setattr(services.store, "add_delta", refuse)

    with pytest.raises(StoreRefused, match="no such table: deltas"):
        await drive(services, await start(services, options=STREAMED), NullListener())


async def test_a_process_that_stops_has_written_its_last_piece(stage: Stage) -> None:
    run, away = await begun(stage), asyncio.Event()

    async def wait(_: Listener) -> None:
        away.set()
        await asyncio.sleep(10)

    services = stage.process(model=Typist("You ", wait))
    task = asyncio.ensure_future(drive(services, run, NullListener()))
    await away.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert not (await stage.record(run.run)).leased
    assert await deltas(stage, run.run) == [text(1, "You ")]


async def test_a_model_that_is_away_leaves_what_it_said_to_the_next(stage: Stage) -> None:
    def unavailable(_: Listener) -> None:
        raise ModelUnavailable("busy")

    first = await drive_streamed(stage, "Yo", a_moment, unavailable)
    await taken_over(stage, first.run, "You are in.", a_moment)

    assert first.status == "queued"
    assert [one[0] for one in await told(stage, first.run)][1:4] == ["text", "given up", "text"]


# --- what a text is


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
def test_only_one_message_of_one_text_can_be_shown_in_pieces(
    items: Sequence[Item], text: str | None
) -> None:
    assert only_text(items) == text


def test_the_pieces_of_a_reply_that_goes_on_and_on_become_fewer() -> None:
    delta_s = Timings().delta_s
    assert pause_after(499, delta_s) < pause_after(500, delta_s)

    rows, written_s = 0, 0.0
    while written_s < 600:
        written_s += pause_after(rows, delta_s)
        rows += 1
    assert rows < 3_300
