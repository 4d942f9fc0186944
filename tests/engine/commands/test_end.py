"""Cancel a run, or fail one that a service has stopped."""

import pytest

from tests.engine.commands.stories import (
    LAMP,
    MISSING,
    SHIPPING,
    UNKNOWN,
    answers,
    left_amid,
    waiting_for_approval,
)
from tests.engine.stage import (
    SHOP,
    Stage,
    after_start,
    drive_new,
    start,
)
from twelvefold.core.events import (
    OutcomeUnknown,
    RunFinished,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import NullListener
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import (
    cancel,
    fail_run,
)
from twelvefold.engine.drive import drive
from twelvefold.engine.step import step
from twelvefold.errors import (
    Conflict,
    NotFound,
)
from twelvefold.services.model.scripted import calls, says

FINAL_UNKNOWN = OutcomeUnknown(CallId("2.0"), "ship", final=True)


async def test_a_run_that_is_not_held_is_cancelled_at_once(stage: Stage) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()

    assert await cancel(services, run) == "cancelled"

    assert (await answers(stage, run))[2:] == [RunFinished("cancelled", "cancelled")]
    record = await stage.record(run)
    assert (record.status, record.leased) == ("cancelled", False)


async def test_a_held_run_commits_nothing_more_than_its_end(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)))
    held = await start(services)

    assert await cancel(stage.process(), held.run) == "cancelled"
    outcome = await drive(services, held, NullListener())

    assert outcome.status == "cancelled"
    assert after_start(await stage.journal(held.run)) == [RunFinished("cancelled", "cancelled")]
    assert await stage.bought() == []


async def test_a_run_that_is_over_is_not_changed_by_a_cancel(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    over = await drive_new(services)

    assert await cancel(services, over.run) == "completed"


async def test_a_run_that_is_not_there_cannot_be_cancelled(stage: Stage) -> None:
    with pytest.raises(NotFound, match=f"no run {MISSING}"):
        await cancel(stage.process(), MISSING)


async def test_the_journal_of_a_cancelled_run_says_that_a_call_may_have_happened(
    stage: Stage,
) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    assert await cancel(stage.process(), run) == "cancelled"

    assert await answers(stage, run) == [FINAL_UNKNOWN, RunFinished("cancelled", "cancelled")]


async def test_a_run_of_an_unknown_workflow_can_be_cancelled(stage: Stage) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    elsewhere = stage.process(workflow=Workflow("bank", "Lend.", ()))
    assert await cancel(elsewhere, run) == "cancelled"

    assert await answers(stage, run) == [RunFinished("cancelled", "cancelled")]


async def test_a_run_that_was_given_back_before_a_call_has_no_call_in_doubt(stage: Stage) -> None:
    services = stage.process(*SHIPPING)
    held = await step(services, await start(services), SHOP, NullListener())
    await services.store.release(held.lease)

    assert await cancel(services, held.run) == "cancelled"

    assert [call.tool for call in held.thread.pending] == ["ship"]
    assert await answers(stage, held.run) == [RunFinished("cancelled", "cancelled")]


async def test_a_run_that_a_service_has_stopped_fails_with_its_error(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await services.store.release(held.lease)

    await fail_run(services, held.run, "no reply from the model")

    record = await stage.record(held.run)
    assert (record.status, record.error) == ("failed", "no reply from the model")
    assert await answers(stage, held.run) == [RunFinished("failed", "unavailable", record.error)]


async def test_a_run_with_a_call_that_may_have_happened_waits_for_a_person(stage: Stage) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    await fail_run(stage.process(), run, "no reply from the model")

    assert (await stage.record(run)).status == "waiting"
    assert await answers(stage, run) == [UNKNOWN]


async def test_a_run_that_waits_for_a_person_is_not_given_up(stage: Stage) -> None:
    run = await waiting_for_approval(stage)

    with pytest.raises(Conflict, match="waits"):
        await fail_run(stage.process(), run, "no reply from the model")

    assert (await stage.record(run)).status == "waiting"
