"""Children that wait for a person, who answers at the run that a caller started."""

from dataclasses import replace

from tests.builders import user
from tests.engine.family.stories import children_of, firm, resume_family, run_boss
from tests.engine.stage import ANN, Stage, Trouble, scripted
from twelvefold.core.events import RunFinished, ToolFailed
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import NullListener
from twelvefold.core.tools.tool import tool
from twelvefold.core.waiting import Ask
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import RunRequest, answer, answer_question, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.engine.waiting_calls import WaitingCall, waiting_calls
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
