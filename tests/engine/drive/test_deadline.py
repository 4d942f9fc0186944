"""A run at its deadline."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.engine.drive.stories import (
    LAMP,
    SHIPPED,
    SOON,
    UNKNOWN,
    SilentModel,
    answers,
    commit_when_stopped,
    deaf_shipper,
    in_the_background,
    slow_notifier,
    slow_shipper,
)
from tests.engine.leases import until
from tests.engine.stage import (
    LIMITS,
    Crash,
    RecordingListener,
    Stage,
    Trouble,
    drive_new,
    kill,
    resume,
    start,
    world,
)
from tests.loop_clock import LoopClock
from twelvefold.core.events import (
    OutcomeUnknown,
    RunFinished,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    CallKey,
    NullListener,
    Transaction,
)
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import settle, take
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import calls, says


async def outcome_at_the_deadline(
    loop_clock: LoopClock, services: Services, began: Callable[[], object]
) -> Outcome:
    """Drive a new run, and let its time pass once `began` is true."""
    task = in_the_background(services, await start(services))
    await until(began)
    loop_clock.let_pass(SOON.deadline_s)
    return await task


async def test_a_run_ends_at_its_deadline(stage: Stage, loop_clock: LoopClock) -> None:
    model = SilentModel()
    services = stage.process(model=model, limits=SOON)

    outcome = await outcome_at_the_deadline(loop_clock, services, model.requested.is_set)

    assert (outcome.status, outcome.error) == ("incomplete", "deadline")
    assert await answers(stage, outcome) == [RunFinished("incomplete", "deadline")]


async def test_an_unsafe_call_that_ended_too_many_processes_is_left_to_a_person(
    stage: Stage,
) -> None:
    services = stage.process(calls(("ship", LAMP)), limits=replace(LIMITS, max_attempts=1))
    run = await start(services)
    world.trouble = Trouble(kill, places=["an unsafe tool, after it acted"])
    with pytest.raises(Crash):
        await drive(services, run, NullListener())
    for _ in range(2):
        await stage.let_leases_run_out()
        held = await take(services, run.run)

    outcome = await drive(services, held, NullListener())

    assert (outcome.status, held.attempts) == ("waiting", 2)
    assert await answers(stage, outcome) == [UNKNOWN]


async def test_a_transactional_tool_is_finished_at_the_deadline(
    stage: Stage, loop_clock: LoopClock
) -> None:
    began = asyncio.Event()

    @tool(name="buy")
    async def buy_slowly(tx: Transaction, item: str) -> str:
        """Buy it."""
        await tx.execute("insert into bought (item, who) values (:item, 'ann')", item=item)
        began.set()
        await until(task.cancelling)
        return "bought"

    workflow, listener = Workflow("shop", "Sell.", (buy_slowly,)), RecordingListener()
    services = stage.process(calls(("buy", LAMP)), limits=SOON, workflow=workflow)
    task = asyncio.ensure_future(drive_new(services, listener))
    await began.wait()

    loop_clock.let_pass(SOON.deadline_s)
    outcome = await task

    assert await stage.bought() == ["a lamp"]
    assert (await answers(stage, outcome))[1:] == [RunFinished("incomplete", "deadline")]
    assert listener.entries == list(outcome.thread.latest[1:])


async def test_a_last_reply_that_is_being_written_at_the_deadline_completes_the_run(
    stage: Stage, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("Bye."), limits=SOON)
    task = in_the_background(services, await start(services))
    is_delayed = commit_when_stopped(monkeypatch, services, task)
    await is_delayed.wait()

    loop_clock.let_pass(SOON.deadline_s)
    outcome = await task

    assert (outcome.status, outcome.error) == ("completed", "")


async def test_an_unsafe_call_that_is_running_at_the_deadline_is_left_to_a_person(
    stage: Stage, loop_clock: LoopClock
) -> None:
    services = slow_shipper(stage, SOON)

    outcome = await outcome_at_the_deadline(loop_clock, services, lambda: world.shipped)

    assert outcome.status == (await stage.record(outcome.run)).status == "waiting"
    assert await answers(stage, outcome) == [UNKNOWN]


async def test_a_call_with_a_key_keeps_the_key_after_the_deadline(
    stage: Stage, loop_clock: LoopClock
) -> None:
    services = slow_notifier(stage, SOON)

    outcome = await outcome_at_the_deadline(loop_clock, services, lambda: world.notified)

    assert outcome.status == (await stage.record(outcome.run)).status == "waiting"
    assert await answers(stage, outcome) == [OutcomeUnknown(CallId("2.0"), "notify")]
    services = stage.process(calls(("notify", LAMP)), says("Bye."))
    await settle(services, outcome.run, settled="retry", by="bob")
    assert (await resume(services, outcome.run)).status == "completed"
    assert world.notified == [(CallKey(f"{outcome.run.thread}:2.0"), "a lamp")] * 2


async def test_the_deadline_ends_a_run_whose_tool_ignores_its_cancellation(
    stage: Stage, loop_clock: LoopClock
) -> None:
    services = deaf_shipper(stage, SOON)

    outcome = await outcome_at_the_deadline(loop_clock, services, lambda: world.shipped)

    assert (outcome.status, outcome.error) == ("incomplete", "deadline")
    assert await answers(stage, outcome) == [SHIPPED, RunFinished("incomplete", "deadline")]
