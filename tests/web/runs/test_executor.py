"""Runs that a process drives: limited, owned by a group, and given back when it drains."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.engine.stage import ANN, SCHEMA, Stage, fast_directory, resume, staged, start
from twelvefold.core.events import ModelReplied, RunFinished, ToolSucceeded
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, NullListener
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.scripted import ScriptedModel, calls, says
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.sqlite.store import SQLiteStore
from twelvefold.web.http.errors import ApiError
from twelvefold.web.runs.executor import RunExecutor

BUY = ("buy", '{"item": "a lamp"}')


class Held:
    """A model that gives these replies once `let` is set, then waits for ever."""

    def __init__(self, *replies: object) -> None:
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self._replies = list(replies)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.asked.set()
        await self.let.wait()
        if not self._replies:
            await asyncio.Event().wait()
        model = ScriptedModel(lambda _: self._replies.pop(0))  # type: ignore[arg-type,return-value]
        return await model.reply(request, listener)

    async def close(self) -> None:
        """Do nothing: nothing is open."""


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    async def made(path: Path) -> None:
        await migrate(f"sqlite:///{path}")
        store = SQLiteStore(str(path))
        await store.run_script(SCHEMA)
        await store.close()

    with fast_directory() as directory:
        path = directory / "shop.db"
        asyncio.run(made(path))
        yield path


@pytest.fixture
async def stage(template: Path) -> AsyncIterator[Stage]:
    async with staged(template) as stage:
        yield stage


async def test_a_run_is_driven_although_no_request_waits(stage: Stage) -> None:
    services = stage.process(calls(BUY), says("It is yours."))
    async with RunExecutor(services, 1) as executor:
        begun = await start(services)
        task = executor.start(begun, NullListener())
        assert (executor.in_flight, executor.drive_of(begun.run)) == (1, task)
        outcome = await task

    assert outcome is not None
    assert outcome.status == "completed"
    assert (executor.in_flight, executor.drive_of(begun.run)) == (0, None)
    assert await stage.bought() == ["a lamp"]


async def test_the_number_of_slots_is_limited(stage: Stage) -> None:
    model = Held(says("hello"))
    services = stage.process(model=model)
    async with RunExecutor(services, 1) as executor:
        with executor.slot(ANN):
            with pytest.raises(ApiError, match="all 1 run slots") as caught, executor.slot(ANN):
                pass
            task = executor.start(await start(services), NullListener())
        with pytest.raises(ApiError), executor.slot(ANN):
            pass
        model.let.set()
        await task
        with executor.slot(ANN):
            pass

    assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "2")


async def test_a_failed_drive_does_not_end_others(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    services = stage.process(says("hello"))
    stranger = stage.process(says("hello"), workflow=Workflow("other", "Be.", ()))
    async with RunExecutor(stranger, 2) as executor:
        failing = executor.start(await start(services), NullListener())

        assert await failing is None

    assert "drive_failed" in [one.getMessage() for one in caplog.records]


async def test_a_service_that_fails_ends_the_run_as_failed(stage: Stage) -> None:
    services = stage.process(ModelUnavailable("down"))
    async with RunExecutor(services, 1) as executor:
        outcome = await executor.start(await start(services), NullListener())

    assert outcome is not None
    assert (outcome.status, outcome.error) == ("failed", "down; try again later")


async def test_draining_finishes_the_current_step_and_gives_the_run_back(stage: Stage) -> None:
    model = Held(calls(BUY))
    services = stage.process(model=model)
    async with RunExecutor(services, 1) as executor:
        begun = await start(services)
        executor.start(begun, NullListener())
        await model.asked.wait()
        draining = asyncio.create_task(executor.drain(20))
        await asyncio.sleep(0.01)
        model.let.set()
        await draining

    journal = await stage.journal(begun.run)
    record = await stage.record(begun.run)
    assert [type(event) for event in journal[1:]] == [ModelReplied, ToolSucceeded]
    assert (record.status, record.leased) == ("queued", False)
    ended = await resume(stage.process(calls(BUY), says("Done.")), begun.run)
    assert ended.status == "completed"
    assert await stage.bought() == ["a lamp"]


async def test_draining_lets_the_last_step_finish_the_run(stage: Stage) -> None:
    model = Held(says("hello"))
    services = stage.process(model=model)
    async with RunExecutor(services, 1) as executor:
        begun = await start(services)
        task = executor.start(begun, NullListener())
        await model.asked.wait()
        draining = asyncio.create_task(executor.drain(20))
        await asyncio.sleep(0.01)
        model.let.set()
        await draining

    outcome = task.result()
    assert outcome is not None
    assert outcome.status == "completed"
    assert (await stage.journal(begun.run))[-1] == RunFinished("completed")


async def test_a_step_that_takes_too_long_is_abandoned(stage: Stage) -> None:
    model = Held()
    services = stage.process(model=model)
    async with RunExecutor(services, 1) as executor:
        begun = await start(services)
        task = executor.start(begun, NullListener())
        await model.asked.wait()
        await executor.drain(0.01)

    record = await stage.record(begun.run)
    assert task.cancelled()
    assert (record.status, record.leased) == ("queued", False)


async def test_a_draining_process_takes_no_run(stage: Stage) -> None:
    async with RunExecutor(stage.process(), 1) as executor:
        await executor.drain(0)

        with pytest.raises(ApiError, match="stopping") as caught, executor.slot(ANN):
            pass

    assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "1")


async def test_an_error_of_the_process_gives_the_runs_back(stage: Stage) -> None:
    model = Held()
    services = stage.process(model=model)
    begun = await start(services)

    async def ended_by_a_fault() -> None:
        async with RunExecutor(services, 1) as executor:
            executor.start(begun, NullListener())
            await model.asked.wait()
            raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError, ExceptionGroup):
        await ended_by_a_fault()

    assert not (await stage.record(begun.run)).leased


async def test_draining_waits_for_an_unsafe_call(stage: Stage) -> None:
    called, released = asyncio.Event(), asyncio.Event()

    @tool(effect="unsafe")
    async def ring() -> str:
        """Ring."""
        called.set()
        await released.wait()
        return "rang"

    shop = Workflow("shop", "Ring.", (ring,))
    model = Held(calls(("ring", "{}")))
    model.let.set()
    services = stage.process(model=model, workflow=shop)
    async with RunExecutor(services, 1) as executor:
        begun = await start(services)
        executor.start(begun, NullListener())
        await called.wait()
        draining = asyncio.create_task(executor.drain(20))
        await asyncio.sleep(0.01)
        released.set()
        await draining

    journal = await stage.journal(begun.run)
    assert isinstance(journal[-1], ToolSucceeded)
