"""One call under a lease, and its outcomes."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from tests.builders import open_call, thread_of
from tests.engine.leases import lease_of
from twelvefold.core.events import (
    OutcomeUnknown,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.gates import ValidCall, validate_call
from twelvefold.core.ids import CallId
from twelvefold.core.thread import Call
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.held_run import CallOutcome
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.perform import FanOutCall, run_call, run_group
from twelvefold.engine.services import Services

UNKNOWN = OutcomeUnknown(CallId("2.0"), "act")


DONE = ToolSucceeded(CallId("2.0"), "act", "done")


def perform(services: Services, held: HeldLease, one: Tool) -> "asyncio.Task[CallOutcome]":
    call = ValidCall(open_call("act", id="2.0"), one, {})
    return asyncio.ensure_future(_without_children(run_call(services, held, "ann", call)))


async def outcome_of(services: Services, one: Tool, **arguments: Any) -> CallOutcome:
    call = ValidCall(open_call(one.name, id="2.0"), one, arguments)
    return await _without_children(run_call(services, lease_of(services.monotonic), "ann", call))


async def _without_children(running: Awaitable[CallOutcome | FanOutCall]) -> CallOutcome:
    outcome = await running
    assert not isinstance(outcome, FanOutCall)
    return outcome


def returning(result: object) -> Tool:
    @tool(name="give", effect="pure")
    async def give() -> object:
        """Give it."""
        return result

    return give


async def answers(services: Services, workflow: Workflow, *calls: Call) -> list[CallOutcome]:
    history = thread_of()
    group = [(validate_call(history, workflow, call), call) for call in calls]
    outcomes = await run_group(services, workflow, lease_of(services.monotonic), "ann", group)
    return [one for one in outcomes if isinstance(one, ToolSucceeded | ToolFailed)]
