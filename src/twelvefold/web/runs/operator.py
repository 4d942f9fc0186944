"""What operators do with runs of any principal. Each action is logged with the operator's key.

Any process continues the run; the journal has the operator and the key of an answer.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from twelvefold.core import CallId, ChildAnswered, Principal, RunId
from twelvefold.engine import (
    answer,
    answer_below,
    answer_question,
    fork_at,
    retry_unavailable,
    settle,
)
from twelvefold.engine.commands.retry_run import retry_run
from twelvefold.errors import InvalidAnswer, NotFound, TooLate
from twelvefold.observe.log import get_logger
from twelvefold.web.http import ApiError, Caller, abbreviate, raise_invalid
from twelvefold.web.ids import conversation_id, parse_approval_id
from twelvefold.web.runs.answer_writes import NOT_PENDING, retry_while_held
from twelvefold.web.runs.run_detail import find_open_calls
from twelvefold.web.runs.waiting_call import WaitingCall, load_waiting
from twelvefold.web.schemas import Json
from twelvefold.web.schemas.admin.runs import ApprovalOutput, ResumeRun, SettleRun
from twelvefold.web.schemas.decode import decode
from twelvefold.web.state import Web, turn_memory

log = get_logger(__name__)


async def retry(web: Web, caller: Caller, run: RunId) -> RunId:
    """Run the input of a run again that did not complete. Raises as `retry_run` does."""
    new = await retry_run(web.services, run, key_id=caller.key)
    log_action(caller, "retry", run=str(run), new=str(new))
    web.wake()
    return new


async def cancel(web: Web, caller: Caller, run: RunId) -> None:
    """Cancel a run. Raises NotFound."""
    log_action(caller, "cancel", run=str(run))
    await web.cancel(run)


async def fork(web: Web, caller: Caller, run: RunId, position: int | None) -> str:
    """Make a conversation of the same principal that continues from an entry; return its id.

    `position` None is the end of the run. Raises NotFound.
    """
    store = web.services.store
    record = await retry_unavailable(partial(store.run, run))
    head = await retry_unavailable(partial(store.thread, run.thread))
    at = position or record.last_position or head.head
    new = await fork_at(web.services, run, at)
    log_action(caller, "fork", run=str(run), position=at, new=conversation_id(new))
    return conversation_id(new)


async def resume(web: Web, caller: Caller, run: RunId, body: ResumeRun) -> None:
    """Approve or deny a call of a run or of those below it. Raises ApiError and NotFound."""
    waiting = await _find_call(web, run, "approval", body.call_id)
    given = ApprovalOutput(body.approve, body.reason, body.arguments)
    await _answer(web, caller, waiting["id"], lambda _: given)


async def settle_call(web: Web, caller: Caller, run: RunId, body: SettleRun) -> None:
    """Settle a call whose outcome is unknown. Raises ApiError and NotFound."""
    waiting = await _find_call(web, run, "unknown", body.call_id)
    owner = RunId.parse(waiting["run"])
    write = partial(
        settle,
        web.services,
        owner,
        settled=body.settled,
        by=caller.principal.id,
        result=body.result or "",
        call=CallId(waiting["call_id"]),
        key_id=caller.key,
    )
    try:
        await retry_while_held(web, write)
    except TooLate as error:
        raise _not_waiting("unknown", body.call_id) from error
    log_action(caller, "settle", run=str(owner), call=waiting["call_id"])
    web.wake()


async def _find_call(web: Web, run: RunId, kind: str, call: str | None) -> Json:
    """Return the call that waits, the first one unless `call` names it. Raises ApiError."""
    record = await retry_unavailable(partial(web.services.store.run, run))
    for waiting in await find_open_calls(web, record):
        if waiting["kind"] == kind and call in (None, waiting["call_id"], waiting["id"]):
            return waiting
    raise _not_waiting(kind, call)


def _not_waiting(kind: str, call: str | None) -> ApiError:
    wanted = {"approval": "approval", "unknown": "settling"}[kind]
    message = f"no call waits for {wanted}" if call is None else f"{abbreviate(call)} does not wait"
    return ApiError(400, message, code=NOT_PENDING, param="call_id")


# --- answers --------------------------------------------------------------------------------------


async def answer_any(web: Web, caller: Caller, id: str, output: Any) -> None:
    """Answer a question or an approval of any principal, by the id of its item.

    `output` is a JSON value of the type that a question asks for, or an ApprovalOutput. Raises
    ApiError: 400 `approval_not_pending` if no call waits for it, 400 `invalid_answer` if the answer
    does not fit, and Conflict if the run is held.
    """

    def output_for(waiting: WaitingCall) -> Any:
        return output if waiting.question else decode(output, ApprovalOutput)

    await _answer(web, caller, id, output_for)


async def _answer(
    web: Web, caller: Caller, id: str, output_for: Callable[[WaitingCall], Any]
) -> None:
    try:
        waiting = await _load_waiting(web, caller, id)
        await retry_while_held(web, _write(web, caller, waiting, output_for(waiting)))
    except (NotFound, TooLate) as error:
        message = f"no call waits for the answer to {abbreviate(id)}"
        raise ApiError(400, message, code=NOT_PENDING, param="call_id") from error
    except InvalidAnswer as error:
        raise_invalid(str(error), "output", "invalid_answer")
    log_action(caller, "answer", run=str(waiting.run), call=waiting.call)
    web.wake()


async def _load_waiting(web: Web, caller: Caller, id: str) -> WaitingCall:
    thread, _ = parse_approval_id(id)
    head = await retry_unavailable(partial(web.services.store.thread, thread))
    with turn_memory(web.executor.memory, caller.principal, 0) as memory:
        waiting = await load_waiting(web, Principal(head.principal), id, memory)
    if waiting is None:
        raise NotFound(f"no call {id!r}")
    return waiting


def _write(
    web: Web, caller: Caller, waiting: WaitingCall, output: Any
) -> Callable[[], Awaitable[None]]:
    """Return what writes the answer; that to a run below is written through the caller's run."""
    by: Json = {"by": caller.principal.id, "call": waiting.call, "key_id": caller.key}
    if waiting.question:
        write = partial(answer_question, web.services, waiting.run, output, **by)
    else:
        given = {"approved": output.approve, "reason": output.reason or ""}
        arguments = output.arguments or ""
        write = partial(answer, web.services, waiting.run, arguments=arguments, **given, **by)
    if waiting.parent_call is None:
        return write
    is_approval = waiting.question is None
    answered = ChildAnswered(
        waiting.parent_call,
        str(waiting.run),
        waiting.call,
        caller.principal.id,
        is_approval,
        is_approval and output.approve,
        (output.reason or "") if is_approval else "",
        key_id=caller.key,
    )
    return partial(answer_below, web.services, waiting.next.run, answered, write)


def log_action(caller: Caller, action: str, **of: str | int) -> None:
    """Write what an operator did to the log, with the operator's key."""
    key = caller.key or "none"
    log.info("operator_action", action=action, operator=caller.principal.id, key=key, **of)
