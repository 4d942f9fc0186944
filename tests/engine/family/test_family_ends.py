"""Runs that end before the runs below them do: by a cancel, a deadline or a fault."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.builders import user
from tests.engine.family.stories import (
    BOSS,
    CLERK,
    POLL,
    children_of,
    clerk,
    firm,
    resume_family,
    run_boss,
)
from tests.engine.stage import ANN, LIMITS, Crash, Stage, Trouble, kill, take_over
from tests.loop_clock import LoopClock
from twelvefold.core.events import RunFinished, ToolFailed
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, NullListener
from twelvefold.engine.commands import RunRequest, cancel, enqueue_run, start_run, take
from twelvefold.engine.drive import drive
from twelvefold.engine.family import drive_family
from twelvefold.engine.services import Services
from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.scripted import Scripted, calls, says

TWO = (calls(("clerk", {"input": "a lamp"}), ("clerk", {"input": "a rug"})), says("Done."))
DEEP = calls(("clerk", {"input": "a lamp"}))


async def _waiting_parent(services: Services) -> RunId:
    """Drive a parent until it waits for its children, which stay queued."""
    request = RunRequest(workflow="boss", principal=ANN, items=[user("go")])
    outcome = await drive(services, await start_run(services, request), NullListener())
    assert outcome.status == "waiting"
    return outcome.run


async def _statuses(stage: Stage, run: RunId) -> list[str]:
    return [(await stage.record(one)).status for one in children_of(await stage.journal(run))]


async def test_cancelling_a_run_cancels_the_runs_below_it(stage: Stage) -> None:
    services = firm(stage, *TWO)
    run = await _waiting_parent(services)

    assert await cancel(services, run) == "cancelled"

    assert await _statuses(stage, run) == ["cancelled", "cancelled"]
    assert await stage.bought() == []


async def test_the_cancel_of_the_children_is_in_the_commit_that_ends_their_parent(
    stage: Stage,
) -> None:
    services = firm(stage, *TWO)
    run = await _waiting_parent(services)
    dying = firm(stage, *TWO, trouble=Trouble(kill, places=("after a step's commit",)))

    with pytest.raises((Crash, RuntimeError)):  # a coroutine that dies cannot clean up
        await cancel(dying, run)

    assert (await stage.record(run)).status == "cancelled"
    for child in children_of(await stage.journal(run)):
        assert (await stage.record(child)).cancel_asked
        await drive(services, await take(services, child), NullListener())
    assert await _statuses(stage, run) == ["cancelled", "cancelled"]


async def test_a_child_that_is_cancelled_is_an_error_that_the_model_reads(stage: Stage) -> None:
    services = firm(stage, DEEP, says("Done."))
    run = await _waiting_parent(services)
    [child] = children_of(await stage.journal(run))

    await cancel(services, child)

    assert (await stage.record(run)).status == "queued"
    await resume_family(services, run)
    [failed] = [e for e in await stage.journal(run) if isinstance(e, ToolFailed)]
    assert failed.message == "Error: clerk ended as cancelled"
    assert (await stage.journal(run))[-1] == RunFinished("completed")


async def test_a_run_that_fails_cancels_the_runs_below_it(stage: Stage) -> None:
    services = firm(stage, *TWO)
    run = await _waiting_parent(services)
    broken = firm(stage, *TWO, limits=replace(LIMITS, max_attempts=0))

    outcome = await drive(broken, await take(broken, run), NullListener())

    assert (outcome.status, outcome.thread.reason) == ("failed", "attempts")
    assert await _statuses(stage, run) == ["cancelled", "cancelled"]


async def test_a_child_has_the_time_that_its_parent_had_left(
    stage: Stage, loop_clock: LoopClock
) -> None:
    limits = replace(LIMITS, deadline_s=30.0)
    services = firm(stage, DEEP, says("Done."), limits=limits)
    services = replace(services, model=(slow := _Slow(services)))
    task = asyncio.create_task(run_boss(services))
    await slow.reached.wait()

    loop_clock.let_pass(limits.deadline_s)
    outcome = await task

    [failed] = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert failed.message == "Error: clerk ended as incomplete: deadline"
    assert outcome.status == "completed"


class _Slow:
    """A model that answers the clerk when the test allows it."""

    def __init__(self, services: Services) -> None:
        self._model = services.model
        self.reached, self.let, self.cancelled = (asyncio.Event() for _ in range(3))

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        if request.instructions == "clerk":
            self.reached.set()
            try:
                await asyncio.sleep(0)  # as a network does, allowed or not
                await self.let.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return await self._model.reply(request, listener)

    async def close(self) -> None:
        await self._model.close()


async def test_a_parent_is_woken_more_often_than_a_run_may_be_attempted(stage: Stage) -> None:
    items = [f"lamp {number}" for number in range(8)]
    story = (calls(("buy_all", {"items": items})), says("Done."))
    services = firm(stage, *story, limits=replace(LIMITS, max_attempts=2))
    run = await _waiting_parent(services)

    for child in children_of(await stage.journal(run)):
        await drive(services, await take(services, child), NullListener())
        await drive(services, await take(services, run), NullListener())

    assert (await stage.journal(run))[-1] == RunFinished("completed")


async def test_a_child_whose_model_is_down_leaves_the_family_to_others(stage: Stage) -> None:
    def down(_: ModelRequest) -> Scripted:
        return ModelUnavailable("the model is down")

    services = firm(stage, DEEP, says("Done."), clerk=down)

    outcome = await run_boss(services)

    assert (outcome.status, outcome.fault) == ("waiting", "the model is down")
    assert await _statuses(stage, outcome.run) == ["queued"]
    await resume_family(firm(stage, DEEP, says("Done.")), outcome.run)
    assert await stage.bought() == ["a lamp"]


async def test_a_child_that_a_caller_waits_for_fails_with_its_model(stage: Stage) -> None:
    def down(_: ModelRequest) -> Scripted:
        return ModelUnavailable("the model is down")

    services = firm(stage, DEEP, says("Sorry."), clerk=down)
    request = RunRequest(workflow="boss", principal=ANN, items=[user("go")])
    held = await start_run(services, request)

    outcome = await drive_family(services, held, NullListener(), fail_on_fault=True, poll=POLL)

    assert outcome.status == "completed"
    [failed] = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert failed.message == "Error: clerk ended as failed: unavailable"


async def test_an_unexpected_error_below_leaves_the_family_to_others(stage: Stage) -> None:
    def broken(_: ModelRequest) -> Scripted:
        raise ZeroDivisionError

    services = firm(stage, DEEP, says("Done."), clerk=broken)

    outcome = await run_boss(services)

    [child] = children_of(await stage.journal(outcome.run))
    assert outcome.status == "waiting"
    assert outcome.fault == f"an unexpected ZeroDivisionError stopped run {child}"


async def test_a_family_is_given_back_when_its_drive_is_cancelled(stage: Stage) -> None:
    services = firm(stage, *TWO)
    services = replace(services, model=_Slow(services))
    request = RunRequest(workflow="boss", principal=ANN, items=[user("go")])
    run, _ = await enqueue_run(services, request)
    task = asyncio.create_task(resume_family(services, run))
    while await _statuses(stage, run) != ["running", "running"]:
        await asyncio.sleep(0.01)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await stage.record(run)).status == "waiting"
    assert await _statuses(stage, run) == ["queued", "queued"]


async def test_a_process_that_stops_gives_the_children_back(stage: Stage) -> None:
    stopping = False

    def stops(request: ModelRequest) -> Scripted:
        nonlocal stopping
        stopping = True
        return clerk(request)

    services = firm(stage, *TWO, clerk=stops)
    services = replace(services, model=(slow := _Slow(services)))
    request = RunRequest(workflow="boss", principal=ANN, items=[user("go")])
    held = await start_run(services, request)
    task = asyncio.create_task(
        drive_family(services, held, NullListener(), is_stopping=lambda: stopping, poll=POLL)
    )
    while await _statuses(stage, held.run) != ["running", "running"]:
        await asyncio.sleep(0.01)

    slow.let.set()
    outcome = await task

    assert outcome.status == "waiting"
    assert set(await _statuses(stage, outcome.run)) == {"queued"}


async def test_a_run_without_children_is_driven_alone(stage: Stage) -> None:
    services = firm(stage, workflows=(BOSS, CLERK))

    outcome = await run_boss(services, "a lamp", workflow="clerk")

    assert outcome.status == "completed"


async def test_another_process_ends_the_family(stage: Stage) -> None:
    services = firm(stage, *TWO)
    slow = replace(services, model=_Slow(services))
    run = await _waiting_parent(services)
    first, *_ = children_of(await stage.journal(run))
    await take(services, first)  # another process holds it
    task = asyncio.create_task(drive_family(slow, await take(slow, run), NullListener(), poll=POLL))
    while await _statuses(stage, run) != ["running", "running"]:
        await asyncio.sleep(0.01)

    await cancel(services, run)

    assert (await task).status == "cancelled"


async def test_another_process_ends_the_parent_before_its_children_are_driven(
    stage: Stage,
) -> None:
    services = firm(stage, *TWO)
    run = await _waiting_parent(services)

    @asynccontextmanager
    async def cancelled_after() -> AsyncIterator[None]:
        yield
        await cancel(services, run)

    held = await take(services, run)
    outcome = await drive_family(services, held, NullListener(), slot=cancelled_after, poll=POLL)

    assert outcome.status == "cancelled"


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_child_that_another_process_takes_over_is_left_to_it(stage: Stage) -> None:
    services = firm(stage, DEEP, says("Done."))
    slow = _Slow(services)
    first = replace(services, model=slow)
    request = RunRequest(workflow="boss", principal=ANN, items=[user("go")])
    held = await start_run(first, request)
    task = asyncio.create_task(drive_family(first, held, NullListener(), poll=POLL))
    await slow.reached.wait()
    [child] = children_of(await stage.journal(held.run))

    other = await take_over(stage, services, child)
    await slow.cancelled.wait()
    outcome = await drive(services, other, NullListener())

    assert outcome.status == "completed"
    assert (await task).status == "completed"
    assert await stage.bought() == ["a lamp"]


async def test_a_child_that_ends_before_this_process_takes_it_is_left_alone(stage: Stage) -> None:
    services = firm(stage, DEEP, says("Done."))
    run = await _waiting_parent(services)
    [child] = children_of(await stage.journal(run))

    @asynccontextmanager
    async def share(one: RunId) -> AsyncIterator[None]:
        if one == child:
            other = firm(stage)
            await drive(other, await take(other, child), NullListener())
        yield

    held = await take(services, run)
    outcome = await drive_family(services, held, NullListener(), poll=POLL, share=share)

    assert outcome.status == "completed"
    assert await stage.bought() == ["a lamp"]
