"""Runs that wait: for time, for events, for answers of people."""

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.engine.stage import Crash, Stage, Trouble, cut_off, kill, resume
from tests.engine.waits.stories import (
    LATER_S,
    begin,
    called,
    desk,
    drive_desk,
    due_runs,
    events_of,
    go_on,
)
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    RunFinished,
    ToolFailed,
    ToolSucceeded,
    WaitEnded,
    WaitStarted,
)
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import Claim, NoWakeUps, WaitState
from twelvefold.core.waits import time_of
from twelvefold.engine.commands import answer, answer_question, send_signal
from twelvefold.errors import (
    Conflict,
    InvalidAnswer,
    MigrationUnfinished,
    NotFound,
    RequestError,
    StaleRun,
    StoreUnavailable,
    TooLate,
)
from twelvefold.services.model.scripted import Scripted, calls, says
from twelvefold.services.store.sqlite.store import SQLiteStore

CALL = CallId("2.0")
PAYLOAD = '{"amount":12}'


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    called.clear()


async def pay_for(stage: Stage, payload: Any = {"amount": 12}, key: str = "payment:1") -> bool:  # noqa: B006
    return await send_signal(
        desk(stage), key, payload, workflow="desk", principal="ann", sender="the bank"
    )


async def statuses(stage: Stage, run: RunId) -> str:
    return (await stage.record(run)).status


# --- time ---------------------------------------------------------------------------------------


async def test_a_timer_rests_the_run_until_it_is_due(stage: Stage) -> None:
    run = await begin(stage, "pause", milliseconds=60_000)

    assert await due_runs(desk(stage)) == []
    stage.advance(LATER_S)
    assert await due_runs(desk(stage)) == [run]
    assert (await go_on(stage, run, "pause", milliseconds=60_000)).status == "completed"

    started, ended, result, finished = await events_of(stage, run)
    assert isinstance(started, WaitStarted)
    assert ended == WaitEnded(CALL, "time")
    assert result == ToolSucceeded(CALL, "pause", time_of(started.until_us).isoformat())
    assert finished == RunFinished("completed")
    assert called == ["pause"]


async def test_a_time_that_has_passed_does_not_rest_the_run(stage: Stage) -> None:
    outcome = await drive_desk(desk(stage, calls(("until_1970", {})), says("Good bye.")))

    assert outcome.status == "completed"
    result = (await events_of(stage, outcome.run))[2]
    assert isinstance(result, ToolSucceeded)
    assert datetime.fromisoformat(result.result).year == 1970


async def test_a_tool_that_may_wait_may_also_return_its_result(stage: Stage) -> None:
    call = calls(("pause", {"milliseconds": 0}))

    outcome = await drive_desk(desk(stage, call, says("Good bye.")))

    assert (await events_of(stage, outcome.run))[0] == ToolSucceeded(CALL, "pause", "no pause")


async def test_the_first_of_several_timers_wakes_the_run(stage: Stage) -> None:
    slow, quick = ("pause", {"milliseconds": 3_600_000}), ("pause", {"milliseconds": 60_000})
    outcome = await drive_desk(desk(stage, calls(slow, quick)))
    stage.advance(LATER_S)
    services = desk(stage)

    assert await due_runs(services) == [outcome.run]
    assert (await go_on(stage, outcome.run)).status == "waiting"

    ended = [one for one in await events_of(stage, outcome.run) if isinstance(one, WaitEnded)]
    assert ended == [WaitEnded(CallId("2.1"), "time")]
    assert await due_runs(services) == []


# --- events -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["pay", "send_invoice", "order_by_key"])
async def test_an_event_continues_the_run_and_is_the_result_of_its_call(
    stage: Stage, tool: str
) -> None:
    run = await begin(stage, tool)
    assert await due_runs(desk(stage)) == []

    assert await pay_for(stage)
    assert await statuses(stage, run) == "queued"
    assert (await go_on(stage, run, tool)).status == "completed"

    assert (await events_of(stage, run))[1:3] == [
        WaitEnded(CALL, "event", "the bank"),
        ToolSucceeded(CALL, tool, PAYLOAD),
    ]
    assert len(called) == 1


async def test_an_event_that_came_early_does_not_rest_the_run(stage: Stage) -> None:
    await pay_for(stage)

    outcome = await drive_desk(desk(stage, calls(("pay", {})), says("Good bye.")))

    assert outcome.status == "completed"
    assert await stage.bought() == ["a payment"]


