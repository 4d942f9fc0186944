"""Several calls without effects, in parallel, and calls that were rejected before they ran."""

import asyncio
import math
from collections.abc import Sequence

from twelvefold.core import Call, RejectedCall, ToolFailed, ValidCall, Workflow, explain
from twelvefold.engine.held_run import CallOutcome
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.perform.call import FanOutCall, model_text, run_call
from twelvefold.engine.services import Services
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Calls = Sequence[tuple[ValidCall | RejectedCall, Call]]


async def run_group(
    services: Services, workflow: Workflow, lease: HeldLease, principal: str, calls: Calls
) -> tuple[CallOutcome | FanOutCall, ...]:
    """Run calls that have no effect in parallel; return their outcomes in the calls' order."""
    outcomes = await asyncio.gather(
        *(_run_one(services, workflow, lease, principal, *one) for one in calls),
        return_exceptions=True,
    )
    events: list[CallOutcome | FanOutCall] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        events.append(outcome)
    return tuple(events)


async def _run_one(
    services: Services,
    workflow: Workflow,
    lease: HeldLease,
    principal: str,
    checked: ValidCall | RejectedCall,
    call: Call,
) -> CallOutcome | FanOutCall:
    if isinstance(checked, RejectedCall):
        return reject_call(services, workflow, checked, call)
    if checked.tool.effect != "readonly":
        return await run_call(services, lease, principal, checked)

    async def read() -> CallOutcome | FanOutCall:
        async with services.store.read() as db:
            return await run_call(services, lease, principal, checked, db)

    return await services.retry(read, math.inf)


def reject_call(
    services: Services, workflow: Workflow, rejected: RejectedCall, call: Call
) -> ToolFailed:
    """Return the failure of a call that never reached its tool, with a message for the model."""
    try:
        message = str.__str__(workflow.explain(rejected))
    except Exception as error:
        log.error("explain_raised", workflow=workflow.name, failure=rejected.failure, error=error)
        message = explain(rejected)
    return ToolFailed(call.id, call.tool, rejected.failure, model_text(message, services))
