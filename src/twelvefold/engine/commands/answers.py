"""A person's answer to a call that waits: an approval, or the outcome that was unknown."""

from collections.abc import Callable, Iterable
from typing import assert_never

from twelvefold.core import (
    ApprovalAnswered,
    Call,
    CallId,
    CallState,
    Event,
    IdempotentRequest,
    OutcomeSettled,
    RequestOptions,
    RunId,
    Settlement,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.engine.commands.claim import claimed, write_once
from twelvefold.engine.commands.start import check_storable
from twelvefold.engine.services import Services
from twelvefold.errors import CancelAsked, Conflict, DuplicateRow, StaleRun, TooLate


async def answer(
    services: Services,
    run: RunId,
    *,
    approved: bool,
    by: str,
    reason: str = "",
    call: CallId | None = None,
    options: RequestOptions | None = None,
    background: bool = False,
    request: IdempotentRequest | None = None,
    claims: bool = False,
) -> None:
    """Write the answer to a call that waits for approval; the run can then continue.

    `options` and `background` are for the rest of the run; with `options` None its first ones stay.
    `claims`: the caller claims the run at once, so no worker is woken. Raises NotFound, TooLate if
    no such call waits, or Conflict if the run is held, or the request was made before.
    """

    def events(waiting: Call) -> tuple[Event, ...]:
        answered = ApprovalAnswered(waiting.id, approved, by, reason, options, background)
        if approved:
            return (answered,)
        message = f"Error: not allowed by {by}" + (f": {reason}" if reason else "")
        return answered, ToolFailed(waiting.id, waiting.tool, "denied", message)

    await _answer_call(services, run, call, "asked", events, request, claims=claims)


async def settle(
    services: Services,
    run: RunId,
    *,
    settled: Settlement,
    by: str,
    result: str = "",
    call: CallId | None = None,
    claims: bool = False,
) -> None:
    """Write what a person found out about a call whose outcome was unknown.

    `result` is what the model reads of a call that is "done"; `claims` as in `answer`. Raises
    NotFound, or TooLate if there is no such call.
    """

    def events(unknown: Call) -> tuple[Event, ...]:
        settlement = OutcomeSettled(unknown.id, settled, by, result)
        match settled:
            case "retry":
                return (settlement,)
            case "done":
                return settlement, ToolSucceeded(unknown.id, unknown.tool, result)
            case "failed":
                message = "Error: the call failed" + (f": {result}" if result else "")
                return settlement, ToolFailed(unknown.id, unknown.tool, "settled", message)
            case _:
                assert_never(settled)

    await _answer_call(services, run, call, "unknown", events, claims=claims)


async def _answer_call(
    services: Services,
    run: RunId,
    call: CallId | None,
    state: CallState,
    events: Callable[[Call], tuple[Event, ...]],
    request: IdempotentRequest | None = None,
    *,
    claims: bool,
) -> None:
    """Append the entries of a waiting call's answer, and queue the run for any process."""
    async with claimed(services, run) as held:
        pending = held.thread.pending
        waiting = [one for one in pending if one.state == state and call in (None, one.id)]
        if not waiting:
            raise TooLate(_no_such_call(run, pending, call, state))
        answers = [check_storable(event)[0] for event in events(waiting[0])]
        try:
            await write_once(services, held, answers, "queued", request=request)
        except (CancelAsked, DuplicateRow, StaleRun) as error:
            raise Conflict(str(error)) from error
    if not claims:
        services.wake_ups.run_queued(held.thread.workflow)


def _no_such_call(
    run: RunId, pending: Iterable[Call], call: CallId | None, state: CallState
) -> str:
    wanted = "approval" if state == "asked" else "settling"
    if waiting := [one.id for one in pending if one.state == state]:
        return f"run {run} has no call {call} that waits for {wanted}; {', '.join(waiting)} does"
    return f"run {run} has no call that waits for {wanted}"
