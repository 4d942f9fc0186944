"""A run that a fault stopped is given back, or failed if a caller waits for it."""

import asyncio

import pytest

from tests.engine.drive.stories import (
    LAMP,
    SOON,
    SilentModel,
    answers,
    commit_when_stopped,
    in_the_background,
    let_retries_time_out,
)
from tests.engine.stage import (
    Stage,
    Trouble,
    after_start,
    cut_off,
    drive_new,
    resume,
    start,
    take_over,
)
from tests.loop_clock import LoopClock
from twelvefold.core.events import (
    RunFinished,
)
from twelvefold.core.ports import (
    Append,
    NullListener,
    StepTransaction,
)
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.errors import (
    ModelUnavailable,
    NotFound,
    StaleRun,
    StoreRefused,
    TooLarge,
)
from twelvefold.services.model.scripted import calls, says


async def test_a_run_whose_model_is_unavailable_is_queued(stage: Stage) -> None:
    outcome = await drive_new(stage.process(ModelUnavailable("no reply from the model: 503")))

    assert (outcome.status, outcome.error) == ("queued", "no reply from the model: 503")
    record = await stage.record(outcome.run)
    assert (record.status, record.leased) == ("queued", False)
    assert (await resume(stage.process(says("Hello.")), outcome.run)).status == "completed"


async def test_a_fault_fails_a_run_that_a_caller_waits_for(stage: Stage) -> None:
    services = stage.process(ModelUnavailable("no reply from the model: 503"))
    error = "no reply from the model: 503; try again later"

    outcome = await drive(services, await start(services), NullListener(), fail_on_fault=True)

    assert (outcome.status, outcome.error) == ("failed", error)
    record = await stage.record(outcome.run)
    assert (record.status, record.error, record.leased) == ("failed", error, False)
    assert await answers(stage, outcome) == [RunFinished("failed", "unavailable", error)]


async def test_an_end_that_cannot_be_written_gives_the_run_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(ModelUnavailable("no reply from the model: 503"))
    run = await start(services)

    def reject(change: Append) -> StepTransaction:
        raise TooLarge("longer than a packet may be")

    monkeypatch.setattr(services.store, "append", reject)
    outcome = await drive(services, run, NullListener(), fail_on_fault=True)

    assert (outcome.status, outcome.error) == ("queued", "no reply from the model: 503")
    record = await stage.record(run.run)
    assert (record.status, record.error, record.leased) == ("queued", outcome.error, False)


async def test_an_unexpected_error_fails_a_run_that_a_caller_waits_for(stage: Stage) -> None:
    services = stage.process(TimeoutError("not the run's deadline"))
    error = "an unexpected TimeoutError stopped the run; the server's log says where"

    with pytest.raises(TimeoutError, match="not the run's deadline"):
        await drive(services, run := await start(services), NullListener(), fail_on_fault=True)

    record = await stage.record(run.run)
    assert (record.status, record.error) == ("failed", error)
    assert await answers(stage, run) == [RunFinished("failed", "error", error)]


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_run_that_another_process_has_taken_over_does_not_fail(stage: Stage) -> None:
    model = SilentModel()
    services = stage.process(model=model)
    run = await start(services)
    task = asyncio.ensure_future(drive(services, run, NullListener(), fail_on_fault=True))
    await model.requested.wait()
    taken = await take_over(stage, stage.process(), run.run)

    with pytest.raises(StaleRun):
        await task

    assert (await stage.record(run.run)).status == "running"
    assert taken.run == run.run


async def test_an_unexpected_error_gives_the_run_back_and_is_raised(stage: Stage) -> None:
    services = stage.process(TimeoutError("not the run's deadline"))

    with pytest.raises(TimeoutError, match="not the run's deadline"):
        await drive(services, run := await start(services), NullListener())

    assert (await stage.record(run.run)).status == "queued"


async def test_a_run_of_an_unknown_workflow_is_given_back(stage: Stage) -> None:
    left = await start(stage.process())
    await stage.let_leases_run_out()
    elsewhere = stage.process(workflow=Workflow("bank", "Lend.", ()))

    with pytest.raises(NotFound, match="is of workflow 'shop', which WORKFLOWS does not name"):
        await resume(elsewhere, left.run)

    assert (await stage.record(left.run)).status == "queued"
    assert (await take(stage.process(), left.run)).thread.interrupted


async def test_a_run_is_queued_if_the_database_is_unavailable_at_the_deadline(
    stage: Stage, loop_clock: LoopClock
) -> None:
    trouble = Trouble(cut_off, places=["behind the fence", "before a release"], times=10**6)
    services = stage.process(calls(("buy", LAMP)), says("Bye."), limits=SOON, trouble=trouble)
    task = in_the_background(services, await start(services))

    for timeout_s in (SOON.deadline_s, stage.timings.release_s):
        await let_retries_time_out(loop_clock, lambda: trouble.times_caused, timeout_s)
    outcome = await task

    assert outcome.status == "queued"
    assert outcome.error == "the end of the run is not written: the database cannot be reached"
    await stage.let_leases_run_out()
    other = stage.process(calls(("buy", LAMP)), says("Bye."))
    assert (await resume(other, outcome.run)).status == "completed"
    assert await stage.bought() == ["a lamp"]


async def test_a_run_is_queued_if_the_database_stays_unavailable(
    stage: Stage, loop_clock: LoopClock
) -> None:
    places = ["before a step's transaction", "before a load", "before a release"]
    trouble = Trouble(cut_off, places=places, times=10**6)
    services = stage.process(says("Bye."), limits=SOON, trouble=trouble)
    task = in_the_background(services, await start(services))

    for timeout_s in (SOON.deadline_s, stage.timings.release_s, stage.timings.release_s):
        await let_retries_time_out(loop_clock, lambda: trouble.times_caused, timeout_s)
    outcome = await task

    assert outcome.status == "queued"
    assert after_start(await stage.journal(outcome.run)) == []


async def test_an_end_that_was_committed_late_counts(
    stage: Stage, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(model=(model := SilentModel()), limits=SOON)
    task = in_the_background(services, await start(services))
    is_delayed = commit_when_stopped(monkeypatch, services, task)
    await model.requested.wait()

    loop_clock.let_pass(SOON.deadline_s)
    await is_delayed.wait()
    loop_clock.let_pass(stage.timings.release_s)
    outcome = await task

    assert (outcome.status, outcome.error) == ("incomplete", "deadline")
    assert (await stage.record(outcome.run)).status == "incomplete"


async def test_a_refused_journal_entry_is_raised_and_gives_the_run_back(stage: Stage) -> None:
    def reject() -> None:
        raise StoreRefused("the table events is read-only")

    services = stage.process(says("Bye."), trouble=Trouble(reject, places=["behind the fence"]))

    with pytest.raises(StoreRefused, match="the table events is read-only"):
        await drive(services, run := await start(services), NullListener())

    assert (await stage.record(run.run)).status == "queued"
