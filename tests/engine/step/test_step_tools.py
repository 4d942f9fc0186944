"""The tools of a step, and what they write."""

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.engine.stage import (
    Stage,
    buy,
    fault,
    start,
    world,
)
from tests.engine.step.stories import LAMP, start_and_step, story
from twelvefold.core.events import (
    Failure,
    ModelReplied,
    ToolError,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import NullListener, ReadOnly, Transaction
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.perform import FAULT
from twelvefold.engine.step import step
from twelvefold.services.model.scripted import calls


async def test_a_transactional_tool_commits_with_its_entry(stage: Stage) -> None:
    held = await start_and_step(stage.process(calls(("buy", LAMP))))

    assert (await story(stage, held))[-1] == ToolSucceeded(CallId("2.0"), "buy", "bought a lamp")
    assert await stage.bought() == ["a lamp"]


@pytest.mark.parametrize(
    ("item", "failure", "message"),
    [
        ("a dragon", "refused", "Error: there are no dragons; look at the lamps"),
        ("a curse", "fault", FAULT),
    ],
)
async def test_a_tool_that_refuses_or_fails_writes_only_its_outcome(
    stage: Stage, item: str, failure: Failure, message: str
) -> None:
    held = await start_and_step(stage.process(calls(("buy", {"item": item}))))

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert isinstance(answer, ToolFailed)
    assert (answer.call, answer.failure, answer.message) == ("2.0", failure, message)
    assert await stage.bought() == []


class Base(DeclarativeBase):
    """The base of a user's own models."""


class Bought(Base):
    __tablename__ = "bought"

    item: Mapped[str] = mapped_column(primary_key=True)
    who: Mapped[str | None]


@pytest.mark.parametrize(("who", "kept"), [("ann", ["a lamp"]), (None, [])])
async def test_pending_statements_of_an_orm_session_are_part_of_the_call(
    stage: Stage, who: str | None, kept: list[str]
) -> None:
    @tool
    async def buy(tx: Transaction, item: str) -> str:
        """Buy it, with SQLAlchemy."""
        (await tx.orm_session()).add(Bought(item=item, who=who))
        return "bought"

    workflow = Workflow("shop", "Sell.", (buy,))
    services = stage.process(calls(("buy", LAMP)), workflow=workflow)

    held = await step(services, await start(services), workflow, NullListener())

    answer = (await story(stage, held))[-1]
    assert isinstance(answer, ToolSucceeded if kept else ToolFailed)
    assert answer.call == CallId("2.0")
    assert await stage.bought() == kept


async def test_rows_that_cannot_be_committed_are_the_fault_of_the_tool(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    async def adopt(tx: Transaction) -> str:
        """Adopt a child, whose parent is checked only at the commit."""
        await tx.execute("insert into children (parent) values (7)")
        return "adopted"

    workflow = Workflow("shop", "Sell.", (adopt,))
    services = stage.process(calls(("adopt", {})), workflow=workflow)
    await services.store.run_script(
        "create table parents (id integer primary key);"
        "create table children (parent integer references parents deferrable initially deferred);"
    )

    held = await step(services, await start(services), workflow, NullListener())

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    raised = ToolError("StoreRefused", "FOREIGN KEY constraint failed (SQLite)")
    assert fault(answer) == ("2.0", "adopt", raised)
    assert [line.message for line in caplog.records] == ["tool_raised"]
    assert held.status == "running"


async def test_calls_with_effects_run_one_per_step_in_their_order(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP), ("ship", LAMP), ("notify", LAMP)))

    held = await start_and_step(services, times=4)

    _, *answers = await story(stage, held)
    assert answers == [
        ToolSucceeded(CallId("2.0"), "buy", "bought a lamp"),
        ToolSucceeded(CallId("2.1"), "ship", "shipped a lamp"),
        ToolSucceeded(CallId("2.2"), "notify", "told a lamp"),
    ]
    assert await stage.bought() == world.shipped == ["a lamp"]
    assert world.notified == [(f"{held.run.thread}:2.2", "a lamp")]


async def test_calls_without_effects_are_one_step(stage: Stage) -> None:
    services = stage.process(calls(("look", LAMP), ("fly", LAMP), ("weigh", LAMP)))

    held = await start_and_step(services, times=2)

    _, *answers = await story(stage, held)
    assert answers == [
        ToolSucceeded(CallId("2.0"), "look", '{"item":"a lamp","sold":0}'),
        ToolFailed(
            CallId("2.1"),
            "fly",
            "unknown_tool",
            "Error: there is no tool 'fly'; there are "
            "look, weigh, inspect, buy, order, ship, notify, refund",
        ),
        ToolSucceeded(CallId("2.2"), "weigh", "6"),
    ]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_tool_that_only_reads_cannot_write(stage: Stage, times: int) -> None:
    @tool
    async def steal(db: ReadOnly) -> object:
        """Take it."""
        return await db.fetch_all("delete from bought")

    workflow = Workflow("shop", "Sell.", (buy, steal))
    services = stage.process(calls(("buy", LAMP)), calls(*[("steal", {})] * times))
    held = await start(services)
    for _ in range(1 + times):
        held = await step(services, held, workflow, NullListener())

    message = "DELETE is not a read; a tool that writes takes a Transaction"
    raised = ToolError("StoreRefused", message)
    assert fault((await story(stage, held))[-1]) == (f"4.{times - 1}", "steal", raised)
    assert await stage.bought() == ["a lamp"]