async def test_the_first_delivery_of_an_event_counts(stage: Stage) -> None:
    run = await begin(stage, "pay")

    deliveries = await asyncio.gather(*(pay_for(stage, {"amount": 12}) for _ in range(4)))

    assert sorted(deliveries) == [False, False, False, True]
    await go_on(stage, run, "pay")
    results = [one for one in await events_of(stage, run) if isinstance(one, ToolSucceeded)]
    assert results == [ToolSucceeded(CALL, "pay", PAYLOAD)]


async def test_the_events_of_another_principal_do_not_count(stage: Stage) -> None:
    run = await begin(stage, "pay")

    await send_signal(desk(stage), "payment:1", workflow="desk", principal="bob", sender="the bank")

    assert await statuses(stage, run) == "waiting"


async def test_a_tool_of_another_run_sends_an_event_with_its_commit(stage: Stage) -> None:
    run = await begin(stage, "pay")

    call = calls(("confirm", {"amount": 12}))
    sender = await drive_desk(desk(stage, call, says("Good bye.")))
    await go_on(stage, run, "pay")

    assert (await events_of(stage, run))[1] == WaitEnded(CALL, "event", str(sender.run))


async def test_an_event_that_does_not_come_in_time_fails_the_call(stage: Stage) -> None:
    run = await begin(stage, "pay_soon")
    stage.advance(LATER_S)
    await pay_for(stage)

    assert (await go_on(stage, run, "pay_soon")).status == "completed"

    message = "Error: the event 'payment:1' did not come in time"
    assert (await events_of(stage, run))[1:3] == [
        WaitEnded(CALL, "timeout"),
        ToolFailed(CALL, "pay_soon", "expired", message),
    ]


