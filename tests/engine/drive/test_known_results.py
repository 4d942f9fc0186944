"""The result of a call that is known when the run ends or is given back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.engine.drive.refusing import (
    BRIEF,
    FULL,
    LAMP,
    TOO_LARGE,
    Refusing,
    story,
)
from tests.engine.stage import (
    LIMITS,
    Stage,
    drive_new,
    start,
    world,
)
from twelvefold.core.events import (
    OutcomeUnknown,
    RunFinished,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import (
    Append,
    NullListener,
    StepTransaction,
)
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.errors import (
    StoreFailed,
    StoreUnavailable,
    TooLarge,
)
from twelvefold.services.model.scripted import calls, says


@pytest.mark.parametrize("error", [StoreFailed(FULL), TooLarge(TOO_LARGE)])
async def test_the_known_result_of_an_unsafe_call_is_written_with_the_end(
    stage: Stage, error: Exception
) -> None:
    services = stage.process(calls(("ship", LAMP)), limits=BRIEF)
    Refusing(services, error, lambda change: change.status == "running" and bool(world.shipped))

    outcome = await drive_new(services)

    assert outcome.status == "failed"
    assert (await story(stage, outcome.run))[1:] == [
        ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp"),
        RunFinished("failed", "database", str(error)),
    ]


async def test_a_call_whose_outcome_is_unknown_is_left_to_a_person(stage: Stage) -> None:
    @tool(name="ship", effect="unsafe", timeout_s=0.01)
    async def ship_slowly(item: str) -> None:
        """Ship it."""
        world.shipped.append(item)
        await asyncio.Event().wait()

    workflow = Workflow("shop", "Sell.", (ship_slowly,))
    limits = replace(LIMITS, retry_timeout_s=0.0)
    services = stage.process(calls(("ship", LAMP)), limits=limits, workflow=workflow)
    refused = iter([False, True, False])  # the reply is written, the outcome only with the end
    Refusing(services, StoreFailed(FULL), lambda _: next(refused))

    outcome = await drive_new(services)

    assert outcome.status == "waiting"
    assert (await story(stage, outcome.run))[1:] == [OutcomeUnknown(CallId("2.0"), "ship")]


async def test_a_known_result_that_is_too_large_is_left_to_a_person(stage: Stage) -> None:
    services = stage.process(calls(("ship", LAMP)))
    Refusing(
        services,
        TooLarge(TOO_LARGE),
        lambda change: bool(world.shipped) and change.status != "waiting",
    )

    outcome = await drive_new(services)

    assert (outcome.status, outcome.error) == ("waiting", TOO_LARGE)
    assert (await stage.record(outcome.run)).error == TOO_LARGE
    assert (await story(stage, outcome.run))[1:] == [OutcomeUnknown(CallId("2.0"), "ship")]


class Failing:
    """Lets the commits after an unsafe call fail with these errors; the first stops the process."""

    def __init__(self, services: Services, *errors: Exception) -> None:
        self._append = services.store.append
        self._errors = list(errors)
        self.stop: Callable[[], object] = lambda: None
        services.store.append = self.append  # type: ignore[method-assign]

    @asynccontextmanager
    async def append(self, change: Append) -> AsyncIterator[StepTransaction]:
        async with self._append(change) as tx:
            yield tx
            if world.shipped and self._errors:
                self.stop()
                self.stop = lambda: None
                raise self._errors.pop(0)


async def stop_during_write(stage: Stage, *errors: Exception) -> RunId:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    failing = Failing(services, *errors)
    run = await start(services)
    task = asyncio.ensure_future(drive(services, run, NullListener()))
    failing.stop = task.cancel
    await asyncio.wait([task])
    assert task.cancelled()
    return run.run


async def test_a_process_that_stops_writes_the_result_that_it_knows(stage: Stage) -> None:
    run = await stop_during_write(stage, StoreUnavailable("deadlock"))

    assert not (await take(stage.process(), run)).thread.interrupted
    assert await story(stage, run) == [
        *(await story(stage, run))[:1],
        ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp"),
    ]


async def test_a_call_whose_result_cannot_be_written_before_the_end_is_in_doubt(
    stage: Stage,
) -> None:
    run = await stop_during_write(stage, StoreUnavailable("deadlock"), TooLarge(TOO_LARGE))

    assert (await take(stage.process(), run)).thread.interrupted
