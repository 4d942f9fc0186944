"""Models, tools and commits that the tests of drives use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from tests.engine.leases import until
from tests.engine.stage import (
    LIMITS,
    Stage,
    after_start,
    world,
)
from tests.loop_clock import LoopClock
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    Event,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    Append,
    CallKey,
    Listener,
    ModelReply,
    ModelRequest,
    NullListener,
    StepTransaction,
)
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}


SOON = replace(LIMITS, deadline_s=30.0)
"""The deadline is before the time limit of a tool. A test lets the time pass."""


UNKNOWN = OutcomeUnknown(CallId("2.0"), "ship")


FINAL_UNKNOWN = OutcomeUnknown(CallId("2.0"), "ship", final=True)


CANCELLED = RunFinished("cancelled", "cancelled")


SHIPPED = ToolSucceeded(CallId("2.0"), "ship", "shipped")


class SilentModel:
    """A model that never replies."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.requested.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets the event")

    async def close(self) -> None:
        """Nothing is open."""


async def answers(stage: Stage, outcome: Outcome | HeldRun) -> list[Event]:
    """Return the journal of a run without its starts and its replies."""
    events = after_start(await stage.journal(outcome.run))
    return [event for event in events if not isinstance(event, ModelReplied)]


def in_the_background(services: Services, run: HeldRun) -> asyncio.Task[Outcome]:
    return asyncio.ensure_future(drive(services, run, NullListener()))


def stop(task: asyncio.Task[Outcome]) -> None:
    task.cancel()


async def stop_and_wait(task: asyncio.Task[Outcome]) -> None:
    """Cancel a drive, as a process that stops does, and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def let_retries_time_out(
    loop_clock: LoopClock, failed: Callable[[], int], timeout_s: float
) -> None:
    """Let the time pass in which work is retried, once it has failed again."""
    seen = failed()
    await until(lambda: failed() > seen + 2)  # one may have begun before
    loop_clock.let_pass(timeout_s)


def stop_before_commit(
    monkeypatch: pytest.MonkeyPatch, services: Services, stop: Callable[[], object]
) -> None:
    """Call `stop` before a step commits, and let the event loop run."""
    append_here = services.store.append

    @asynccontextmanager
    async def slowly(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
            stop()
            await asyncio.sleep(0.01)

    monkeypatch.setattr(services.store, "append", slowly)


def commit_when_stopped(
    monkeypatch: pytest.MonkeyPatch, services: Services, task: asyncio.Task[Outcome]
) -> asyncio.Event:
    """Delay the commit of a step until its drive has been cancelled; the event: it is delayed."""
    append_here, is_delayed = services.store.append, asyncio.Event()

    @asynccontextmanager
    async def slowly(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
            is_delayed.set()
            await until(task.cancelling)

    monkeypatch.setattr(services.store, "append", slowly)
    return is_delayed


def deaf_shipper(stage: Stage, limits: Limits) -> Services:
    """Return a process whose tool returns a result when it is cancelled."""

    @tool(effect="unsafe")
    async def ship(item: str) -> str:
        """Ship it."""
        world.shipped.append(item)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "shipped"

    workflow = Workflow("shop", "Sell.", (ship,))
    replies = calls(("ship", LAMP)), says("Bye.")
    return stage.process(*replies, limits=limits, workflow=workflow)


def slow_notifier(stage: Stage, limits: Limits) -> Services:
    """Return a process whose tool with a key takes a long time."""

    @tool
    async def notify(key: CallKey, item: str) -> None:
        """Tell the owner."""
        world.notified.append((key, item))
        await asyncio.Event().wait()

    workflow = Workflow("shop", "Sell.", (notify,))
    return stage.process(calls(("notify", LAMP)), limits=limits, workflow=workflow)


def slow_shipper(stage: Stage, limits: Limits) -> Services:
    """Return a process whose unsafe tool takes a long time."""

    @tool(effect="unsafe")
    async def ship(item: str) -> None:
        """Ship it."""
        world.shipped.append(item)
        await asyncio.Event().wait()

    workflow = Workflow("shop", "Sell.", (ship,))
    return stage.process(calls(("ship", LAMP)), limits=limits, workflow=workflow)
