"""A run at its deadline."""

import asyncio
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
from twelvefold.engine.drive import drive
from twelvefold.services.model.scripted import calls, says


async def test_a_run_ends_at_its_deadline(stage: Stage) -> None:
    outcome = await drive_new(stage.process(model=SilentModel(), limits=SOON))

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


async def test_a_transactional_tool_is_finished_at_the_deadline(stage: Stage) -> None:
    @tool(name="buy")
    async def buy_slowly(tx: Transaction, item: str) -> str:
        """Buy it."""
        await tx.execute("insert into bought (item, who) values (:item, 'ann')", item=item)
        while not task.cancelling():
            await asyncio.sleep(0.001)
        return "bought"

    workflow, listener = Workflow("shop", "Sell.", (buy_slowly,)), RecordingListener()
    services = stage.process(calls(("buy", LAMP)), limits=SOON, workflow=workflow)
    task = asyncio.ensure_future(drive_new(services, listener))

    outcome = await task

    assert await stage.bought() == ["a lamp"]
    assert (await answers(stage, outcome))[1:] == [RunFinished("incomplete", "deadline")]
    assert listener.entries == list(outcome.thread.latest[1:])


async def test_a_last_reply_that_is_being_written_at_the_deadline_completes_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("Bye."), limits=SOON)
    task = in_the_background(services, await start(services))
    commit_when_stopped(monkeypatch, services, task)

    outcome = await task

    assert (outcome.status, outcome.error) == ("completed", "")


async def test_an_unsafe_call_that_is_running_at_the_deadline_is_left_to_a_person(
    stage: Stage,
) -> None:
    outcome = await drive_new(slow_shipper(stage, SOON))

    assert outcome.status == (await stage.record(outcome.run)).status == "waiting"
    assert await answers(stage, outcome) == [UNKNOWN]


async def test_a_call_with_a_key_keeps_the_key_after_the_deadline(stage: Stage) -> None:
    outcome = await drive_new(slow_notifier(stage, SOON))

    assert outcome.status == (await stage.record(outcome.run)).status == "waiting"
    assert await answers(stage, outcome) == [OutcomeUnknown(CallId("2.0"), "notify")]
    services = stage.process(calls(("notify", LAMP)), says("Bye."))
    await settle(services, outcome.run, settled="retry", by="bob")
    assert (await resume(services, outcome.run)).status == "completed"
    assert world.notified == [(CallKey(f"{outcome.run.thread}:2.0"), "a lamp")] * 2


async def test_the_deadline_ends_a_run_whose_tool_ignores_its_cancellation(stage: Stage) -> None:
    outcome = await drive_new(deaf_shipper(stage, replace(LIMITS, deadline_s=1.0)))

    assert (outcome.status, outcome.error) == ("incomplete", "deadline")
    assert await answers(stage, outcome) == [SHIPPED, RunFinished("incomplete", "deadline")]
