"""A run that is cancelled while a process drives it."""

import asyncio
from typing import Any

import pytest

from tests.engine.drive.stories import (
    CANCELLED,
    FINAL_UNKNOWN,
    LAMP,
    SOON,
    SilentModel,
    answers,
    in_the_background,
    slow_notifier,
    slow_shipper,
)
from tests.engine.stage import (
    LIMITS,
    SHOP,
    Stage,
    after_start,
    drive_new,
    resume,
    start,
    world,
)
from tests.loop_clock import LoopClock
from twelvefold.core.conversation.turns import UNKNOWN as UNKNOWN_TO_THE_MODEL
from twelvefold.core.events import (
    OutcomeUnknown,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    NullListener,
    ReadOnly,
)
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import cancel, take
from twelvefold.engine.drive import drive
from twelvefold.engine.step import step
from twelvefold.errors import (
    NotFound,
)
from twelvefold.services.model.scripted import calls, says


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_run_that_waits_for_its_model_is_cancelled_at_once(stage: Stage) -> None:
    model = SilentModel()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.requested.wait()

    assert await cancel(stage.process(), run.run) == "cancelled"

    outcome = await task
    assert (outcome.status, outcome.error) == ("cancelled", "cancelled")
    assert await answers(stage, run) == [CANCELLED]


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_run_whose_lease_was_taken_for_a_cancel_ends_as_cancelled(
    stage: Stage,
) -> None:
    model = SilentModel()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.requested.wait()
    await services.store.ask_cancel(run.run)
    elsewhere = stage.process()
    theirs = await take(elsewhere, run.run)
    await asyncio.sleep(0.1)

    assert not task.done()
    await drive(elsewhere, theirs, NullListener())

    assert (await task).status == "cancelled"


async def test_a_run_is_cancelled_at_once_while_its_tool_reads(stage: Stage) -> None:
    @tool
    async def look(db: ReadOnly) -> str:
        """Look, for as long as it takes another process to cancel the run."""
        assert await cancel(stage.process(), run.run) == "cancelled"
        return "seen"

    workflow = Workflow("shop", "Sell.", (look,))
    services = stage.process(calls(("look", {})), workflow=workflow)
    run = await start(services)

    outcome = await drive(services, run, NullListener())

    assert outcome.status == "cancelled"
    assert await answers(stage, run) == [CANCELLED]


async def test_a_cancelled_run_commits_no_tool(
    stage: Stage,
) -> None:
    services = stage.process(calls(("buy", LAMP)))
    run = await start(services)
    await services.store.ask_cancel(run.run)

    outcome = await drive(services, run, NullListener())

    assert outcome.status == "cancelled"
    assert await stage.bought() == []
    assert after_start(await stage.journal(run.run)) == [CANCELLED]


@pytest.mark.usefixtures("frequent_renewals")
async def test_an_unsafe_call_of_a_cancelled_run_has_a_final_unknown_outcome(
    stage: Stage,
) -> None:
    services = slow_shipper(stage, LIMITS)
    task = in_the_background(services, run := await start(services))
    while not world.shipped:
        await asyncio.sleep(0.001)

    await cancel(stage.process(), run.run)

    assert (await task).status == (await stage.record(run.run)).status == "cancelled"
    assert await answers(stage, run) == [FINAL_UNKNOWN, CANCELLED]


@pytest.mark.usefixtures("frequent_renewals")
async def test_the_model_reads_that_a_cancelled_call_with_a_key_must_not_be_repeated(
    stage: Stage,
) -> None:
    services = slow_notifier(stage, LIMITS)
    task = in_the_background(services, run := await start(services))
    while not world.notified:
        await asyncio.sleep(0.001)

    await cancel(stage.process(), run.run)
    await task
    later = stage.process(calls(("notify", LAMP)), says("Did it arrive?"))
    await drive(later, await start(later, "and?", run.run.thread), NullListener())

    unknown = OutcomeUnknown(CallId("2.0"), "notify", final=True)
    assert (await answers(stage, run))[:2] == [unknown, CANCELLED]
    assert stage.requests[-1].items[2]["output"] == UNKNOWN_TO_THE_MODEL


@pytest.mark.parametrize("name", ["buy", "ship", "refund"])
async def test_a_claimed_run_with_a_cancel_request_is_cancelled_before_anything_else(
    stage: Stage, name: str
) -> None:
    services = stage.process(calls((name, LAMP)), says("Bye."))
    run = (await start(services)).run
    await services.store.ask_cancel(run)
    await stage.let_leases_run_out()

    outcome = await resume(services, run)

    assert outcome.status == (await stage.record(run)).status == "cancelled"
    assert await answers(stage, outcome) == [CANCELLED]
    assert stage.requests == []


async def test_a_waiting_run_with_a_cancel_request_is_cancelled_when_it_is_claimed(
    stage: Stage,
) -> None:
    services = stage.process(calls(("refund", LAMP)))
    run = (await drive_new(services)).run
    await services.store.ask_cancel(run)

    outcome = await resume(services, run)

    record = await stage.record(run)
    assert (outcome.status, record.status, record.leased) == ("cancelled", "cancelled", False)


async def test_a_call_of_a_process_that_died_is_in_doubt_when_its_run_is_cancelled(
    stage: Stage,
) -> None:
    services = stage.process(calls(("ship", LAMP)))
    run = (await step(services, await start(services), SHOP, NullListener())).run
    await services.store.ask_cancel(run)
    await stage.let_leases_run_out()

    outcome = await resume(services, run)

    assert outcome.status == "cancelled"
    assert await answers(stage, outcome) == [FINAL_UNKNOWN, CANCELLED]


async def test_a_cancel_request_wins_over_the_deadline(stage: Stage, loop_clock: LoopClock) -> None:
    model = SilentModel()
    services = stage.process(model=model, limits=SOON)
    task = in_the_background(services, run := await start(services))
    await model.requested.wait()
    await services.store.ask_cancel(run.run)

    loop_clock.let_pass(SOON.deadline_s)
    outcome = await task

    assert outcome.status == "cancelled"
    assert await answers(stage, run) == [CANCELLED]


async def test_a_cancel_request_while_the_run_is_given_back_to_wait_cancels_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(calls(("refund", LAMP)))
    outcome = await drive_new(services)
    run = await take(services, outcome.run)
    release = services.store.release

    async def cancel_before(*what: Any, **how: Any) -> bool:
        await stage.process().store.ask_cancel(outcome.run)
        return await release(*what, **how)

    monkeypatch.setattr(services.store, "release", cancel_before)

    ended = await drive(services, run, NullListener())

    assert (outcome.status, ended.status) == ("waiting", "cancelled")
    assert (await stage.record(outcome.run)).status == "cancelled"


async def test_a_run_of_an_unknown_workflow_with_a_cancel_request_is_cancelled(
    stage: Stage,
) -> None:
    outcome = await drive_new(stage.process(calls(("refund", LAMP))))
    elsewhere = stage.process(workflow=Workflow("elsewhere", "Do.", ()))
    run = await take(elsewhere, outcome.run)
    await elsewhere.store.ask_cancel(outcome.run)

    with pytest.raises(NotFound, match="which WORKFLOWS does not name"):
        await drive(elsewhere, run, NullListener())

    assert (await stage.record(outcome.run)).status == "cancelled"
