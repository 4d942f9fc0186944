"""Calls that run in parallel, and calls that are rejected."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.builders import open_call
from tests.engine.perform.calls import answers, returning
from tests.engine.stage import Stage
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    Failure,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import ReadOnly
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import RejectedCall, Workflow
from twelvefold.engine.perform.group import reject_call
from twelvefold.engine.services import Services
from twelvefold.errors import CancelAsked, LeaseLost, StoreUnavailable


@pytest.mark.parametrize("error", [LeaseLost("gone"), CancelAsked("end")])
async def test_the_loss_of_the_run_is_no_failure_of_the_tool(
    services: Services, error: Exception
) -> None:
    @tool
    async def look(db: ReadOnly) -> None:
        """Look."""
        raise error

    with pytest.raises(type(error)):
        await answers(services, Workflow("shop", "Sell.", (look,)), open_call("look"))


async def test_calls_without_effects_run_in_parallel(services: Services) -> None:
    both = asyncio.Barrier(2)

    @tool(effect="pure")
    async def meet(name: str) -> str:
        """Wait for the other one."""
        await both.wait()
        return name

    first = open_call("meet", id="2.0", arguments='{"name":"first"}')
    second = open_call("meet", id="2.1", arguments='{"name":"second"}')

    assert await answers(services, Workflow("meeting", "Meet.", (meet,)), first, second) == [
        ToolSucceeded(CallId("2.0"), "meet", "first"),
        ToolSucceeded(CallId("2.1"), "meet", "second"),
    ]


async def test_each_reading_call_has_its_own_connection(
    services: Services, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = asyncio.Barrier(2)

    @asynccontextmanager
    async def another() -> AsyncIterator[ReadOnly]:
        async with stage.process().store.read() as db:
            yield db

    @tool
    async def meet(db: ReadOnly) -> object:
        """Wait for the other one, with a statement before and after."""
        await db.fetch_all("select 1")
        await both.wait()
        return await db.fetch_one("select count(*) as rows from bought")

    # The embedded database reads one by one; a server does not.
    monkeypatch.setattr(services.store, "read", another)
    group = [open_call("meet", id=id) for id in ("2.0", "2.1")]

    assert await answers(services, Workflow("meeting", "Meet.", (meet,)), *group) == [
        ToolSucceeded(CallId("2.0"), "meet", '{"rows":0}'),
        ToolSucceeded(CallId("2.1"), "meet", '{"rows":0}'),
    ]


async def test_a_reading_call_is_retried_while_the_database_is_unavailable(
    services: Services,
) -> None:
    away = iter([StoreUnavailable("away"), StoreUnavailable("away")])

    @tool
    async def look(db: ReadOnly) -> str:
        """Look."""
        for error in away:
            raise error
        return "there"

    (outcome,) = await answers(services, Workflow("shop", "Sell.", (look,)), open_call("look"))

    assert outcome == ToolSucceeded(CallId("2.0"), "look", "there")


async def test_rejected_calls_have_their_outcomes_in_order(services: Services) -> None:
    workflow = Workflow("shop", "Sell.", (returning("lamp"),))

    outcome = await answers(services, workflow, open_call("give"), open_call("fly", id="2.1"))

    assert [type(one) for one in outcome] == [ToolSucceeded, ToolFailed]


async def test_a_group_raises_the_error_that_stops_the_run(services: Services) -> None:
    @tool
    async def end(db: ReadOnly) -> None:
        """End."""
        raise CancelAsked("to be cancelled")

    workflow = Workflow("shop", "Sell.", (end, returning("lamp")))

    with pytest.raises(CancelAsked):
        await answers(services, workflow, open_call("give"), open_call("end", id="2.1"))


def explained(
    services: Services, explain: Callable[[RejectedCall], str], tool_name: str = "fly"
) -> ToolFailed:
    workflow = Workflow("shop", "Sell.", (), explain=explain)
    bad = RejectedCall("unknown_tool", tool_name, "{}", ("there is no such tool",))
    return reject_call(services, workflow, bad, open_call(tool_name))


def shout(bad: RejectedCall) -> str:
    return f"NO {bad.tool}!"


def broken(bad: RejectedCall) -> str:
    raise KeyError(bad.tool)


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        (shout, "NO fly!"),
        (broken, "Error: there is no such tool"),
        (lambda bad: None, "Error: there is no such tool"),
        (lambda bad: "\ud83d", "\\ud83d"),
        (lambda bad: "x" * 100, f"{'x' * 64}\n[cut here, after 64 of 100 characters]"),
    ],
)
def test_a_workflow_can_explain_a_rejected_call(
    stage: Stage, explain: Callable[[RejectedCall], str], message: str
) -> None:
    services = stage.process(limits=Limits(result_chars=64))
    failure: Failure = "unknown_tool"

    assert explained(services, explain) == ToolFailed(CallId("2.0"), "fly", failure, message)
