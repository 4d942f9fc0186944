"""Workflows that call each other, and processes that serve them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.builders import user
from tests.engine.stage import ANN, LIMITS, Stage, Trouble, buy, scripted
from twelvefold.backoff import Backoff
from twelvefold.core.budget import Limits
from twelvefold.core.events import ChildrenStarted, Event
from twelvefold.core.fan_out import FanOut
from twelvefold.core.ids import RunId
from twelvefold.core.ports import OVER, ModelRequest, NullListener, Transaction
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import RunRequest, start_run, take
from twelvefold.engine.drive import Outcome
from twelvefold.engine.family import drive_family
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, StaleRun, TooLate
from twelvefold.services.model.scripted import Script, Scripted, ScriptedModel, calls, says

POLL = Backoff(first_s=0.001, longest_s=0.01)
CLERK = Workflow("clerk", "clerk", (buy,))


@tool(effect="pure")
async def buy_all(items: list[str], join: str = "all") -> FanOut:
    """Buy several items, each by a clerk."""
    return FanOut(
        (CLERK.task(item) for item in items), int(join) if join.isdigit() else _named(join)
    )


def _named(join: str) -> Any:
    return join


@tool
async def note_and_buy(tx: Transaction, item: str) -> FanOut | str:
    """Note an item, then buy it by a clerk."""
    await tx.execute("insert into bought (item, who) values (:item, 'note')", item=f"note {item}")
    return FanOut((CLERK.task(item),)) if item else "nothing"


BOSS = Workflow(
    "boss",
    "boss",
    (
        CLERK.as_tool("Buys an item."),
        CLERK.as_tool("Takes over.", name="hand_over", hand_off=True),
        buy_all,
        note_and_buy,
    ),
    children=(CLERK,),
)


def last_user_text(request: ModelRequest) -> str:
    texts = [item for item in request.items if item.get("role") == "user"]
    content = texts[-1]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def clerk(request: ModelRequest) -> Scripted:
    """A clerk buys what it is asked for, and says so."""
    item = last_user_text(request)
    return scripted(calls(("buy", {"item": item})), says(f"I bought {item}."))(request)


def script_of(*boss: Scripted, **others: Script) -> Script:
    """Return a script for each workflow by its instructions; `boss` are replies in order."""
    scripts: dict[str, Script] = {"boss": scripted(*boss), "clerk": clerk, **others}
    return lambda request: scripts[request.instructions](request)


def firm(
    stage: Stage,
    *boss: Scripted,
    trouble: Trouble | None = None,
    limits: Limits = LIMITS,
    workflows: Sequence[Workflow[Any]] = (BOSS, CLERK),
    monotonic: Callable[[], float] | None = None,
    **others: Script,
) -> Services:
    """Return a process that serves these workflows."""
    model = ScriptedModel(script_of(*boss, **others))
    services = stage.process(model=model, trouble=trouble, limits=limits)
    if monotonic is not None:
        services = replace(services, monotonic=monotonic)
    return replace(services, workflows={one.name: one for one in workflows}, internal=frozenset())


async def run_boss(services: Services, text: str = "go", workflow: str = "boss") -> Outcome:
    request = RunRequest(workflow=workflow, principal=ANN, items=[user(text)])
    held = await start_run(services, request)
    return await drive_family(services, held, NullListener(), poll=POLL)


async def resume_family(services: Services, run: RunId) -> None:
    """Continue a run that another process left, until it is over."""
    for _ in range(200):
        try:
            held = await take(services, run)
            outcome = await drive_family(services, held, NullListener(), poll=POLL)
            if outcome.status in OVER:
                return
        except TooLate:
            return
        except (Conflict, StaleRun):
            pass
        await asyncio.sleep(0.005)
    raise AssertionError(f"{run} does not end")


def children_of(events: Sequence[Event]) -> list[RunId]:
    """Return the runs that a journal has started."""
    return [
        RunId.parse(run)
        for event in events
        if isinstance(event, ChildrenStarted)
        for run in event.runs
    ]
