"""Answers of persons: approvals, and outcomes that were unknown."""

from typing import Any

import pytest

from tests.engine.commands.stories import (
    LAMP,
    SHIPPING,
    UNKNOWN,
    answers,
    left_amid,
    waiting_for_approval,
)
from tests.engine.stage import (
    Stage,
    Trouble,
    cut_off,
    resume,
    world,
)
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Event,
    OutcomeSettled,
    RunFinished,
    Settlement,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, RunId
from twelvefold.engine.commands import (
    answer,
    settle,
)
from twelvefold.errors import (
    Conflict,
    RequestError,
    StoreUnavailable,
)
from twelvefold.services.model.scripted import calls, says


async def drive_to_end(stage: Stage, run: RunId) -> None:
    """Drive the run to its end in another process."""
    script = calls(("buy", LAMP)), calls(("refund", LAMP)), says("Good bye.")
    assert (await resume(stage.process(*script), run)).status == "completed"


async def test_an_approved_call_is_run_by_the_next_process(stage: Stage) -> None:
    run = await waiting_for_approval(stage)

    await answer(stage.process(), run, approved=True, by="bob")
    assert (await stage.record(run)).status == "queued"
    await drive_to_end(stage, run)

    assert (await answers(stage, run))[1:] == [
        ApprovalAsked(CallId("4.0"), "refund"),
        ApprovalAnswered(CallId("4.0"), approved=True, by="bob"),
        ToolSucceeded(CallId("4.0"), "refund", "refunded a lamp"),
        RunFinished("completed"),
    ]
    assert await stage.bought() == []


@pytest.mark.parametrize(
    ("reason", "message"),
    [("", "Error: not allowed by bob"), ("too late", "Error: not allowed by bob: too late")],
)
async def test_a_denied_call_is_not_run_and_the_model_reads_the_reason(
    stage: Stage, reason: str, message: str
) -> None:
    run = await waiting_for_approval(stage)

    await answer(stage.process(), run, approved=False, by="bob", reason=reason)
    await drive_to_end(stage, run)

    assert (await answers(stage, run))[1:] == [
        ApprovalAsked(CallId("4.0"), "refund"),
        ApprovalAnswered(CallId("4.0"), approved=False, by="bob", reason=reason),
        ToolFailed(CallId("4.0"), "refund", "denied", message),
        RunFinished("completed"),
    ]
    assert await stage.bought() == ["a lamp"]


async def test_an_answer_to_a_call_that_does_not_wait_is_refused(
    stage: Stage,
) -> None:
    run = await waiting_for_approval(stage)
    services, before = stage.process(), await stage.journal(run)

    with pytest.raises(
        Conflict, match=f"run {run} has no call 4.1 that waits for approval; 4.0 does"
    ):
        await answer(services, run, approved=True, by="bob", call=CallId("4.1"))
    with pytest.raises(Conflict, match=f"run {run} has no call that waits for settling"):
        await settle(services, run, settled="done", by="bob")

    assert await stage.journal(run) == before
    record = await stage.record(run)
    assert (record.status, record.leased) == ("waiting", False)


async def test_an_unknown_kind_of_outcome_is_refused(stage: Stage) -> None:
    run = await waiting_for_approval(stage)
    settled: Any = "lost"

    with pytest.raises(RequestError, match="outcome is 'lost'; use one of done, retry, failed"):
        await settle(stage.process(), run, settled=settled, by="bob")


async def test_a_call_is_answered_once(stage: Stage) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()

    await answer(services, run, approved=True, by="bob", call=CallId("4.0"))

    with pytest.raises(Conflict, match="no call that waits for approval"):
        await answer(services, run, approved=False, by="eve")
    assert (await stage.record(run)).status == "queued"


async def test_a_reason_that_cannot_be_stored_is_refused(stage: Stage) -> None:
    run = await waiting_for_approval(stage)

    with pytest.raises(RequestError, match="cannot be stored as text"):
        await answer(stage.process(), run, approved=False, by="bob", reason="\udcff")

    assert (await stage.record(run)).status == "waiting"


async def test_an_answer_after_a_cancel_request_is_refused(stage: Stage) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    await services.store.ask_cancel(run)

    with pytest.raises(Conflict, match=f"run {run} has a cancel request"):
        await answer(services, run, approved=True, by="bob")

    record = await stage.record(run)
    assert (record.status, record.leased) == ("queued", False)


@pytest.mark.usefixtures("short_retries")
async def test_an_answer_is_retried_for_a_short_time_only(
    stage: Stage,
) -> None:
    run = await waiting_for_approval(stage)
    trouble = Trouble(cut_off, places=["before a step's transaction"], times=10**6)

    with pytest.raises(StoreUnavailable):
        await answer(stage.process(trouble=trouble), run, approved=True, by="bob")

    record = await stage.record(run)
    assert (record.status, record.leased) == ("waiting", False)


async def with_unknown_outcome(stage: Stage) -> RunId:
    run = await left_amid(stage, "an unsafe tool, after it acted")
    assert (await resume(stage.process(*SHIPPING), run)).status == "waiting"
    return run


@pytest.mark.parametrize(
    ("settled", "result", "outcome", "shipped"),
    [
        ("done", "it is there", ToolSucceeded(CallId("2.0"), "ship", "it is there"), 1),
        ("retry", "", ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp"), 2),
        (
            "failed",
            "",
            ToolFailed(CallId("2.0"), "ship", "settled", "Error: the call failed"),
            1,
        ),
        (
            "failed",
            "lost at sea",
            ToolFailed(CallId("2.0"), "ship", "settled", "Error: the call failed: lost at sea"),
            1,
        ),
    ],
)
async def test_a_person_settles_an_unknown_outcome(
    stage: Stage, settled: Settlement, result: str, outcome: Event, shipped: int
) -> None:
    run = await with_unknown_outcome(stage)

    await settle(stage.process(), run, settled=settled, by="bob", result=result)
    assert (await stage.record(run)).status == "queued"
    assert (await resume(stage.process(*SHIPPING), run)).status == "completed"

    assert await answers(stage, run) == [
        UNKNOWN,
        OutcomeSettled(CallId("2.0"), settled, "bob", result),
        outcome,
        RunFinished("completed"),
    ]
    assert world.shipped == ["a lamp"] * shipped


async def test_a_refused_answer_does_not_change_a_call_in_doubt(stage: Stage) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    with pytest.raises(Conflict, match="no call that waits for approval"):
        await answer(stage.process(), run, approved=True, by="bob")
    assert (await stage.record(run)).status == "queued"

    assert (await resume(stage.process(*SHIPPING), run)).status == "waiting"
    assert await answers(stage, run) == [UNKNOWN]
    assert world.shipped == ["a lamp"]
