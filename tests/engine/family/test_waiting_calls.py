"""Children that wait for a person, who answers at the run that a caller started."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.builders import user
from tests.engine.family.stories import POLL, children_of, firm, resume_family, run_boss
from tests.engine.stage import ANN, Stage, Trouble, scripted
from twelvefold.core.events import (
    ChildAnswered,
    ChildAsked,
    Event,
    RequestOptions,
    RunFinished,
    ToolFailed,
)
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import NullListener
from twelvefold.core.thread import fold
from twelvefold.core.tools.tool import tool
from twelvefold.core.waiting import Ask
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import (
    RunRequest,
    answer,
    answer_below,
    answer_question,
    cancel,
    start_run,
    take,
)
from twelvefold.engine.drive import drive
from twelvefold.engine.family import drive_family
from twelvefold.engine.services import Services
from twelvefold.engine.waiting_calls import WaitingCall, waiting_calls
from twelvefold.errors import Conflict, TooLate
from twelvefold.services.model.scripted import Script, calls, says


@tool(effect="pure", approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@tool(effect="pure")
async def ask_colour() -> Ask:
    """Ask for the colour."""
    return Ask("Which colour?")


TELLER = Workflow("teller", "teller", (pay, ask_colour))
BOSS = Workflow("boss", "boss", (TELLER.as_tool("Pays."),))
DEEP = Workflow("deep", "deep", (BOSS.as_tool("Lets pay."),))
PAYS: Script = scripted(calls(("pay", {"amount": 7})), says("Paid."))
ASKS: Script = scripted(calls(("ask_colour", {})), says("Thanks."))


def bank(stage: Stage, teller: Script, trouble: Trouble | None = None) -> Services:
    return firm(
        stage,
        calls(("teller", {"input": "pay"})),
        says("Done."),
        workflows=(DEEP, BOSS, TELLER),
        trouble=trouble,
        teller=teller,
        deep=scripted(calls(("boss", {"input": "pay"})), says("All done.")),
    )


async def test_the_approval_of_a_child_is_found_at_its_root(stage: Stage) -> None:
    services = bank(stage, PAYS)

    outcome = await run_boss(services, workflow="deep")

    [boss] = children_of(await stage.journal(outcome.run))
    [teller] = children_of(await stage.journal(boss))
    [found] = await waiting_calls(services, outcome.run, outcome.thread)
    assert outcome.status == "waiting"
    assert found[:2] == (teller, "teller")
    assert (found.call.tool, found.call.arguments) == ("pay", '{"amount":7}')

    await answer(services, found.run, approved=True, by="ann", call=found.call.id)
    await resume_family(services, outcome.run)

    assert (await stage.journal(outcome.run))[-1] == RunFinished("completed")


async def test_the_question_of_a_child_is_found_at_its_root(stage: Stage) -> None:
    services = bank(stage, ASKS)

    outcome = await run_boss(services)

    [found] = await waiting_calls(services, outcome.run, outcome.thread)
    assert isinstance(found, WaitingCall)
    await answer_question(services, found.run, "red", by="ann", call=found.call.id)
    await resume_family(services, outcome.run)
    assert (await stage.journal(outcome.run))[-1] == RunFinished("completed")


async def test_the_question_of_a_child_is_in_the_list_of_its_person(stage: Stage) -> None:
    services = bank(stage, ASKS)
    outcome = await run_boss(services, workflow="deep")

    [found] = await waiting_calls(services, outcome.run, outcome.thread)
    [listed] = await services.store.questions("ann", limit=10)

    assert (listed.run, listed.call, listed.workflow) == (found.run, found.call.id, "teller")
    await answer_question(services, listed.run, "red", by="ann", call=listed.call)
    assert await services.store.questions("ann", limit=10) == []


async def test_a_cancelled_root_takes_the_questions_below_it_from_the_lists(stage: Stage) -> None:
    services = bank(stage, ASKS)
    outcome = await run_boss(services)
    [teller] = children_of(await stage.journal(outcome.run))

    await cancel(services, outcome.run)
    assert await services.store.questions("ann", limit=10) == []
    await cancel(services, teller)

    async with services.store.read() as db:
        assert await db.fetch_all("select * from open_questions") == []


async def test_a_deleted_conversation_takes_the_questions_below_it_from_the_lists(
    stage: Stage,
) -> None:
    services = bank(stage, ASKS)
    outcome = await run_boss(services)

    await services.store.delete_thread(outcome.run.thread)

    async with services.store.read() as db:
        assert await db.fetch_all("select * from open_questions") == []


async def test_a_run_without_children_has_its_own_calls(stage: Stage) -> None:
    services = bank(stage, PAYS)

    outcome = await run_boss(services, workflow="teller")

    [found] = await waiting_calls(services, outcome.run, outcome.thread)
    assert (found.run, found.call.id) == (outcome.run, CallId("2.0"))


async def _rests(services: Services) -> RunId:
    request = RunRequest(workflow="boss", principal=ANN, items=[user("go")])
    return (await drive(services, await start_run(services, request), NullListener())).run


async def test_children_that_are_queued_or_gone_wait_for_no_person(stage: Stage) -> None:
    services = bank(stage, PAYS)
    run = await _rests(services)
    [child] = children_of(await stage.journal(run))
    thread = services.threads.get(run.thread)
    assert thread is not None

    assert await waiting_calls(services, run, thread) == []
    await _remove(services, child)
    assert await waiting_calls(services, run, thread) == []


async def _remove(services: Services, run: RunId) -> None:
    async with services.store.write() as tx:
        for table, column in (("events", "thread_id"), ("runs", "thread_id"), ("threads", "id")):
            await tx.execute(f"delete from {table} where {column} = :id", id=run.thread)


async def test_a_child_that_was_removed_counts_as_cancelled(stage: Stage) -> None:
    services = bank(stage, PAYS)
    run = await _rests(services)
    [child] = children_of(await stage.journal(run))
    await _remove(services, child)

    await resume_family(replace(services), run)

    [failed] = [e for e in await stage.journal(run) if isinstance(e, ToolFailed)]
    assert failed.message == "Error: the run ended as cancelled: it was deleted"


async def test_the_run_of_the_caller_records_what_a_run_below_waits_for(stage: Stage) -> None:
    services = bank(stage, PAYS)

    outcome = await run_boss(services, workflow="deep")

    [boss] = children_of(await stage.journal(outcome.run))
    [teller] = children_of(await stage.journal(boss))
    [asked] = asked_by(await stage.journal(outcome.run))
    assert (asked.call, asked.run, asked.child_call) == ("2.0", str(teller), "2.0")
    assert (asked.tool, asked.workflow, asked.arguments) == ("pay", "teller", '{"amount":7}')
    assert asked_by(await stage.journal(boss)) == []


async def test_a_question_is_recorded_once(stage: Stage) -> None:
    services = bank(stage, ASKS)
    outcome = await run_boss(services)

    again = await drive(services, await take(services, outcome.run), NullListener())

    [asked] = asked_by(await stage.journal(outcome.run))
    assert again.status == "waiting"
    assert (asked.question, asked.schema) == ("Which colour?", {"type": "string"})


async def test_an_answer_below_continues_both_runs(stage: Stage) -> None:
    services = bank(stage, PAYS)
    outcome = await run_boss(services)
    [asked] = asked_by(await stage.journal(outcome.run))
    answered = answer_to(asked, options=RequestOptions(max_output_tokens=9))

    await answer_below(services, outcome.run, answered, lambda: approve(services, asked))
    await resume_family(services, outcome.run)

    journal = await stage.journal(outcome.run)
    thread = fold((await services.store.load(outcome.run.thread)).entries)
    assert answered in journal
    assert journal[-1] == RunFinished("completed")
    assert thread.options.max_output_tokens == 9
    assert thread.child_asked is None


async def test_an_answer_below_that_comes_too_late_leaves_no_entry(stage: Stage) -> None:
    services = bank(stage, PAYS)
    outcome = await run_boss(services)
    [asked] = asked_by(await stage.journal(outcome.run))
    await approve(services, asked)

    with pytest.raises(TooLate):
        await answer_below(
            services,
            outcome.run,
            answer_to(asked),
            lambda: approve(services, asked),
            claims=True,
        )

    assert not [one for one in await stage.journal(outcome.run) if isinstance(one, ChildAnswered)]


async def test_an_answer_below_of_a_run_that_is_cancelled_is_a_conflict(stage: Stage) -> None:
    services = bank(stage, PAYS)
    outcome = await run_boss(services)
    [asked] = asked_by(await stage.journal(outcome.run))

    async def cancels() -> None:
        await services.store.ask_cancel(outcome.run)

    with pytest.raises(Conflict):
        await answer_below(services, outcome.run, answer_to(asked), cancels, claims=True)


async def test_siblings_are_asked_one_by_one(stage: Stage) -> None:
    two = calls(("teller", {"input": "pay"}), ("teller", {"input": "pay"}))
    services = firm(stage, two, says("Done."), workflows=(BOSS, TELLER), teller=PAYS)
    outcome = await run_boss(services)

    [first] = asked_by(await stage.journal(outcome.run))
    await answer_below(
        services, outcome.run, answer_to(first), lambda: approve(services, first), claims=True
    )
    held = await take(services, outcome.run)
    await drive_family(services, held, NullListener(), poll=POLL)

    _, second = asked_by(await stage.journal(outcome.run))
    assert first.run != second.run
    assert {first.call, second.call} == {"2.0", "2.1"}


def asked_by(journal: Sequence[Event]) -> list[ChildAsked]:
    return [event for event in journal if isinstance(event, ChildAsked)]


def answer_to(asked: ChildAsked, options: RequestOptions | None = None) -> ChildAnswered:
    return ChildAnswered(
        asked.call, asked.run, asked.child_call, "ann", True, True, options=options
    )


async def approve(services: Services, asked: ChildAsked) -> None:
    run = RunId.parse(asked.run)
    await answer(services, run, approved=True, by="ann", call=asked.child_call)
