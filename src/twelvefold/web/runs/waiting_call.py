"""The call of a principal that waits for a person, found by the id of its item."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

from twelvefold.core import (
    Call,
    CallId,
    Entry,
    Principal,
    RequestOptions,
    RunId,
    Thread,
    WaitStarted,
    fold,
)
from twelvefold.core.answers import question_of
from twelvefold.engine import retry_unavailable
from twelvefold.engine.children import root_of
from twelvefold.errors import NotFound
from twelvefold.web.http import ApiError
from twelvefold.web.ids import ResponseId, parse_approval_id
from twelvefold.web.projection.parts import next_part
from twelvefold.web.schemas import QUESTION
from twelvefold.web.state import TurnMemory, Web
from twelvefold.web.streaming.lookup import entries_of_run


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A call of the principal that waits for approval. `next` is the response that follows.

    `run` has the call. It is the run of `next` or one below it, which the call `parent_call` of
    that run waits for. `workflow`, `options` and `key_id` are those of the run of `next`. `head` is
    the last position of the thread with the call.
    """

    run: RunId
    call: CallId
    head: int
    next: ResponseId
    workflow: str
    options: RequestOptions
    tool: str
    question: WaitStarted | None = None
    parent_call: CallId | None = None
    key_id: str = ""


async def load_waiting(
    web: Web, principal: Principal, id: str, memory: TurnMemory | None = None
) -> WaitingCall | None:
    """Return the call that waits for an answer to the item with this id.

    None if no call of a run of the principal does. Raises ApiError with 429 without memory.
    """
    store = web.services.store
    try:
        thread, call = parse_approval_id(id)
        head = await retry_unavailable(partial(store.thread, thread))
        if head.principal != principal.id:
            return None
        if memory:
            await memory.hold(head.size)
        record = await retry_unavailable(partial(store.load, thread))
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
    about = record.workflow, folded.options, waits[0].tool, question
    waiting = WaitingCall(run, call, record.head, next, *about, key_id=folded.key_id)
    return await _with_root(web, waiting, folded, memory) if folded.ancestry else waiting


async def _with_root(
    web: Web, waiting: WaitingCall, child: Thread, memory: TurnMemory | None
) -> WaitingCall | None:
    """Return the waiting call of a run below with the next response of the caller's run.

    None if that run is over.
    """
    store, root = web.services.store, root_of(waiting.run, child)
    try:
        head = await retry_unavailable(partial(store.thread, root.thread))
        if memory:
            await memory.hold(head.size)
        record = await retry_unavailable(partial(store.load, root.thread))
    except NotFound:
        return None
    folded = fold(record.entries)
    own = entries_of_run(record.entries, root, after=record.forked_at)
    if folded.run != root.ordinal or not folded.parent_calls or not own:
        return None
    above = folded.parent_calls[0].id
    if asked := folded.child_asked:
        is_same = (asked.run, asked.child_call) == (str(waiting.run), waiting.call)
        above = asked.call if is_same else above
    return replace(
        waiting,
        next=ResponseId(root, next_part(own)),
        workflow=record.workflow,
        options=folded.options,
        parent_call=above,
        key_id=folded.key_id,
    )


def check_tool_allowed(allowed: Collection[str] | None, waiting: WaitingCall) -> None:
    """Raise ApiError with 403 unless a key that allows these tools may answer the call."""
    if allowed is not None and waiting.tool not in allowed:
        raise ApiError(403, "this API key does not allow this tool", code="tool_not_allowed")


def _needs(call: Call, id: str) -> bool:
    """Return whether the call waits for an answer to the item with this id."""
    return question_of(call) is not None if id.startswith(QUESTION) else call.state == "asked"
