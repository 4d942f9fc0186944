"""A process that stops gives its run back, and leaves no doubt about a call that it can settle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.drive.stories import (
    CANCELLED,
    FINAL_UNKNOWN,
    LAMP,
    SHIPPED,
    UNKNOWN,
    SilentModel,
    answers,
    deaf_shipper,
    in_the_background,
    slow_notifier,
    stop,
    stop_and_wait,
    stop_before_commit,
)
from tests.engine.stage import (
    LIMITS,
    RecordingListener,
    Stage,
    Trouble,
    after_start,
    resume,
    start,
    world,
)
from twelvefold.core.events import (
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    Append,
    CallKey,
    StepTransaction,
)
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.engine.uninterrupted import ExitLimit
from twelvefold.services.model.scripted import calls, says


async def test_a_process_that_stops_gives_its_run_back(stage: Stage) -> None:
    model = SilentModel()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.requested.wait()

    await stop_and_wait(task)

    record = await stage.record(run.run)
    assert (record.status, record.leased) == ("queued", False)
    assert not (await take(stage.process(), run.run)).thread.interrupted


@pytest.mark.parametrize("at", ["before a load", "before a release"])
async def test_a_run_that_is_cancelled_while_it_is_given_back_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The process that requests the cancel finds the run held, and leaves its end to the holder."""
    services, other = stage.process(calls(("ship", LAMP))), stage.process()
    world.trouble = Trouble(lambda: stop(task), places=["an unsafe tool, after it acted"])
    method = "load" if at == "before a load" else "release"
    method_here = getattr(services.store, method)

    async def cancel_before(*what: Any, **how: Any) -> Any:
        await other.store.ask_cancel(run.run)
        return await method_here(*what, **how)

    run = await start(services)
    monkeypatch.setattr(services.store, method, cancel_before)
    listener = RecordingListener()
    task = asyncio.ensure_future(drive(services, run, listener))
    await asyncio.wait([task])

    assert (await stage.record(run.run)).status == "cancelled"
    assert await answers(stage, run) == [FINAL_UNKNOWN, CANCELLED]
    assert [entry.event for entry in listener.entries[-2:]] == [FINAL_UNKNOWN, CANCELLED]


async def test_an_unsafe_call_that_was_interrupted_is_in_doubt(stage: Stage) -> None:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    world.trouble = Trouble(lambda: stop(task), places=["an unsafe tool, after it acted"])

    await asyncio.wait([task])

    assert task.cancelled()
    assert (await stage.record(run.run)).status == "queued"
    assert (await resume(stage.process(), run.run)).status == "waiting"
    assert await answers(stage, run) == [UNKNOWN]
    assert world.shipped == ["a lamp"]


async def test_an_unsafe_call_whose_result_is_being_written_is_not_in_doubt(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    stop_before_commit(monkeypatch, services, lambda: world.shipped and task.cancel())

    await asyncio.wait([task])

    assert task.cancelled()
    assert not (await take(stage.process(), run.run)).thread.interrupted
    assert await answers(stage, run) == [ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp")]


async def test_an_unsafe_call_that_had_not_started_is_not_in_doubt(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    stop_before_commit(monkeypatch, services, task.cancel)

    await asyncio.wait([task])

    assert world.shipped == []
    assert (await resume(stage.process(calls(("ship", LAMP)), says("Bye.")), run.run)).status == (
        "completed"
    )
    assert world.shipped == ["a lamp"]


async def test_a_transactional_tool_is_finished_first(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    world.trouble = Trouble(lambda: stop(task), places=["a transaction, after its rows"])

    await asyncio.wait([task])

    assert task.cancelled()
    assert await stage.bought() == ["a lamp"]
    assert await answers(stage, run) == [ToolSucceeded(CallId("2.0"), "buy", "bought a lamp")]
    assert (await stage.record(run.run)).status == "queued"


async def test_a_process_that_abandoned_a_commit_writes_nothing_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, hangs = ExitLimit(release_s=0.01), asyncio.Event()
    services = replace(stage.process(says("Bye.")), exit_limit=limit)
    append_here = services.store.append

    @asynccontextmanager
    async def unanswered(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
            hangs.set()
            await asyncio.Event().wait()

    async def writes(*_: object, **__: object) -> bool:
        raise AssertionError("it writes after the exit limit")

    monkeypatch.setattr(services.store, "append", unanswered)
    monkeypatch.setattr(services.store, "release", writes)
    task = in_the_background(services, run := await start(services))
    await hangs.wait()

    limit.begin(0)
    await stop_and_wait(task)

    assert after_start(await stage.journal(run.run)) == []
    assert (await stage.record(run.run)).leased


async def test_a_tool_that_ignores_its_cancellation_does_not_keep_the_process(
    stage: Stage,
) -> None:
    task = in_the_background(services := deaf_shipper(stage, LIMITS), run := await start(services))
    while not world.shipped:
        await asyncio.sleep(0)

    await stop_and_wait(task)

    assert await answers(stage, run) == [SHIPPED]
    assert (await stage.record(run.run)).status == "queued"
    assert not (await take(stage.process(), run.run)).thread.interrupted


async def test_a_call_with_a_key_is_run_again_with_the_same_key_after_a_stop(
    stage: Stage,
) -> None:
    services = slow_notifier(stage, LIMITS)
    task = in_the_background(services, run := await start(services))
    while not world.notified:
        await asyncio.sleep(0.001)

    await stop_and_wait(task)

    assert (await take(services, run.run)).thread.interrupted
    await stage.let_leases_run_out()
    other = stage.process(calls(("notify", LAMP)), says("Bye."))
    assert (await resume(other, run.run)).status == "completed"
    assert world.notified == [(CallKey(f"{run.run.thread}:2.0"), "a lamp")] * 2
