"""One step of a run: decide, perform, commit.

Each step is one commit: a decision, the effect of a tool and its result are in the journal
together or not at all.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import cast

from msgspec import structs

from twelvefold.core import (
    CONCURRENT_EFFECTS,
    ApprovalAsked,
    AskApproval,
    AskOutcome,
    Await,
    CallModel,
    ChildTool,
    Decision,
    Event,
    Finish,
    Idle,
    Limits,
    Listener,
    ModelReplied,
    OutcomeUnknown,
    RejectedCall,
    RunFinished,
    RunStatus,
    RunTools,
    Stop,
    ValidCall,
    Workflow,
    build_request,
    find_problems,
)
from twelvefold.core.decide import decide
from twelvefold.engine.children import Planner, open_planner
from twelvefold.engine.commit import append, write
from twelvefold.engine.delta_writer import DeltaWriter, HeldBackText
from twelvefold.engine.fallback import Build, request_reply, run_limits
from twelvefold.engine.held_run import CallOutcome, HeldRun, entry_of, with_duration
from twelvefold.engine.new_children import NewChild, notify_started
from twelvefold.engine.perform import (
    InstructionsFailed,
    RollbackTool,
    failed_call,
    resolve_instructions,
    run_call,
    run_group,
    run_in_step,
)
from twelvefold.engine.services import Services
from twelvefold.engine.uninterrupted import run_uninterrupted
from twelvefold.engine.waiting import end_waits, expiry_us, with_server_time
from twelvefold.errors import StoreRefused, TooLarge
from twelvefold.observe.trace_context import reply_context

REPEATABLE = ("transactional", "workflow", *CONCURRENT_EFFECTS)
"""Effects whose calls leave nothing behind without a commit, so that they may run again."""


async def step(
    services: Services, held: HeldRun, workflow: Workflow, listener: Listener
) -> HeldRun:
    """Perform the next decision; the run continues while its status is "running".

    Raises StaleRun or LeaseLost if another process has continued the run, CancelAsked, and the
    errors of the model and the store that retries did not resolve. Nothing is written then.
    """
    limits = run_limits(services, workflow, held.thread.options)
    decision = decide(held.thread, workflow, limits)
    match decision:
        case CallModel():
            return await _call_model(services, held, workflow, listener, limits)
        case RunTools():
            return await _run_tools(services, held, workflow, listener, decision)
        case Await():
            return await end_waits(services, held, listener, decision)
        case Idle():
            return await _rest(services, held)
        case _:
            events, status = await _closing_events(services, held, decision)
            return await _close(services, held, listener, events, status)


async def _rest(services: Services, held: HeldRun) -> HeldRun:
    """Release the run, which waits; if a cancel has been requested, its status is "queued"."""
    release = partial(services.store.release, held.lease, status="waiting")
    cancel_asked = await services.retry(
        lambda: run_uninterrupted(release(), services.exit_limit), math.inf
    )
    return structs.replace(held, status="queued" if cancel_asked else "waiting")


async def _call_model(
    services: Services, held: HeldRun, workflow: Workflow, listener: Listener, limits: Limits
) -> HeldRun:
    instructions = ""
    if workflow.instructions_function is not None:
        try:
            instructions = await resolve_instructions(services, workflow, held.thread.principal)
        except InstructionsFailed as error:
            finished = RunFinished("failed", "instructions", error.sentence)
            return await _close(services, held, listener, (finished,), "failed")
    build = partial(build_request, held.thread, workflow, instructions=instructions)
    began = services.monotonic()
    with nullcontext() if services.traces is None else reply_context(held.thread.head + 1):
        reply = await _request_reply(services, held, workflow, build, listener)
    replied = _checked(workflow, with_duration(services, reply, began))
    # The decision that follows from the reply is made before it is written: both are one commit.
    expected = held.thread.after(entry_of(held, replied))
    decision = decide(expected, workflow, limits)
    if isinstance(decision, RunTools) and _is_one_commit(services, workflow, decision):
        return await _run_tools(services, held, workflow, listener, decision, (replied,))
    # Other calls run in the next step: after a crash the journal then has the reply, and with it
    # the calls that may have been made.
    events, status = await _closing_events(services, held, decision)
    return await _close(services, held, listener, (replied, *events), status)


async def _request_reply(
    services: Services, held: HeldRun, workflow: Workflow, build: Build, listener: Listener
) -> ModelReplied:
    if not held.thread.options.stream:
        reader = _reader(workflow, listener)
        return await request_reply(services, held, workflow, build, reader)
    async with DeltaWriter(services, held, listener) as deltas:
        reader = _reader(workflow, deltas)
        replied = await request_reply(services, held, workflow, build, reader)
        first, cuts = await deltas.finish(replied.items)
        return structs.replace(replied, first_delta=first, cuts=cuts)


def _reader(workflow: Workflow, listener: Listener) -> Listener:
    """Return the listener of the model; text that may be no valid output is held back."""
    return listener if workflow.output_type is None else HeldBackText(listener)


def _checked(workflow: Workflow, replied: ModelReplied) -> ModelReplied:
    """Return the reply with its problems if it is no valid output."""
    output = workflow.output_type
    if output is None or not (problems := find_problems(replied, output)):
        return replied
    return structs.replace(replied, problems=problems)


async def _closing_events(
    services: Services, held: HeldRun, decision: Decision
) -> tuple[tuple[Event, ...], RunStatus]:
    """Return the entries that a decision consists of, and the status that follows.

    A run that a person and something else may continue is still "running": the next step lets it
    wait under a condition.
    """
    match decision:
        case AskApproval(call=call, timeout_s=timeout_s, is_timed=is_timed, arguments=arguments):
            expires_us = await expiry_us(services, held.run, timeout_s)
            asked = ApprovalAsked(call.id, call.tool, expires_us, arguments)
            return (asked,), "running" if is_timed else "waiting"
        case AskOutcome(call=call, is_timed=is_timed):
            unknown = OutcomeUnknown(call.id, call.tool)
            return (unknown,), "running" if is_timed else "waiting"
        case Finish():
            return (RunFinished("completed"),), "completed"
        case Stop(status=status, reason=reason, error=error):
            return (RunFinished(status, reason, error),), status
        case _:
            return (), "running"


async def _close(
    services: Services,
    held: HeldRun,
    listener: Listener,
    events: Sequence[Event],
    status: RunStatus,
) -> HeldRun:
    """Write the entries of a decision, and to the run's row the error of a run that ends."""
    error = next((event.error for event in events if isinstance(event, RunFinished)), "")
    return await write(services, held, listener, events, status, error=error)


