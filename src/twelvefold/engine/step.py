"""One step of a run: decide, carry it out, write it down. There is no second loop anywhere.

A commit a step: what was decided, what a tool did and what it answered stand in the journal
together or not at all.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from msgspec import structs

from twelvefold.core.decide import (
    SIDE_BY_SIDE,
    AskApproval,
    AskOutcome,
    CallModel,
    Decision,
    Finish,
    Rest,
    RunTools,
    Stop,
    decide,
)
from twelvefold.core.events import (
    ApprovalAsked,
    Entry,
    Event,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    Usage,
    encode,
    size_of,
)
from twelvefold.core.gates import ValidCall
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, RunStatus, StepTransaction
from twelvefold.core.request import build_request
from twelvefold.core.workflow import RejectedCall, Workflow
from twelvefold.engine.commit import HeldRun, append, write
from twelvefold.engine.delta_writer import DeltaWriter
from twelvefold.engine.perform import (
    RollbackTool,
    failed_call,
    run_call,
    run_group,
    run_in_step,
)
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.engine.shield import run_uninterrupted
from twelvefold.errors import ModelRejected, ModelUnavailable, StoreRefused, TooLarge
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
REPEATABLE = ("transactional", *SIDE_BY_SIDE)
"""Effects whose calls leave nothing behind without a commit, so that they may run again."""


async def step(
    services: Services, driven: HeldRun, workflow: Workflow, listener: Listener
) -> HeldRun:
    """Do the next thing; the run goes on as long as its status is "running".

    Raises StaleRun or LeaseLost if another process has gone on, CancelAsked, and what the model
    and the store raise when trying again did not help. Nothing is written then.
    """
    decision = decide(driven.thread, workflow, services.limits)
    match decision:
        case CallModel():
            return await _call_model(services, driven, workflow, listener)
        case RunTools():
            return await _run_tools(services, driven, workflow, listener, decision)
        case Rest():
            release = partial(services.store.release, driven.lease, status="waiting")
            asked = await retry_unavailable(
                lambda: run_uninterrupted(release(), services.exit_limit), math.inf
            )
            return replace(driven, status="queued" if asked else "waiting")
        case _:
            events, status = _closing(decision)
            return await _close(services, driven, listener, events, status)


async def _call_model(
    services: Services, driven: HeldRun, workflow: Workflow, listener: Listener
) -> HeldRun:
    compacted = build_request(driven.thread, workflow, services.limits)
    if compacted.results_left_out or compacted.turns_left_out:
        log.warning(
            "context_compacted",
            results_left_out=compacted.results_left_out,
            turns_left_out=compacted.turns_left_out,
        )
    replied = await _reply(services, driven, compacted.request, listener)
    # What follows from the reply is decided before it is written, so that both are one commit.
    foreseen = driven.thread.after(_entry_of(driven, replied))
    decision = decide(foreseen, workflow, services.limits)
    if isinstance(decision, RunTools) and _is_one_commit(decision):
        return await _run_tools(services, driven, workflow, listener, decision, (replied,))
    # Other calls are the next step's: who finds the reply then knows what was about to happen.
    events, status = _closing(decision)
    return await _close(services, driven, listener, (replied, *events), status)


def _entry_of(driven: HeldRun, replied: ModelReplied) -> Entry:
    """The reply as the journal will have it, but for its time."""
    _, _, body = encode(replied)
    return Entry(driven.thread.head + 1, driven.run.ordinal, replied, size_of(body))


async def _reply(
    services: Services, driven: HeldRun, request: ModelRequest, listener: Listener
) -> ModelReplied:
    if not driven.thread.options.stream:
        return _received(driven, await _ask(services, driven, request, listener))
    async with DeltaWriter(services, driven, listener) as draft:
        reply = await _ask(services, driven, request, draft)
        replied = _received(driven, reply)
        first, cuts = await draft.ended(reply)
        return structs.replace(replied, first_delta=first, cuts=cuts)


async def _ask(
    services: Services, driven: HeldRun, request: ModelRequest, listener: Listener
) -> ModelReply:
    """A reply. What failed tries took counts too."""
    try:
        return await services.model.reply(request, listener)
    except (ModelUnavailable, ModelRejected) as error:
        driven.unrecorded.usage += error.usage or Usage()
        raise


def _received(driven: HeldRun, reply: ModelReply) -> ModelReplied:
    """The reply as an event. Its usage counts from now on, whether or not it can be written."""
    driven.unrecorded.usage += reply.usage
    return ModelReplied(reply.items, reply.usage, reply.model, reply.request_hash, reply.ended)


def _closing(decision: Decision) -> tuple[tuple[Event, ...], RunStatus]:
    """The entries that a decision is itself, and what becomes of the run."""
    match decision:
        case AskApproval(call=call):
            return (ApprovalAsked(call.id, call.tool),), "waiting"
        case AskOutcome(call=call):
            return (OutcomeUnknown(call.id, call.tool),), "waiting"
        case Finish():
            return (RunFinished("completed"),), "completed"
        case Stop(status=status, reason=reason, error=error):
            return (RunFinished(status, reason, error),), status
        case _:
            return (), "running"


async def _close(
    services: Services,
    driven: HeldRun,
    listener: Listener,
    events: Sequence[Event],
    status: RunStatus,
) -> HeldRun:
    """Write what a decision is itself; the error of a run that ends with it goes to its row."""
    error = next((event.error for event in events if isinstance(event, RunFinished)), "")
    return await write(services, driven, listener, events, status, error=error)


def _is_one_commit(decision: RunTools) -> bool:
    """Whether a reply and its answer are: one call, of which nothing is left without a commit."""
    first = decision.calls[0]
    redone = isinstance(first, RejectedCall) or first.tool.effect in REPEATABLE
    return redone and decision.all_pending and len(decision.calls) == 1


async def _run_tools(
    services: Services,
    driven: HeldRun,
    workflow: Workflow,
    listener: Listener,
    decision: RunTools,
    lead: tuple[ModelReplied, ...] = (),
) -> HeldRun:
    """Answer calls; `lead` is their reply, where that is not written yet."""
    first, who = decision.calls[0], driven.thread.principal
    if isinstance(first, RejectedCall) or first.tool.effect in SIDE_BY_SIDE:
        # Outside the step's transaction: a read that takes long locks no row of the journal.
        calls = list(zip(decision.calls, decision.pending, strict=True))
        told = await run_group(services, workflow, driven.held, who, calls)
        return await write(services, driven, listener, (*lead, *told))
    if first.tool.effect == "transactional":
        return await _run_in_step(services, driven, listener, first, lead)
    outcome = await run_call(services, driven.held, who, first)
    driven.unrecorded.outcome = outcome
    status: RunStatus = "waiting" if isinstance(outcome, OutcomeUnknown) else "running"
    return await write(services, driven, listener, (*lead, outcome), status)


async def _run_in_step(
    services: Services,
    driven: HeldRun,
    listener: Listener,
    call: ValidCall,
    lead: tuple[ModelReplied, ...],
) -> HeldRun:
    async def body(tx: StepTransaction) -> Sequence[Event]:
        return (*lead, await run_in_step(services, driven.held, driven.thread.principal, call, tx))

    try:
        return await append(services, driven, listener, len(lead) + 1, body, lead)
    except RollbackTool as rollback:
        outcome = rollback.result
    except TooLarge:
        raise
    except StoreRefused as error:
        # What the tool wrote breaks a constraint that SQLite checks at COMMIT.
        outcome = failed_call(services, call, error)
    return await write(services, driven, listener, (*lead, outcome))
