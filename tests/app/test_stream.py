"""The events of a run: live, from the journal of another process, and after a kill."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from msgspec import structs

from tests.app.shop import BUY, REFUND, Blocking, OpenApp, shop
from twelvefold import App
from twelvefold.app.stream import (
    EventSource,
    Progress,
    RunBegan,
    RunEnded,
    RunEvent,
    RunStopped,
    RunWaits,
    TextDelta,
    TextRestarted,
    ToolCalled,
    ToolFinished,
)
from twelvefold.core import Delta, Entry, JournalDelta, ModelReplied, RunId, ThreadId, Usage
from twelvefold.errors import AppClosed, ModelUnavailable, RequestError
from twelvefold.services.model.scripted import calls, says

THREAD = ThreadId("0" * 44)


async def events_of(app: App, input: str = "hi", **options: Any) -> list[RunEvent[Any]]:
    return [event async for event in app.stream(shop, input, **options)]


async def test_a_run_yields_its_events_in_order(open_app: OpenApp) -> None:
    app = await open_app(says("One moment.") + BUY, says("Bread is bought."))

    events = await events_of(app, "bread")

    began, text, called, finished, answer, ended = events
    assert isinstance(ended, RunEnded)
    run = ended.run
    assert began == RunBegan(run.id, run.conversation)
    assert (text, answer) == (TextDelta("One moment."), TextDelta("Bread is bought."))
    assert called == ToolCalled(run.calls[0].id, "buy", {"item": "bread"})
    assert finished == ToolFinished(run.calls[0])
    assert run == await app.get(run.id)


async def test_a_run_that_waits_ends_its_stream(open_app: OpenApp) -> None:
    app = await open_app(REFUND)

    *_, last = await events_of(app)

    assert isinstance(last, RunWaits)
    assert last.run.waiting[0].tool == "refund"


async def test_a_fault_of_a_service_ends_the_stream(open_app: OpenApp) -> None:
    app = await open_app(ModelUnavailable("the model is out"))

    *_, last = await events_of(app)

    assert isinstance(last, RunStopped)
    assert last.run.error == "the model is out"


async def test_an_invalid_request_is_raised_by_the_first_event(open_app: OpenApp) -> None:
    app = await open_app()

    with pytest.raises(RequestError, match="empty"):
        await events_of(app, "")


async def test_a_repeated_request_yields_the_same_events_from_the_journal(
    open_app: OpenApp,
) -> None:
    app = await open_app(BUY, says("Bread is bought."))
    first = await events_of(app, "bread", key="k")

    assert await events_of(app, "bread", key="k") == first


async def test_a_run_of_another_process_is_streamed(open_app: OpenApp) -> None:
    model = Blocking()
    first, second = await open_app(model=model), await open_app()
    driving = asyncio.get_running_loop().create_task(events_of(first, key="k"))
    await model.is_asked.wait()
    followed: list[RunEvent[Any]] = []
    async for event in second.stream(shop, "hi", key="k"):
        followed.append(event)
        if event.kind == "text":
            model.may_reply.set()

    driven = await driving

    assert driven[1:3] == [TextDelta("At "), TextDelta("last.")]
    assert text_of(followed) == text_of(driven) == "At last."
    assert (followed[0], followed[-1]) == (driven[0], driven[-1])


def text_of(events: list[RunEvent[Any]]) -> str:
    text = ""
    for event in events:
        if event.kind == "text":
            text += event.text
        elif event.kind == "restarted":
            text = ""
    return text


async def test_leaving_a_stream_gives_the_run_back(open_app: OpenApp) -> None:
    model = Blocking()
    app = await open_app(model=model)

    async with aclosing(app.stream(shop, "hi")) as events:
        async for event in events:
            if event.kind == "started":
                id = event.id
            if event.kind == "text":
                break

    assert (await app.get(id)).status == "queued"
    model.may_reply.set()
    assert (await app.resume(id)).text == "At last."


async def test_closing_the_app_ends_a_stream(open_app: OpenApp) -> None:
    model = Blocking()
    app = await open_app(model=model)
    reading = asyncio.get_running_loop().create_task(events_of(app))
    await model.is_asked.wait()

    await app.close()

    with pytest.raises(AppClosed):
        await reading


async def test_a_run_that_another_process_takes_over_restarts_its_text(open_app: OpenApp) -> None:
    slow, quick = Blocking("Too ", "late."), Blocking()
    first, second = await open_app(model=slow), await open_app(model=quick)
    reading = asyncio.get_running_loop().create_task(events_of(first, key="k"))
    await slow.is_asked.wait()
    id = (await second.start(shop, "hi", key="k")).id
    run = RunId.parse(id)
    await expire_lease(first, run)
    quick.may_reply.set()

    other = await second.resume(id)
    slow.may_reply.set()
    events = await reading

    assert other.text == "At last."
    assert TextRestarted() in events
    assert text_of(events) == "At last."
    assert events[-1] == RunEnded(other)


async def expire_lease(app: App, run: RunId) -> None:
    async with app.session.services.store.write() as tx:
        sql = "update runs set lease_until = 1 where thread_id = :thread"
        await tx.execute(sql, thread=run.thread)


# --- the source of the events ---------------------------------------------------------------------


class Source:
    """An event source and what it emits."""

    def __init__(self) -> None:
        self.events: list[Progress] = []
        self.source = EventSource(RunId(THREAD, 1), 1, self.events.append)

    def read(self, *deltas: Delta, entries: tuple[Entry, ...] = ()) -> None:
        self.source.read(JournalDelta(deltas, entries))


def reply(position: int, text: str, run: int = 1) -> Entry:
    event = ModelReplied(tuple(says(text)), Usage(), "m", "0" * 64)
    return Entry(position, run, event, 0)


def test_the_rest_of_a_reply_comes_from_its_entry() -> None:
    read = Source()

    read.read(Delta(2, 1, "text", "One "), Delta(2, 2, "text", "two "))
    read.read(Delta(2, 2, "text", "two "), entries=(reply(2, "One two three"),))

    assert read.events == [TextDelta("One "), TextDelta("two "), TextDelta("three")]


def test_pieces_that_are_not_those_of_the_reply_are_void() -> None:
    read = Source()

    read.read(Delta(2, 1, "text", "Wrong"), entries=(reply(2, "Right"),))

    assert read.events == [TextDelta("Wrong"), TextRestarted(), TextDelta("Right")]


def test_a_restart_in_the_journal_is_emitted_once() -> None:
    read = Source()
    pieces = (Delta(2, 1, "text", "Wrong"), Delta(2, 2, "restarted"), Delta(2, 3, "text", "Right"))

    read.read(*pieces)
    read.read(*pieces)

    assert read.events == [TextDelta("Wrong"), TextRestarted(), TextDelta("Right")]


def test_pieces_of_the_next_reply_follow_the_entry_before_it() -> None:
    read = Source()

    read.read(Delta(3, 1, "text", "Next"), Delta(4, 1, "text", "Later"), entries=(reply(2, "One"),))

    assert read.events == [TextDelta("One"), TextDelta("Next")]


def test_entries_of_other_runs_and_repeated_ones_emit_nothing() -> None:
    read = Source()

    read.read(entries=(reply(1, "Before"), reply(2, "Other", run=2)))

    assert read.events == []


def test_a_call_of_an_unknown_reply_has_no_event() -> None:
    read = Source()
    entry = reply(2, "")
    items = tuple(calls(("buy", {})))
    called = structs.replace(entry, event=ModelReplied(items, Usage(), "m", "0" * 64))

    read.read(entries=(called,))

    assert read.events == [ToolCalled("2.0", "buy", {})]
