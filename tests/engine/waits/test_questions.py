"""The lists of persons agree with the journal: a question is in one as long as its call waits."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.engine.stage import Stage, Trouble, cut_off, kill, resume
from tests.engine.waits.stories import SOON, begin, desk, drive_desk, go_on
from twelvefold.core.answers import question_of
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import OVER, OpenQuestion
from twelvefold.core.thread import fold
from twelvefold.engine.commands import answer_question, cancel
from twelvefold.errors import Conflict, RequestError, StaleRun, TooLate
from twelvefold.services.model.scripted import calls, says

CALL = CallId("2.0")


async def listed(stage: Stage, person: str = "ann") -> list[OpenQuestion]:
    return await desk(stage).store.questions(person, limit=10)


async def rows(stage: Stage) -> list[Any]:
    async with desk(stage).store.read() as db:
        return await db.fetch_all("select call_id from open_questions")


async def check_lists(stage: Stage, run: RunId, person: str = "ann") -> None:
    """Compare a list, and the rows behind it, with the journal of the only run."""
    thread = fold(await stage.entries(run))
    waits = [call.id for call in thread.pending if question_of(call)]
    assert [row["call_id"] for row in await rows(stage)] == waits
    assert [one.call for one in await listed(stage, person)] == waits


async def test_a_question_is_listed_until_it_is_answered(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")

    (question,) = await listed(stage)
    await answer_question(desk(stage), run, "blue", by="ann", principal="ann")

    assert (question.run, question.call, question.workflow) == (run, CALL, "desk")
    assert (question.person, question.wait.question) == ("ann", "Which colour?")
    assert await rows(stage) == []
    assert (await go_on(stage, run, "ask_colour")).status == "completed"


async def test_a_question_for_another_person_is_in_the_list_of_that_one(stage: Stage) -> None:
    run = await begin(stage, "ask_bob")

    assert [one.run for one in await listed(stage, "bob")] == [run]
    assert await listed(stage, "ann") == []


async def test_the_end_of_a_run_ends_its_question(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")

    assert await cancel(desk(stage), run) == "cancelled"

    assert await rows(stage) == []


async def test_a_question_that_expires_leaves_the_list_before_its_run_goes_on(
    stage: Stage,
) -> None:
    run = await begin(stage, "ask_bob")
    assert [one.run for one in await listed(stage, "bob")] == [run]
    stage.let_time_pass(SOON.total_seconds())
    services = desk(stage, calls(("ask_bob", {})), says("Good bye."))

    assert await listed(stage, "bob") == []
    with pytest.raises(TooLate):
        await answer_question(services, run, True, by="bob", principal="bob")
    assert (await resume(services, run)).status == "completed"

    assert await rows(stage) == []


async def test_of_two_answers_at_once_one_counts_and_the_question_is_gone(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")

    answers = await asyncio.gather(
        *(answer_question(desk(stage), run, colour, by="ann") for colour in ("red", "blue")),
        return_exceptions=True,
    )

    assert sum(one is None for one in answers) == 1
    assert all(one is None or isinstance(one, RequestError) for one in answers)
    assert await rows(stage) == []


async def test_an_answer_while_the_run_is_cancelled_leaves_no_question(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")

    await asyncio.gather(
        answer_question(desk(stage), run, "red", by="ann"),
        cancel(desk(stage), run),
        return_exceptions=True,
    )
    if (await stage.record(run)).status not in OVER:
        await cancel(desk(stage), run)

    assert (await stage.record(run)).status == "cancelled"
    assert await rows(stage) == []


async def test_an_answer_whose_commit_was_not_confirmed_removes_the_question(
    stage: Stage,
) -> None:
    run = await begin(stage, "ask_colour")
    trouble = Trouble(cut_off, places=["after a step's commit"])

    await answer_question(desk(stage, trouble=trouble), run, "blue", by="ann")

    await check_lists(stage, run)


async def test_the_next_question_of_a_reply_takes_the_place_of_the_one_before(
    stage: Stage,
) -> None:
    both = calls(("ask_colour", {}), ("ask_size", {}))
    run = (await drive_desk(desk(stage, both))).run
    assert [one.call for one in await listed(stage)] == [CALL]

    await answer_question(desk(stage), run, "blue", by="ann")
    await resume(desk(stage, both, says("Good bye.")), run)

    assert [one.call for one in await listed(stage)] == [CallId("2.1")]
    await check_lists(stage, run)


@pytest.mark.parametrize("at", range(1, 13))
async def test_a_kill_anywhere_while_the_question_is_asked_leaves_the_list_right(
    stage: Stage, at: int
) -> None:
    script = calls(("ask_colour", {})), says("Good bye.")
    await _until_killed(stage, drive_desk(desk(stage, *script, trouble=Trouble(kill, at=at))))
    for run in await stage.runs():
        await check_lists(stage, run)

        with suppress(TooLate, Conflict, StaleRun):
            await resume(desk(stage, *script), run)
        await check_lists(stage, run)
        assert len(await listed(stage)) == 1


@pytest.mark.parametrize("at", range(1, 13))
async def test_a_kill_anywhere_while_the_answer_is_written_leaves_the_list_right(
    stage: Stage, at: int
) -> None:
    run = await begin(stage, "ask_colour")
    killed = desk(stage, trouble=Trouble(kill, at=at))
    await _until_killed(stage, answer_question(killed, run, "blue", by="ann"))
    await check_lists(stage, run)

    with suppress(TooLate):
        await answer_question(desk(stage), run, "blue", by="ann")

    assert await rows(stage) == []
    assert (await go_on(stage, run, "ask_colour")).status == "completed"


async def _until_killed(stage: Stage, work: Any) -> None:
    await asyncio.wait([asyncio.ensure_future(work)])
    await stage.let_leases_run_out()
