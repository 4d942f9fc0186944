"""Answers a question of a tool for the person that it asks, who may be another than the caller.

That person sees nothing else of the run: neither its items nor its response. Any process continues
the run.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from twelvefold.core import ChildAnswered, Principal
from twelvefold.engine import answer_below, answer_question, retry_unavailable
from twelvefold.errors import InvalidAnswer, NotFound, TooLate
from twelvefold.web.http import ApiError, Caller, abbreviate, raise_invalid
from twelvefold.web.ids import parse_approval_id
from twelvefold.web.runs.answer_writes import NOT_PENDING, retry_while_held
from twelvefold.web.runs.waiting_call import WaitingCall, check_tool_allowed, load_waiting
from twelvefold.web.state import TurnMemory, Web, turn_memory


async def answer_for_person(web: Web, caller: Caller, id: str, value: Any) -> None:
    """Write the answer to the question `ask_…`, a JSON value of the type that it asks for.

    Raises ApiError: 400 `invalid_answer` if the value does not fit, and the run still waits; 400
    `approval_not_pending`, with the same message for any id, if no question with this id waits for
    the principal's answer; for the principal of the run the message names the person; 403 if the
    key does not allow the workflow or the tool. Raises Conflict if the run is held for longer than
    `Waits.take_s`.
    """
    principal = caller.principal
    try:
        with turn_memory(web.executor.memory, principal, 0) as memory:
            waiting = await _find_question(web, principal, id, memory)
        _check_allowed(caller, waiting)
        await retry_while_held(web, _write(web, caller, waiting, value))
    except (NotFound, TooLate) as error:
        message = f"no question waits for the answer to {abbreviate(id)}"
        raise ApiError(400, message, code=NOT_PENDING, param="call_id") from error
    except InvalidAnswer as error:
        raise_invalid(str(error), "output", "invalid_answer")


async def _find_question(
    web: Web, principal: Principal, id: str, memory: TurnMemory
) -> WaitingCall:
    """Return the call that asks the principal. Raises NotFound.

    Raises ApiError if the run is the principal's and asks another person.
    """
    thread, _ = parse_approval_id(id)
    head = await retry_unavailable(partial(web.services.store.thread, thread))
    waiting = await load_waiting(web, Principal(head.principal), id, memory)
    if waiting is None or waiting.question is None:
        raise NotFound(f"no question {id!r}")
    person = waiting.question.person or head.principal
    if principal.id == person:
        return waiting
    if principal.id == head.principal:
        raise_invalid(f"{person} has to answer this question", "call_id", NOT_PENDING)
    raise NotFound(f"no question {id!r}")


def _check_allowed(caller: Caller, waiting: WaitingCall) -> None:
    if not caller.allows_workflow(waiting.workflow):
        raise ApiError(
            403, "this API key does not allow this workflow", code="workflow_not_allowed"
        )
    check_tool_allowed(caller.tools, waiting)


def _write(
    web: Web, caller: Caller, waiting: WaitingCall, value: Any
) -> Callable[[], Awaitable[None]]:
    """Return what writes the answer; that to a run below is written through the caller's run."""
    principal = caller.principal
    write = partial(
        answer_question,
        web.services,
        waiting.run,
        value,
        by=principal.id,
        principal=principal.id,
        call=waiting.call,
        key_id=principal.key_id,
    )
    if waiting.parent_call is None:
        return write
    answered = ChildAnswered(
        waiting.parent_call, str(waiting.run), waiting.call, principal.id, key_id=principal.key_id
    )
    return partial(answer_below, web.services, waiting.next.run, answered, write)
