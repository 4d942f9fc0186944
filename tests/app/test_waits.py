"""Runs that wait for time, an event, an answer or an approval with other arguments."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.app.shop import scripted, shop_settings
from twelvefold import App, Ask, Question, SyncApp, Wait, Workflow, tool
from twelvefold.core.events import WaitEnded
from twelvefold.core.ids import CallId, RunId
from twelvefold.errors import InvalidAnswer, NotFound, RequestError
from twelvefold.services.model.scripted import calls, says


@tool(effect="pure")
async def sleep(ms: int) -> Wait:
    """Wait some time."""
    return Wait(until=timedelta(milliseconds=ms))


@tool(effect="pure")
async def payment(number: int) -> Wait:
    """Wait for a payment."""
    return Wait(event=f"payment:{number}")


@tool(effect="pure")
async def seats(person: str) -> Ask:
    """Ask how many seats."""
    return Ask("How many seats?", schema=int, person=person)


@tool(effect="pure")
async def soon() -> Ask:
    """Ask for an answer within an hour."""
    return Ask("Now?", timeout=timedelta(hours=1))


@tool(effect="pure", approval=True)
async def book(seats: int) -> str:
    """Book seats."""
    return f"{seats} booked"


desk = Workflow("desk", "You wait.", (sleep, payment, seats, soon, book))


def open_desk(directory: Path, *replies: Any) -> App:
    return App([desk], settings=shop_settings(directory), model=scripted(*replies, says("Done.")))


@pytest.fixture
async def waiting_for_payment(tmp_path: Path) -> AsyncIterator[App]:
    async with open_desk(tmp_path, calls(("payment", {"number": 7}))) as app:
        yield app


async def test_a_run_waits_for_an_event(waiting_for_payment: App) -> None:
    app = waiting_for_payment
    run = await app.run(desk, "pay", principal="ann")

    (wait,) = run.waiting
    assert (run.status, wait.kind, wait.event, wait.until) == (
        "waiting",
        "event",
        "payment:7",
        None,
    )
    assert await app.resume(run.id) == run
    assert await app.signal("payment:7", {"cents": 5}, workflow=desk, principal="ann")
    assert not await app.signal("payment:7", {"cents": 6}, workflow="desk", principal="ann")
    done = await app.resume(run.id)
    assert [call.result for call in done.calls] == ['{"cents":5}']
    assert (done.status, done.text) == ("completed", "Done.")


async def test_an_event_may_come_before_the_run(waiting_for_payment: App) -> None:
    app = waiting_for_payment
    assert await app.signal("payment:7", workflow=desk)

    run = await app.run(desk, "pay")

    assert [call.result for call in run.calls] == ["null"]
    with pytest.raises(RequestError, match="no workflow"):
        await app.signal("payment:7", workflow="des")


async def test_a_run_waits_for_time(tmp_path: Path) -> None:
    async with open_desk(tmp_path, calls(("sleep", {"ms": 3_600_000}))) as app:
        begun = datetime.now(UTC)
        run = await app.run(desk, "sleep")

        (wait,) = run.waiting
        assert wait.kind == "timer"
        assert wait.until is not None
        assert begun <= wait.until - timedelta(hours=1) <= datetime.now(UTC)
        store = app.session.services.store
        store.use_clock(round(wait.until.timestamp() * 1e6) + 1)  # type: ignore[attr-defined]
        run = await app.resume(run.id)

    assert run.text == "Done."


async def test_a_person_answers_a_question(tmp_path: Path) -> None:
    async with open_desk(tmp_path, calls(("seats", {"person": "boss"}))) as app:
        run = await app.run(desk, "book", principal="ann")

        (wait,) = run.waiting
        assert (wait.kind, wait.question, wait.person) == ("question", "How many seats?", "boss")
        assert wait.schema is not None
        assert wait.schema["type"] == "integer"
        with pytest.raises(InvalidAnswer):
            await app.answer(run.id, "many", by="boss")
        with pytest.raises(NotFound):
            await app.answer(run.id, 3, principal="ann")
        queued = await app.answer(run.id, 3, principal="boss")
        done = await app.resume(run.id)

    assert queued.status == "queued"
    assert [call.result for call in done.calls] == ["3"]


async def test_the_person_asked_finds_the_question(tmp_path: Path) -> None:
    asks = calls(("seats", {"person": "boss"}))
    async with open_desk(tmp_path, asks, asks, asks) as app:
        runs = [(await app.run(desk, "book", principal="ann")).id for _ in range(3)]

        newest, *_ = found = await app.questions(principal="boss")
        (older,) = await app.questions(principal="boss", limit=1, after=newest)
        (oldest,) = await app.questions(principal="boss", limit=1, newest_first=False)
        await app.answer(newest.run, 3, call=newest.call, principal=newest.person)

        assert [one.run for one in found] == runs[::-1]
        assert (older, oldest) == (found[1], found[2])
        assert await app.questions(principal="boss") == found[1:]
        assert await app.questions(principal="ann") == await app.questions() == []
        journal = await app.session.services.store.load(RunId.parse(newest.run).thread)
    assert newest == Question(
        runs[-1],
        "2.0",
        "How many seats?",
        {"type": "integer"},
        "desk",
        "boss",
        newest.asked_at,
    )
    # The journal has the person who answered.
    assert WaitEnded(CallId("2.0"), "answer", "boss") in [one.event for one in journal.entries]


async def test_a_question_has_the_time_of_its_end(tmp_path: Path) -> None:
    async with open_desk(tmp_path, calls(("soon", {}))) as app:
        await app.run(desk, "ask")

        (question,) = await app.questions()

    assert question.until is not None
    assert question.until > question.asked_at


async def test_resume_answers_a_question(tmp_path: Path) -> None:
    async with open_desk(tmp_path, calls(("seats", {"person": ""}))) as app:
        run = await app.run(desk, "book")
        done = await app.resume(run.id, answer=4)

    assert [call.result for call in done.calls] == ["4"]


async def test_a_call_is_approved_with_other_arguments(tmp_path: Path) -> None:
    replies = [calls(("book", {"seats": 40})), calls(("book", {"seats": 50}))]
    async with open_desk(tmp_path, *replies) as app:
        run = await app.run(desk, "book")
        with pytest.raises(RequestError):
            await app.approve(run.id, arguments={"seats": "many"})
        await app.approve(run.id, arguments={"seats": 4})
        run = await app.resume(run.id)
        done = await app.resume(run.id, approve=True, arguments={"seats": 5})

    assert [call.result for call in done.calls] == ["4 booked", "5 booked"]


def test_the_same_without_await(tmp_path: Path) -> None:
    replies = [calls(("seats", {"person": ""})), calls(("payment", {"number": 7}))]
    model = scripted(*replies, says("Done."))
    with SyncApp([desk], settings=shop_settings(tmp_path), model=model) as app:
        run = app.run(desk, "book")
        (question,) = app.questions()
        app.answer(question.run, 3, call=question.call)
        assert app.questions(after=question) == []
        assert app.signal("payment:7", 250, workflow=desk)
        done = app.resume(run.id)

    assert [call.result for call in done.calls] == ["3", "250"]