async def test_an_event_in_time_counts_although_its_run_continues_later(stage: Stage) -> None:
    run = await begin(stage, "pay_soon")
    await pay_for(stage)
    stage.advance(LATER_S)

    await go_on(stage, run, "pay_soon")

    assert (await events_of(stage, run))[2] == ToolSucceeded(CALL, "pay_soon", PAYLOAD)


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ({"payload": {1, 2}}, "the payload is no JSON"),
        ({"payload": "x" * 70_000}, "the payload has 70002 characters as JSON; 65536 is the most"),
        ({"key": ""}, "an event has a key"),
        ({"key": "x" * 256}, "key has 256 characters; 255 is the most"),
    ],
)
async def test_a_wrong_event_is_refused(stage: Stage, sent: dict[str, Any], problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        await pay_for(stage, **sent)


async def test_an_event_for_an_unknown_workflow_is_refused(stage: Stage) -> None:
    with pytest.raises(RequestError, match="no workflow 'shop'; there are desk"):
        await send_signal(desk(stage), "k", workflow="shop", principal="ann", sender="x")


# --- questions ----------------------------------------------------------------------------------


async def test_a_question_is_answered_with_a_value_of_its_type(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")
    services = desk(stage)

    with pytest.raises(InvalidAnswer, match=r"the answer does not fit: .*green"):
        await answer_question(services, run, "green", by="ann", principal="ann")
    assert await statuses(stage, run) == "waiting"
    await answer_question(services, run, "blue", by="ann", principal="ann")
    assert (await go_on(stage, run, "ask_colour")).status == "completed"

    asked, *rest = await events_of(stage, run)
    assert asked == WaitStarted(
        CALL,
        "ask_colour",
        question="Which colour?",
        schema={"enum": ["red", "blue"], "type": "string"},
    )
    assert rest[:2] == [
        WaitEnded(CALL, "answer", "ann"),
        ToolSucceeded(CALL, "ask_colour", '"blue"'),
    ]
    assert called == ["ask_colour"]


async def test_only_the_person_who_is_asked_may_answer(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")

    with pytest.raises(NotFound, match="no question for bob"):
        await answer_question(desk(stage), run, "blue", by="bob", principal="bob")


async def test_the_error_names_the_person_who_is_asked_instead(stage: Stage) -> None:
    run = await begin(stage, "ask_bob")

    with pytest.raises(NotFound, match="bob has to answer"):
        await answer_question(desk(stage), run, "yes", by="ann", principal="ann")


async def test_of_several_answers_one_counts(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")
    services = desk(stage)

    await answer_question(services, run, "blue", by="ann")
    with pytest.raises(TooLate, match="has no call that waits for an answer"):
        await answer_question(services, run, "red", by="ann")

    await go_on(stage, run, "ask_colour")
    assert (await events_of(stage, run))[2] == ToolSucceeded(CALL, "ask_colour", '"blue"')


async def test_an_answer_after_its_time_is_too_late(stage: Stage) -> None:
    run = await begin(stage, "ask_bob")
    stage.advance(LATER_S)

    with pytest.raises(TooLate, match=r"the time to answer call 2\.0"):
        await answer_question(desk(stage), run, True, by="bob", principal="bob")
    await go_on(stage, run, "ask_bob")

    failed = ToolFailed(CALL, "ask_bob", "expired", "Error: an answer did not come in time")
    assert (await events_of(stage, run))[2] == failed


async def test_an_answer_to_another_call_is_refused(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")

    with pytest.raises(TooLate, match=r"has no call 9\.9 that waits for an answer; 2\.0 does"):
        await answer_question(desk(stage), run, "red", by="ann", call=CallId("9.9"))
    with pytest.raises(TooLate, match="is over"):
        await answer_question(desk(stage), RunId(run.thread, 7), "red", by="ann")


async def test_questions_of_one_reply_are_asked_one_by_one(stage: Stage) -> None:
    both = calls(("ask_colour", {}), ("ask_size", {}))
    run = (await drive_desk(desk(stage, both))).run
    services = desk(stage, both, says("Good bye."))

    await answer_question(services, run, "blue", by="ann")
    assert (await resume(services, run)).status == "waiting"
    await answer_question(services, run, 7, by="ann")
    assert (await resume(services, run)).status == "completed"

    started = [one.call for one in await events_of(stage, run) if isinstance(one, WaitStarted)]
    assert started == [CALL, CallId("2.1")]


async def test_an_answer_that_comes_late_does_not_answer_the_next_question(stage: Stage) -> None:
    """Two persons answer at once without the call's id; meanwhile the run asks something else."""
    both = calls(("ask_colour", {}), ("ask_size", {}))
    run = (await drive_desk(desk(stage, both))).run
    services = desk(stage, both, says("Good bye."))

    class Late(SQLiteStore):
        async def claim(self, *arguments: Any, **how: Any) -> Claim | None:
            await answer_question(services, run, "blue", by="ann")
            assert (await resume(services, run)).status == "waiting"
            return await super().claim(*arguments, **how)

    store = Late(str(stage.path))
    with pytest.raises(TooLate, match=r"no call 2\.0 that waits for an answer; 2\.1 does"):
        await answer_question(replace(services, store=store), run, "red", by="bob")
    await store.close()

    ends = [one for one in await events_of(stage, run) if isinstance(one, WaitEnded)]
    assert ends == [WaitEnded(CALL, "answer", "ann")]


async def test_an_answer_whose_commit_was_not_confirmed_counts_once(stage: Stage) -> None:
    run = await begin(stage, "ask_colour")
    trouble = Trouble(cut_off, places=["after a step's commit"])

    await answer_question(desk(stage, trouble=trouble), run, "blue", by="ann")
    with pytest.raises(TooLate):
        await answer_question(desk(stage), run, "red", by="ann")

    await go_on(stage, run, "ask_colour")

    assert (await events_of(stage, run))[2] == ToolSucceeded(CALL, "ask_colour", '"blue"')


# --- kills --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["pay", "pause", "ask_colour", "refund_soon"])
@pytest.mark.parametrize("at", range(1, 13))
async def test_a_process_that_is_killed_anywhere_while_the_wait_begins(
    stage: Stage, tool: str, at: int
) -> None:
    """The event comes while the process is dead, so the next one must find it."""
    wanted: dict[str, dict[str, Any]] = {
        "pause": {"milliseconds": 1},
        "refund_soon": {"item": "x"},
    }
    arguments = wanted.get(tool, {})
    script = calls((tool, arguments)), says("Good bye.")
    services = desk(stage, *script, trouble=Trouble(kill, at=at))
    task = asyncio.ensure_future(drive_desk(services))
    await asyncio.wait([task])
    if not task.cancelled() and isinstance(task.exception(), Crash):
        await stage.let_leases_run_out()
    await pay_for(stage)
    if not (runs := await stage.runs()):
        return  # killed before the run was written

    (run,) = runs
    for _ in range(3):
        await _settle_waits(stage, run, tool)
        if (await stage.record(run)).status == "completed":
            break
        await _drive_if_due(stage, run, script)

    assert (await stage.record(run)).status == "completed"
    events = await events_of(stage, run)
    results = [one for one in events if isinstance(one, ToolSucceeded | ToolFailed)]
    assert len(results) == 1
    assert await stage.bought() == (["a payment"] if tool == "pay" else [])


async def _settle_waits(stage: Stage, run: RunId, tool: str) -> None:
    """Give the answer or the time that the run waits for, if it does."""
    if tool == "ask_colour":
        with suppress(TooLate, Conflict):
            await answer_question(desk(stage), run, "blue", by="ann")
    elif tool == "refund_soon":
        with suppress(TooLate, Conflict):
            await answer(desk(stage), run, approved=True, by="bob")
    elif tool == "pause":
        await asyncio.sleep(0.01)


async def _drive_if_due(stage: Stage, run: RunId, script: tuple[Scripted, ...]) -> None:
    """Drive the run as a worker does, which only takes what it finds."""
    services = desk(stage, *script)
    if run in await due_runs(services):
        await resume(services, run)


# --- the gate -----------------------------------------------------------------------------------


async def _serve_older_releases(stage: Stage, serves: str) -> None:
    store = desk(stage).store
    async with store.write() as tx:
        await tx.execute("update twelvefold_releases set serves = :serves", serves=serves)


async def test_a_workflow_that_waits_is_refused_while_older_releases_may_work(
    stage: Stage,
) -> None:
    await _serve_older_releases(stage, "0003")

    with pytest.raises(MigrationUnfinished, match=r"workflow desk needs .*migrate --finish"):
        await drive_desk(desk(stage, calls(("pay", {}))))

    assert await stage.runs() == []


async def test_a_claimed_run_is_given_back_while_older_releases_may_work(stage: Stage) -> None:
    run = await begin(stage, "pay")
    await pay_for(stage)
    await _serve_older_releases(stage, "0003")
    clock = [0.0]
    services = desk(stage, says("Good bye."), monotonic=lambda: clock[0])

    outcome = await resume(services, run)
    assert (outcome.status, (await stage.record(run)).error) == ("queued", outcome.fault)
    assert "migrate --finish" in outcome.fault
    await _serve_older_releases(stage, "0006")
    assert (await resume(services, run)).status == "queued"  # it does not look again at once
    clock[0] += 5
    outcome = await go_on(stage, run, "pay")

    assert outcome.status == "completed"


async def test_other_arguments_need_the_gate(stage: Stage) -> None:
    run = await begin(stage, "give", item="a lamp")
    await _serve_older_releases(stage, "0003")

    with pytest.raises(MigrationUnfinished, match="an approval with other arguments"):
        await answer(desk(stage), run, approved=True, by="bob", arguments='{"item": "x"}')


# --- declarations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        ("undeclared", "it returned a Wait; its return annotation must name Wait"),
        ("ask_unknown", "Unable to generate"),
    ],
)
async def test_a_wrong_wait_is_a_fault_of_the_tool(stage: Stage, tool: str, problem: str) -> None:
    outcome = await drive_desk(desk(stage, calls((tool, {})), says("Good bye.")))

    failed = (await events_of(stage, outcome.run))[0]
    assert isinstance(failed, ToolFailed)
    assert failed.error
    assert problem in failed.error.message


# --- approvals ----------------------------------------------------------------------------------


async def test_an_approval_expires(stage: Stage) -> None:
    run = await begin(stage, "refund_soon", item="a lamp")
    stage.advance(LATER_S)
    services = desk(stage)

    with pytest.raises(TooLate, match=r"the time to answer call 2\.0"):
        await answer(services, run, approved=True, by="bob")
    assert await due_runs(services) == [run]
    await go_on(stage, run, "refund_soon", item="a lamp")

    asked, *rest = await events_of(stage, run)
    assert isinstance(asked, ApprovalAsked)
    assert rest[:2] == [
        ApprovalAnswered(CALL, approved=False, by="", reason="expired"),
        ToolFailed(CALL, "refund_soon", "denied", "Error: not approved in time"),
    ]


async def test_an_approval_in_time_runs_the_call(stage: Stage) -> None:
    run = await begin(stage, "refund_soon", item="a lamp")

    await answer(desk(stage), run, approved=True, by="bob")
    stage.advance(LATER_S)
    await go_on(stage, run, "refund_soon", item="a lamp")

    assert (await events_of(stage, run))[2] == ToolSucceeded(CALL, "refund_soon", "refunded a lamp")


async def test_a_person_may_change_the_arguments_of_a_call(stage: Stage) -> None:
    run = await begin(stage, "give", item="a lamp")
    services, arguments = desk(stage), '{"item": "a candle"}'

    with pytest.raises(RequestError, match="item: Field required"):
        await answer(services, run, approved=True, by="bob", arguments="{}")
    with pytest.raises(RequestError, match="a call that is denied takes no arguments"):
        await answer(services, run, approved=False, by="bob", arguments=arguments)
    assert await statuses(stage, run) == "waiting"
    await answer(services, run, approved=True, by="bob", arguments=arguments)
    await go_on(stage, run, "give", item="a lamp")

    answered = ApprovalAnswered(CALL, approved=True, by="bob", arguments=arguments)
    assert (await events_of(stage, run))[1:3] == [
        answered,
        ToolSucceeded(CALL, "give", "gave a candle"),
    ]
    assert await stage.bought() == ["a candle"]
    (result,) = [one for one in stage.requests[-1].items if one["type"] == "function_call_output"]
    changed = f"A person changed the arguments of this call to {arguments}"
    assert result["output"] == f"{changed}\nIts result: gave a candle"


async def test_a_timer_beside_an_approval_does_not_wake_the_run_again_and_again(
    stage: Stage,
) -> None:
    """The second call waits for a person without a limit: no time is due any more."""
    quick, gift = ("pause", {"milliseconds": 60_000}), ("give", {"item": "a lamp"})
    outcome = await drive_desk(desk(stage, calls(quick, gift)))
    assert outcome.status == "waiting"
    stage.advance(LATER_S)
    services = desk(stage)
    assert await due_runs(services) == [outcome.run]

    assert (await go_on(stage, outcome.run)).status == "waiting"

    assert await due_runs(services) == []


async def test_an_operator_cannot_change_the_arguments_of_a_tool_that_is_not_there(
    stage: Stage,
) -> None:
    run = await begin(stage, "give", item="a lamp")

    with pytest.raises(NotFound, match="workflow 'desk' has no tool 'give'"):
        await answer(stage.process(), run, approved=True, by="bob", arguments='{"item": "x"}')


async def test_a_plain_function_sends_an_event(stage: Stage) -> None:
    run = await begin(stage, "pay")

    await drive_desk(desk(stage, calls(("confirm_plainly", {})), says("Good bye.")))

    assert await statuses(stage, run) == "queued"


async def test_an_event_between_the_look_and_the_rest_queues_the_run(stage: Stage) -> None:
    services = desk(stage, calls(("pay", {})), says("Good bye."))
    queued: list[str] = []
    services = replace(services, wake_ups=_Recorded(queued))
    read, reads = services.store.wait_state, 0

    async def read_and_pay(*args: Any) -> WaitState:
        nonlocal reads
        state = await read(*args)
        reads += 1
        if reads == 2:  # the first is the time of the call
            await pay_for(stage)
        return state

    services.store.wait_state = read_and_pay  # type: ignore[method-assign, assignment]
    outcome = await drive_desk(services)

    assert (outcome.status, await statuses(stage, outcome.run)) == ("waiting", "queued")
    assert queued == ["desk"]
    assert (await go_on(stage, outcome.run, "pay")).status == "completed"


class _Recorded(NoWakeUps):
    """Records the workflows of queued runs."""

    def __init__(self, queued: list[str]) -> None:
        self._queued = queued

    def run_queued(self, workflow: str) -> None:
        self._queued.append(workflow)


@pytest.mark.parametrize("at", range(3, 13))
async def test_a_commit_of_the_rest_that_was_not_confirmed(stage: Stage, at: int) -> None:
    services = desk(stage, calls(("pay", {})), trouble=Trouble(cut_off, at=at))

    outcome = await drive_desk(services)

    assert (outcome.status, await statuses(stage, outcome.run)) == ("waiting", "waiting")
    assert await stage.bought() == ["a payment"]


async def test_a_run_that_was_woken_after_an_unconfirmed_rest_is_left_to_others(
    stage: Stage,
) -> None:
    def wake() -> None:
        with sqlite3.connect(stage.path) as db:
            woken = db.execute("update runs set status = 'queued' where status = 'waiting'")
        if woken.rowcount:
            raise StoreUnavailable("the answer was lost")

    trouble = Trouble(wake, places=["after a step's commit"], times=9)
    services = desk(stage, calls(("pay", {})), trouble=trouble)

    with pytest.raises(StaleRun):
        await drive_desk(services)

    (run,) = await stage.runs()
    assert await statuses(stage, run) == "queued"
