"""A tool whose transaction is lost: the step did not happen."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.builders import open_call
from tests.engine.drive.refusing import (
    FULL,
    LAMP,
    story,
)
from tests.engine.leases import lease_of
from tests.engine.stage import (
    Stage,
    drive_new,
    fault,
)
from twelvefold.core.events import (
    ToolError,
    ToolFailed,
)
from twelvefold.core.gates import ValidCall
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    ReadOnly,
    Row,
    Transaction,
)
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.held_run import CallOutcome
from twelvefold.engine.perform import FanOutCall, run_call
from twelvefold.errors import (
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    ToolRefused,
)
from twelvefold.services.model.scripted import calls, says


class LostConnection:
    """A connection whose transaction has ended with an error, unless that is None."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def raise_if_lost(self) -> None:
        if self._error:
            raise self._error

    async def fetch_one(self, statement: object, /, **values: Any) -> Row | None:
        return (await self.fetch_all(statement, **values) or [None])[0]  # type: ignore[list-item]

    async def fetch_all(self, statement: object, /, **values: Any) -> list[Row]:
        self.raise_if_lost()
        return []


def ignoring_tool(then: Exception | None, *, timeout_s: float = 60.0, waits: bool = False) -> Tool:
    """Return a tool that ignores the errors of its database."""

    @tool(name="look", timeout_s=timeout_s)
    async def look(db: ReadOnly) -> str:
        """Look."""
        with suppress(Exception):
            await db.fetch_all("select 1")
        if waits:
            await asyncio.Event().wait()
        if then is not None:
            raise then
        return "fine"

    return look


async def perform(stage: Stage, one: Tool, db: LostConnection) -> CallOutcome:
    services, call = stage.process(), ValidCall(open_call("look", id="2.0"), one, {})
    lease = lease_of(services.monotonic)
    outcome = await run_call(services, lease, "ann", call, db)
    assert not isinstance(outcome, FanOutCall)
    return outcome


@pytest.mark.parametrize(
    "then", [None, ToolRefused("no"), ValueError("no"), SystemExit(1), StoreRefused("no")]
)
@pytest.mark.parametrize("error", [StoreUnavailable("deadlock"), StoreFailed(FULL)])
async def test_a_tool_cannot_hide_that_its_transaction_was_lost(
    stage: Stage, error: Exception, then: Exception
) -> None:
    with pytest.raises(type(error), match=str(error)[:8]):
        await perform(stage, ignoring_tool(then), LostConnection(error))


async def test_a_statement_without_an_answer_is_no_fault_of_the_tool(stage: Stage) -> None:
    with pytest.raises(StoreFailed):
        await perform(
            stage,
            ignoring_tool(None, timeout_s=0.01, waits=True),
            LostConnection(StoreFailed("slow")),
        )


async def test_a_statement_of_the_tool_that_ends_the_transaction_is_its_fault(stage: Stage) -> None:
    outcome = await perform(stage, ignoring_tool(None), LostConnection(StoreRefused("DDL")))

    assert fault(outcome) == ("2.0", "look", ToolError("StoreRefused", "DDL"))


async def test_a_refusal_of_a_tool_with_an_open_transaction_is_its_refusal(stage: Stage) -> None:
    outcome = await perform(stage, ignoring_tool(ToolRefused("no")), LostConnection(None))

    assert outcome == ToolFailed(CallId("2.0"), "look", "refused", "Error: no")


async def test_a_statement_that_the_tool_did_not_await_is_its_fault(stage: Stage) -> None:
    left: list[asyncio.Task[int]] = []

    @tool
    async def buy(tx: Transaction, item: str) -> str:
        """Buy it."""
        insert = "insert into bought (item, who) values (:item, 'ann')"
        left.append(asyncio.create_task(tx.execute(insert, item=item)))
        return "bought"

    workflow = Workflow("shop", "Sell.", (buy,))
    services = stage.process(calls(("buy", LAMP)), says("Sorry."), workflow=workflow)

    outcome = await drive_new(services)

    await asyncio.wait(left)
    failed = (await story(stage, outcome.run))[1]
    assert isinstance(failed, ToolFailed)
    assert failed.error is not None
    assert "still running" in failed.error.message
    assert await stage.bought() == []
