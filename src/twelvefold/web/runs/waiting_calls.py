"""The call of a run that an item of a request's input answers, if it still waits.

`twelvefold.web.runs.approvals` writes the answer.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from twelvefold.core import (
    Call,
    CallId,
    Entry,
    Item,
    Principal,
    RequestOptions,
    RunId,
    WaitStarted,
    fold,
)
from twelvefold.core.answers import question_of
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.http import ApiError, abbreviate
from twelvefold.web.ids import ResponseId, parse_approval_id
from twelvefold.web.projection.response import next_part
from twelvefold.web.schemas import ANSWER, QUESTION, answered_id, is_answer
from twelvefold.web.state import TurnMemory, Web
from twelvefold.web.streaming.lookup import entries_of_run

NOT_PENDING = "approval_not_pending"


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A call of the principal that waits for approval or for an answer.

    `next` is the response that follows. `options` are those of its run. `head` is the last position
    of its thread.
    """

    call: CallId
    head: int
    next: ResponseId
    workflow: str
    options: RequestOptions
    question: WaitStarted | None = None


async def find_waiting_call(
    web: Web, principal: Principal, items: Sequence[Item], memory: TurnMemory
) -> tuple[int, WaitingCall]:
    """Return the first answer that a call waits for; the others repeat earlier ones."""
    answers = [index for index, item in enumerate(items) if is_answer(item)]
    for index in answers:
        if waiting := await _load(web, principal, answered_id(items[index]), memory):
            return index, waiting
    raise not_pending(items[answers[0]], answers[0])


async def _load(
    web: Web, principal: Principal, id: str, memory: TurnMemory | None = None
) -> WaitingCall | None:
    store = web.services.store
    try:
        thread, call = parse_approval_id(id)
        head = await retry_unavailable(lambda: store.thread(thread))
        if head.principal != principal.id:
            return None
        if memory:
            await memory.hold(head.size)
        record = await retry_unavailable(lambda: store.load(thread))
    except NotFound:
        return None
    folded = fold(record.entries)
    waits = [one for one in folded.pending if one.id == call and _needs(one, id)]
    run = RunId(thread, folded.run)
    own: list[Entry] = entries_of_run(record.entries, run, after=record.forked_at)
    # A fork of the thread does not wait for the answer.
    if not waits or not own:
        return None
    next = ResponseId(run, next_part(own))
    question = question_of(waits[0])
    return WaitingCall(call, record.head, next, record.workflow, folded.options, question)


def _needs(call: Call, id: str) -> bool:
    """Return whether the call waits for an answer to the item with this id."""
    return question_of(call) is not None if id.startswith(QUESTION) else call.state == "asked"


async def is_answered(web: Web, principal: Principal, id: str, waiting: WaitingCall) -> bool:
    """Return whether the call waits no longer. Loads the thread only if it has new entries."""
    store, thread = web.services.store, waiting.next.run.thread
    with suppress(NotFound):
        if (await retry_unavailable(lambda: store.thread(thread))).head == waiting.head:
            return False
    return await _load(web, principal, id) is None


def not_pending(item: Item, index: int) -> ApiError:
    message = f"no call waits for the answer to {abbreviate(answered_id(item))}"
    param = f"input[{index}].{'approval_request_id' if item['type'] == ANSWER else 'call_id'}"
    return ApiError(400, message, code=NOT_PENDING, param=param)
