"""Answers a question of a tool for the person that it asks, who may be another than the caller.

That person sees nothing else of the run: neither its items nor its response. Any process continues
the run.
"""

from functools import partial
from typing import Any

from twelvefold.core import CallId, Principal, RunId, fold
from twelvefold.core.answers import question_of
from twelvefold.engine import answer_question, retry_unavailable
from twelvefold.errors import InvalidAnswer, NotFound, TooLate
from twelvefold.web.http import ApiError, abbreviate, raise_invalid
from twelvefold.web.ids import parse_approval_id
from twelvefold.web.runs.approvals import NOT_PENDING, retry_while_held
from twelvefold.web.schemas import QUESTION
from twelvefold.web.state import Web, turn_memory


async def answer_for_person(web: Web, principal: Principal, id: str, value: Any) -> None:
    """Write the answer to the question `ask_…`, a JSON value of the type that it asks for.

    Raises ApiError: 400 `invalid_answer` if the value does not fit, and the run still waits; 400
    `approval_not_pending`, the same for any id, unless the question waits and asks the principal or
    belongs to the principal's run; and Conflict if the run is held for longer than `Waits.take_s`.
    """
    try:
        run, call = await _find_question(web, principal, id)
        write = partial(
            answer_question,
            web.services,
            run,
            value,
            by=principal.id,
            principal=principal.id,
            call=call,
        )
        await retry_while_held(web, write)
    except (NotFound, TooLate) as error:
        message = f"no question waits for the answer to {abbreviate(id)}"
        raise ApiError(400, message, code=NOT_PENDING, param="call_id") from error
    except InvalidAnswer as error:
        raise_invalid(str(error), "output", "invalid_answer")


async def _find_question(web: Web, principal: Principal, id: str) -> tuple[RunId, CallId]:
    """Return the run and the call of a question that asks the principal. Raises NotFound.

    Raises ApiError if the run is the principal's and asks another person.
    """
    store = web.services.store
    thread, call = parse_approval_id(id)
    if not id.startswith(QUESTION):
        raise NotFound(f"no question {id!r}")
    head = await retry_unavailable(lambda: store.thread(thread))
    with turn_memory(web.executor.memory, principal, 0) as memory:
        await memory.hold(head.size)
        folded = fold((await retry_unavailable(lambda: store.load(thread))).entries)
    waits = [question_of(one) for one in folded.pending if one.id == call]
    if not waits or waits[0] is None:
        raise NotFound(f"no question {id!r}")
    person = waits[0].person or head.principal
    if principal.id == person:
        return RunId(thread, folded.run), call
    if principal.id == head.principal:
        raise_invalid(f"{person} has to answer this question", "call_id", NOT_PENDING)
    raise NotFound(f"no question {id!r}")
