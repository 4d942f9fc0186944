"""A drive takes a run to its end, or stops when another process has the run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Literal, cast

import pytest

from tests.engine.drive.stories import (
    LAMP,
    SHIPPED,
    SilentModel,
    answers,
    in_the_background,
)
from tests.engine.stage import (
    LIMITS,
    RecordingListener,
    Stage,
    drive_new,
    start,
    take_over,
    world,
)
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    RunFinished,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    Append,
    NullListener,
    StepTransaction,
)
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services
from twelvefold.errors import (
    LeaseLost,
    ModelRejected,
    StaleRun,
)
from twelvefold.services.model.scripted import calls, says


async def test_a_run_is_driven_to_its_end(stage: Stage) -> None:
    services, listener = (
        stage.process(calls(("buy", LAMP)), says("It is yours.")),
        RecordingListener(),
    )

    outcome = await drive_new(services, listener)

    assert (outcome.status, outcome.error) == ("completed", "")
    assert outcome.thread.entries == await stage.entries(outcome.run)
    assert listener.entries == list(outcome.thread.latest[1:])
    assert listener.texts == ["It is yours."]
    assert await answers(stage, outcome) == [
        ToolSucceeded(CallId("2.0"), "buy", "bought a lamp"),
        RunFinished("completed"),
    ]
    record = await stage.record(outcome.run)
    assert (record.status, record.leased, record.usage) == (
        "completed",
        False,
        outcome.thread.usage,
    )


async def test_a_run_that_waits_for_a_person_has_status_waiting(stage: Stage) -> None:
    outcome = await drive_new(stage.process(calls(("refund", LAMP))))

    assert (outcome.status, outcome.error) == ("waiting", "")


async def test_three_faults_in_a_row_end_the_run(stage: Stage) -> None:
    curse = calls(("buy", {"item": "a curse"}))

    outcome = await drive_new(stage.process(curse, curse, curse, says("Sorry.")))

    error = "tool `buy` raised RuntimeError three times in a row: cursed"
    assert (outcome.status, outcome.thread.reason, outcome.error) == (
        "failed",
        "tool_faults",
        error,
    )
    assert (await stage.record(outcome.run)).error == error
    assert [type(one) for one in await answers(stage, outcome)] == [*[ToolFailed] * 3, RunFinished]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(LIMITS, max_steps=2), "max_steps"),
        (replace(LIMITS, run_tokens=1), "token_budget"),
    ],
)
async def test_a_run_that_reaches_a_limit_is_incomplete(
    stage: Stage, limits: Limits, reason: str
) -> None:
    look = calls(("look", LAMP))

    outcome = await drive_new(stage.process(look, look, look, limits=limits))

    assert (outcome.status, outcome.error) == ("incomplete", reason)


async def test_a_request_that_the_model_rejects_fails_the_run(stage: Stage) -> None:
    outcome = await drive_new(stage.process(ModelRejected("no model 'm-1'; the key may use m-2")))

    assert (outcome.status, outcome.error) == ("failed", "no model 'm-1'; the key may use m-2")
    record = await stage.record(outcome.run)
    assert (record.status, record.error) == ("failed", outcome.error)
    assert await answers(stage, outcome) == [RunFinished("failed", "rejected", outcome.error)]


async def test_a_turn_that_is_too_long_fails_the_run_with_advice(stage: Stage) -> None:
    services = stage.process(says("Hello."), limits=replace(LIMITS, context_tokens=1000))
    outcome = await drive(services, await start(services, "x" * 5000), NullListener())

    assert outcome.status == "failed"
    assert "shorten the input, or set OPENAI_CONTEXT_TOKENS" in outcome.error


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("effect", ["pure", "unsafe"])
async def test_a_tool_whose_task_group_fails_is_called_once(
    stage: Stage, effect: Literal["pure", "unsafe"], caught: bool
) -> None:
    """A TaskGroup of Python 3.11 leaves its task marked as cancelled."""
    services = grouping(stage, effect, caught=caught)

    outcome = await drive_new(services)

    first = SHIPPED if caught else None
    assert outcome.status == "completed"
    assert world.shipped == ["a lamp"]
    assert ((await answers(stage, outcome))[0] == first) is caught


async def test_a_tool_that_cancels_its_own_task_fails(stage: Stage) -> None:
    @tool(effect="pure")
    async def ship(item: str) -> str:
        """Ship it."""
        world.shipped.append(item)
        cast("asyncio.Task[object]", asyncio.current_task()).cancel()
        await asyncio.Event().wait()
        return "never"

    services = stage.process(
        calls(("ship", LAMP)), says("Bye."), workflow=Workflow("shop", "Sell.", (ship,))
    )

    outcome = await drive_new(services)

    assert (outcome.status, world.shipped) == ("completed", ["a lamp"])


def grouping(stage: Stage, effect: Literal["pure", "unsafe"], *, caught: bool) -> Services:
    """Return a process whose tool waits for two tasks of a group, of which one fails."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("no route")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.Event().wait())

    @tool(effect=effect)
    async def ship(item: str) -> str:
        """Ship it."""
        world.shipped.append(item)
        if not caught:
            await both()
        with suppress(ExceptionGroup):
            await both()
        return "shipped"

    workflow = Workflow("shop", "Sell.", (ship,))
    return stage.process(calls(("ship", LAMP)), says("Bye."), workflow=workflow)


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_run_that_was_taken_over_is_not_driven_on(stage: Stage) -> None:
    model = SilentModel()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.requested.wait()
    theirs = await take_over(stage, stage.process(), run.run)

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        await task

    assert (await stage.record(run.run)).leased
    mine = stage.process(says("Bye."))
    assert (await drive(mine, theirs, NullListener())).status == "completed"


async def test_one_of_two_drives_continues_and_the_other_stops(stage: Stage) -> None:
    script = calls(("buy", LAMP)), calls(("ship", LAMP)), says("Bye.")
    one = stage.process(*script)
    run = await start(one)

    outcomes = await asyncio.gather(
        drive(one, run, NullListener()),
        drive(stage.process(*script), run, NullListener()),
        return_exceptions=True,
    )

    entries = await stage.entries(run.run)
    rested = [one for one in outcomes if isinstance(one, Outcome)]
    # The other drive stops at once, or finds that the run is over.
    assert rested
    assert all(isinstance(one, Outcome | StaleRun) for one in outcomes)
    assert {one.status for one in rested} == {"completed"}
    assert all(one.thread.entries == entries for one in rested)
    assert await stage.bought() == ["a lamp"]


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_renewal_after_the_last_commit_does_not_change_the_outcome(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("Bye."))
    append = services.store.append

    @asynccontextmanager
    async def lingering(change: Append) -> AsyncIterator[StepTransaction]:
        async with append(change) as tx:
            yield tx
        await asyncio.sleep(0.1)  # it is committed, and the answer is on its way

    monkeypatch.setattr(services.store, "append", lingering)

    outcome = await drive(services, await start(services), NullListener())

    assert outcome.status == "completed"
    assert outcome.thread.entries == await stage.entries(outcome.run)
