"""A person's answer to a call that waits: an approval, a question, or an unknown outcome."""

from collections.abc import Callable, Iterable
from typing import Any, assert_never, cast, get_args

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
    Thread,
    ToolFailed,
    ToolSucceeded,
    WaitEnded,
    WaitStarted,
    abbreviate,
    fold,
)
from twelvefold.core.answers import check_answer, question_of
from twelvefold.core.tools.schema import BadArguments
from twelvefold.core.waits import due_us
from twelvefold.engine.commands.claim import claimed, write_once
from twelvefold.engine.commands.start import check_storable
from twelvefold.engine.services import Services
from twelvefold.errors import (
    CancelAsked,
    Conflict,
    DuplicateRow,
    NotFound,
    RequestError,
    StaleRun,
    TooLate,
)


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
    arguments: str = "",
    key_id: str = "",
) -> None:
    """Write the answer to a call that waits for approval; the run can then continue.

    `options` and `background` are for the rest of the run; with `options` None its first ones stay.
    `claims`: the caller claims the run at once, so no worker is woken. `arguments`, the text of a
    JSON object, replace those of the model; a parameter that they omit has its default. `key_id` is
    the API key of the caller. Raises NotFound, TooLate if no such call waits or it has expired,
    Conflict if the run is held, or the request was made before, RequestError if the tool does not
    take the arguments, and MigrationUnfinished if the gate for them is closed.
    """
    if arguments:
        await services.gate.check("an approval with other arguments")
    stored_key = await services.gate.if_open(key_id)

    def events(waiting: Call, thread: Thread) -> tuple[Event, ...]:
        given = arguments and _checked(services, thread, waiting, arguments, approved=approved)
        answered = ApprovalAnswered(
            waiting.id, approved, by, reason, options, background, given, stored_key
        )
        if approved:
            return (answered,)
        message = f"Error: not allowed by {by}" + (f": {reason}" if reason else "")
        return answered, ToolFailed(waiting.id, waiting.tool, "denied", message)

    await _answer_call(services, run, call, "asked", events, request, claims=claims)


def _checked(
    services: Services, thread: Thread, call: Call, arguments: str, *, approved: bool
) -> str:
    """Return the arguments with the defaults of the call's tool. Raises RequestError."""
    if not approved:
        raise RequestError("a call that is denied takes no arguments")
    workflow = services.workflows.get(thread.workflow)
    tool = workflow.by_name.get(call.tool) if workflow else None
    if tool is None:
        raise NotFound(f"workflow {thread.workflow!r} has no tool {call.tool!r}")
    try:
        return tool.parameters.fill(arguments, tool.parameters.parse(arguments))
    except BadArguments as error:
        raise RequestError("; ".join(error.problems)) from error


async def answer_question(
    services: Services,
    run: RunId,
    value: Any,
    *,
    by: str,
    principal: str | None = None,
    call: CallId | None = None,
    options: RequestOptions | None = None,
    request: IdempotentRequest | None = None,
    claims: bool = False,
    key_id: str = "",
) -> None:
    """Write a person's answer to a question of a tool; it becomes the result of the call.

    `value` is a JSON value of the type that the question asks for. `principal` is the person; None
    is an operator, who may answer for anyone. `request`, `claims` and `key_id` as in `answer`.
    Raises InvalidAnswer, and the run still waits, NotFound, also if another person is asked,
    TooLate if no such question waits or its time is over, and Conflict as `answer` does.
    """
    thread = fold((await services.retry(lambda: services.store.load(run.thread))).entries)
    asked, text = _check_answer(run, thread, call, value, principal)
    stored_key = await services.gate.if_open(key_id)

    def events(waiting: Call, _: Thread) -> tuple[Event, ...]:
        ended = WaitEnded(waiting.id, "answer", by, key_id=stored_key)
        return ended, ToolSucceeded(waiting.id, waiting.tool, text)

    # The call that was checked: meanwhile the run may ask another person something else.
    await _answer_call(services, run, asked, "waiting", events, request, claims=claims)


def _check_answer(
    run: RunId, thread: Thread, call: CallId | None, value: Any, principal: str | None
) -> tuple[CallId, str]:
    """Return the call that asks, and the answer as JSON, before the run is touched."""
    if thread.run != run.ordinal:
        raise TooLate(f"run {run} is over")
    waiting = _waiting_calls(thread, call, "waiting")
    if not waiting:
        raise TooLate(_no_such_call(run, thread.pending, call, "waiting"))
    wait = cast("WaitStarted", waiting[0].wait)
    if principal not in (None, wait.person or thread.principal):
        if principal == thread.principal:
            raise NotFound(f"{wait.person} has to answer the question of run {run}")
        raise NotFound(f"no question for {principal} in run {run}")
    return waiting[0].id, check_answer(wait.schema, value)


async def settle(
    services: Services,
    run: RunId,
    *,
    settled: Settlement,
    by: str,
    result: str = "",
    call: CallId | None = None,
    claims: bool = False,
    key_id: str = "",
) -> None:
    """Write what a person found out about a call whose outcome was unknown.

    `result` is what the model reads of a call that is "done"; `claims` and `key_id` as in `answer`.
    Raises NotFound, TooLate if there is no such call, or RequestError for another outcome.
    """
    if settled not in get_args(Settlement):
        known = ", ".join(get_args(Settlement))
        raise RequestError(f"outcome is {abbreviate(settled)}; use one of {known}")
    stored_key = await services.gate.if_open(key_id)

    def events(unknown: Call, _: Thread) -> tuple[Event, ...]:
        settlement = OutcomeSettled(unknown.id, settled, by, result, stored_key)
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
    events: Callable[[Call, Thread], tuple[Event, ...]],
    request: IdempotentRequest | None = None,
    *,
    claims: bool,
) -> None:
    """Append the entries of a waiting call's answer, and queue the run for any process."""
    async with claimed(services, run) as held:
        waiting = _waiting_calls(held.thread, call, state)
        if not waiting:
            raise TooLate(_no_such_call(run, held.thread.pending, call, state))
        await _raise_if_expired(services, run, waiting[0])
        answers = [check_storable(event)[0] for event in events(waiting[0], held.thread)]
        try:
            await write_once(services, held, answers, "queued", request=request)
        except (CancelAsked, DuplicateRow, StaleRun) as error:
            raise Conflict(str(error)) from error
    if not claims:
        services.wake_ups.run_queued(held.thread.workflow)


def _waiting_calls(thread: Thread, call: CallId | None, state: CallState) -> list[Call]:
    return [one for one in thread.pending if _is_asked(one, state) and call in (None, one.id)]


def _is_asked(call: Call, state: CallState) -> bool:
    """Return whether the call is in the state; "waiting" is for an answer."""
    return call.state == state and (state != "waiting" or question_of(call) is not None)


async def _raise_if_expired(services: Services, run: RunId, call: Call) -> None:
    """Raise TooLate if the time for the answer is over by the database's clock."""
    limit_us = due_us([call])
    if limit_us and (await services.store.wait_state(run)).now_us >= limit_us:
        raise TooLate(f"the time to answer call {call.id} of run {run} is over")


def _no_such_call(
    run: RunId, pending: Iterable[Call], call: CallId | None, state: CallState
) -> str:
    wanted = {"asked": "approval", "waiting": "an answer"}.get(state, "settling")
    if waiting := [one.id for one in pending if _is_asked(one, state)]:
        return f"run {run} has no call {call} that waits for {wanted}; {', '.join(waiting)} does"
    return f"run {run} has no call that waits for {wanted}"
