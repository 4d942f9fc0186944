"""Instructions that are a function: when it is called, and what its exceptions do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from msgspec import structs

from tests.engine.perform.test_lost_transactions import LostConnection
from tests.engine.stage import Crash, Stage, after_start, buy, resume, start
from twelvefold.core.events import ModelReplied, RunFinished, ToolSucceeded
from twelvefold.core.ports import NullListener, Principal, ReadOnly, ToolReadOnly
from twelvefold.core.workflow import Workflow
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.perform import InstructionsFailed, resolve_instructions
from twelvefold.engine.services import Services
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
REPLIES = calls(("buy", LAMP)), says("Bye.")


def shop(instructions: Any) -> Workflow[Any]:
    return Workflow[Any]("shop", instructions, (buy,))


async def driven(stage: Stage, instructions: Any) -> Outcome:
    services = stage.process(*REPLIES, workflow=shop(instructions))
    return await drive(services, await start(services), NullListener())


def raising(error: BaseException) -> Callable[[Principal], str]:
    def fail(who: Principal) -> str:
        raise error

    return fail


async def sold(who: Principal, db: ReadOnly) -> str:
    [row] = await db.fetch_all("select count(*) as sold from bought")
    return f"{who.id} has {row['sold']}."


async def plain_async(who: Principal) -> str:
    return f"Sell to {who.id}."


@pytest.mark.parametrize("function", [plain_async, lambda who: f"Sell to {who.id}."])
async def test_a_function_gets_the_principal(stage: Stage, function: Any) -> None:
    assert (await driven(stage, function)).status == "completed"

    assert [request.instructions for request in stage.requests] == ["Sell to ann."] * 2


async def test_a_function_reads_what_a_tool_has_written(stage: Stage) -> None:
    assert (await driven(stage, sold)).status == "completed"

    assert [request.instructions for request in stage.requests] == ["ann has 0.", "ann has 1."]


async def test_no_transaction_is_open_while_the_model_replies(stage: Stage) -> None:
    is_open = False

    async def reading(who: Principal, db: ReadOnly) -> str:
        nonlocal is_open
        is_open = True
        return "Sell."

    services = stage.process(*REPLIES, workflow=shop(reading))
    read = services.store.read

    @asynccontextmanager
    async def tracked() -> AsyncIterator[ToolReadOnly]:
        nonlocal is_open
        async with read() as db:
            yield db
        is_open = False

    services.store.read = tracked  # type: ignore[method-assign]
    reply = services.model.reply

    async def check(*args: Any) -> Any:
        assert not is_open
        return await reply(*args)

    services.model.reply = check  # type: ignore[method-assign, assignment]
    outcome = await drive(services, await start(services), NullListener())

    assert outcome.status == "completed"


async def test_an_exception_fails_the_run_with_its_message(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = await driven(stage, raising(KeyError("tier of ann")))

    error = "the workflow's instructions raised KeyError: 'tier of ann'"
    assert after_start(await stage.journal(outcome.run)) == [
        RunFinished("failed", "instructions", error)
    ]
    assert (await stage.record(outcome.run)).error == error
    assert stage.requests == []
    [line] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert line.message == "instructions_raised"
    assert "test_instructions.py, line " in str(vars(line))
    assert "tier of ann" not in str(vars(line))


async def test_an_exception_after_a_tool_keeps_what_the_tool_did(stage: Stage) -> None:
    async def once(who: Principal, db: ReadOnly) -> str:
        if await db.fetch_all("select item from bought"):
            raise RuntimeError
        return "Sell."

    outcome = await driven(stage, once)

    reply, bought, end = after_start(await stage.journal(outcome.run))
    assert isinstance(reply, ModelReplied)
    assert isinstance(bought, ToolSucceeded)
    assert end == RunFinished(
        "failed", "instructions", "the workflow's instructions raised RuntimeError"
    )
    assert await stage.bought() == ["a lamp"]


@pytest.mark.parametrize("result", [None, 7, b"Sell."])
async def test_a_result_that_is_no_text_is_an_exception(stage: Stage, result: object) -> None:
    services = stage.process(workflow=shop(lambda who: result))

    with pytest.raises(InstructionsFailed) as caught:
        await resolve_instructions(services, services.workflows["shop"], "ann")

    kind = type(result).__name__
    assert caught.value.error.message == f"it returned a {kind}, not a str"


async def test_half_of_a_surrogate_pair_becomes_an_escape(stage: Stage) -> None:
    services = stage.process(workflow=shop(lambda who: "\udcff"))

    assert await resolve_instructions(services, services.workflows["shop"], "ann") == "\\udcff"


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()])
async def test_a_function_cannot_end_the_process(stage: Stage, error: BaseException) -> None:
    outcome = await driven(stage, raising(error))

    assert outcome.thread.reason == "instructions"


async def test_a_process_that_dies_in_the_function_writes_nothing(stage: Stage) -> None:
    services = stage.process(workflow=shop(raising(Crash())))
    task = asyncio.ensure_future(resolve_instructions(services, services.workflows["shop"], "ann"))
    await asyncio.wait([task])

    assert isinstance(task.exception(), Crash)


async def test_a_function_that_takes_too_long_fails_the_run(stage: Stage) -> None:
    async def slow(who: Principal) -> str:
        await asyncio.Event().wait()
        return ""

    workflow = shop(slow)
    assert workflow.instructions_function is not None
    short = structs.replace(workflow.instructions_function, timeout_s=0.01)
    object.__setattr__(workflow, "instructions_function", short)
    services = stage.process(workflow=workflow)

    outcome = await drive(services, await start(services), NullListener())

    assert outcome.error.endswith("TimeoutError: it took longer than 0.01 s (timeout_s)")


async def test_a_drive_that_is_cancelled_gives_the_run_back(stage: Stage) -> None:
    called = asyncio.Event()

    async def stubborn(who: Principal) -> str:
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError from None
        return ""

    services = stage.process(*REPLIES, workflow=shop(stubborn))
    task = asyncio.ensure_future(drive(services, await start(services), NullListener()))
    await called.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    [run] = await services.store.runs(limit=1)
    assert (run.status, run.leased) == ("queued", False)
    outcome = await resume(stage.process(*REPLIES, workflow=shop("Sell.")), run.run)
    assert outcome.status == "completed"


def losing(services: Services, *errors: Exception | None) -> None:
    """Make the connections that the function reads from fail with these errors in turn."""
    left = iter(errors)

    @asynccontextmanager
    async def read() -> AsyncIterator[ToolReadOnly]:
        yield LostConnection(next(left))

    services.store.read = read  # type: ignore[method-assign]


async def reading(who: Principal, db: ReadOnly) -> str:
    await db.fetch_all("select 1")
    return "Sell."


async def hiding(who: Principal, db: ReadOnly) -> str:
    try:
        await db.fetch_all("select 1")
    except StoreUnavailable:
        raise RuntimeError from None
    return "Sell."


async def ignoring(who: Principal, db: ReadOnly) -> str:
    return "Sell."


@pytest.mark.parametrize("function", [reading, hiding, ignoring])
async def test_a_lost_connection_is_retried(stage: Stage, function: Any) -> None:
    services = stage.process(*REPLIES, workflow=shop(function))
    losing(services, StoreUnavailable("gone"), StoreFailed("full"), None, None)

    outcome = await drive(services, await start(services), NullListener())

    assert outcome.status == "completed"


async def test_an_unavailable_database_that_the_function_reports_itself_is_retried(
    stage: Stage,
) -> None:
    errors = [StoreUnavailable("another database")]

    async def other(who: Principal, db: ReadOnly) -> str:
        if errors:
            raise errors.pop()
        return "Sell."

    services = stage.process(*REPLIES, workflow=shop(other))

    assert await resolve_instructions(services, services.workflows["shop"], "ann") == "Sell."


async def test_a_statement_of_its_own_that_ended_the_transaction_is_its_fault(
    stage: Stage,
) -> None:
    services = stage.process(workflow=shop(reading))
    losing(services, StoreRefused("no such table"))

    with pytest.raises(InstructionsFailed, match="StoreRefused"):
        await resolve_instructions(services, services.workflows["shop"], "ann")


async def grouped(who: Principal) -> str:
    """Fail in the way in which a TaskGroup of Python 3.11 leaves a request for cancellation."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no rows")

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    return f"Sell to {who.id}."


async def grouped_and_raising(who: Principal) -> str:
    await grouped(who)
    raise ValueError("no rows")


async def test_a_task_group_in_the_function_does_not_look_like_the_end_of_the_process(
    stage: Stage,
) -> None:
    assert (await driven(stage, grouped)).status == "completed"

    outcome = await driven(stage, grouped_and_raising)

    assert (outcome.status, outcome.thread.reason) == ("failed", "instructions")