def _is_one_commit(services: Services, workflow: Workflow, decision: RunTools) -> bool:
    """Return whether a reply commits with its result: one call, which is lost without a commit.

    A reply does not wait for resources to be opened: that may fail, and the reply would be lost.
    """
    first = decision.calls[0]
    repeatable = isinstance(first, RejectedCall) or first.tool.effect in REPEATABLE
    if not (repeatable and decision.all_pending and len(decision.calls) == 1):
        return False
    takes_any = isinstance(first, ValidCall) and first.tool.resources
    return not takes_any or services.resources.are_open(workflow, decision.calls)


async def _run_tools(
    services: Services,
    held: HeldRun,
    workflow: Workflow,
    listener: Listener,
    decision: RunTools,
    replies: tuple[ModelReplied, ...] = (),
) -> HeldRun:
    """Run calls and write their results, with the reply that made them if that is not written."""
    ready, principal = decision.calls, held.thread.principal
    tools = [call.tool for call in ready if isinstance(call, ValidCall)]
    if [tool for tool in tools if tool.resources]:
        ready = await services.resources.hand_in(workflow, ready)
    if [tool for tool in tools if tool.may_wait]:
        ready = await with_server_time(services, held.run, ready)
    first, planner = ready[0], None
    if [tool for tool in tools if tool.effect == "workflow" or tool.fans_out]:
        planner = await open_planner(services, held, workflow, replies)
    if isinstance(first, RejectedCall) or first.tool.effect in CONCURRENT_EFFECTS:
        # Outside the step's transaction: a long read must not lock rows of the journal.
        calls = list(zip(ready, decision.pending, strict=True))
        outcomes = await run_group(services, workflow, held.held_lease, principal, calls)
        # Only a tool that may start runs returns them.
        events = planner.entries_of(outcomes) if planner else cast("list[Event]", outcomes)
        children = planner.children if planner else ()
        return await write(services, held, listener, (*replies, *events), children=children)
    if planner and isinstance(first.tool, ChildTool):
        started = planner.call_workflow(first, first.tool)
        return await write(services, held, listener, (*replies, started), children=planner.children)
    if first.tool.effect == "transactional":
        return await _run_in_step(services, held, listener, first, replies, planner)
    outcome = await run_call(services, held.held_lease, principal, first)
    # A tool with such an effect is not declared to return a FanOut.
    held.unrecorded.outcome = outcome = cast("CallOutcome", outcome)
    needs_person = isinstance(outcome, OutcomeUnknown) and not held.thread.timed_calls
    status: RunStatus = "waiting" if needs_person else "running"
    return await write(services, held, listener, (*replies, outcome), status)


async def _run_in_step(
    services: Services,
    held: HeldRun,
    listener: Listener,
    call: ValidCall,
    replies: tuple[ModelReplied, ...],
    planner: Planner | None,
) -> HeldRun:
    children: list[NewChild] = []
    if planner is None:
        body = partial(run_in_step, services, held.held_lease, held.thread.principal, call, replies)
    else:
        body = partial(planner.run_in_step, call, replies, children)
    try:
        held = await append(services, held, listener, len(replies) + 1, body, replies)
        if children:
            notify_started(services, children)
        return held
    except RollbackTool as rollback:
        outcome = rollback.outcome
    except TooLarge:
        raise
    except StoreRefused as error:
        # The tool's rows violate a constraint that SQLite checks at COMMIT.
        outcome = failed_call(services, call, error)
    return await write(services, held, listener, (*replies, outcome))
