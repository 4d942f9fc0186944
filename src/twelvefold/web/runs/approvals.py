"""A call that waits for a person, answered by an item in a request's input.

The run then goes on where it stood; what follows is its next response. Whoever answers twice has
answered once: the second finds nothing that waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from twelvefold.core.events import (
    ApprovalAnswered,
    Entry,
    Item,
    ItemRemoved,
    ItemsAdded,
    RequestOptions,
)
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import Principal, Segment
from twelvefold.core.thread import fold
from twelvefold.engine.commands import answer, take
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import Conflict, NotFound, ServiceFault, TooLate
from twelvefold.observe.log import get_logger
from twelvefold.web.history.thread_reader import ThreadReader
from twelvefold.web.http.errors import ApiError, abbreviate, raise_invalid
from twelvefold.web.ids import ResponseId, approval_id, parse_approval_id
from twelvefold.web.projection.response import makes_wait, parts
from twelvefold.web.runs.create import StartedRun, deleted_before, found, run_before
from twelvefold.web.runs.target import conversation_of
from twelvefold.web.schemas.answer_options import merge_options
from twelvefold.web.schemas.items import ANSWER
from twelvefold.web.schemas.responses import Request
from twelvefold.web.state import Web
from twelvefold.web.streaming.reader import opened, own_entries, run_of
from twelvefold.web.turn_memory import TurnMemory, turn_memory

log = get_logger(__name__)
NOT_PENDING = "approval_not_pending"
TAKE_S = 1.0
Result = TypeVar("Result")
POLL_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call of the principal's that waits for approval. `next` is the response that follows.

    `options` are those of its run. `head` is where its thread was then.
    """

    call: CallId
    head: int
    next: ResponseId
    workflow: str
    options: RequestOptions


def answers(request: Request) -> bool:
    """Whether a request answers a call that waits, or means to."""
    return any(item["type"] == ANSWER for item in request.items)


async def go_on(web: Web, principal: Principal, request: Request) -> StartedRun:
    """Give the answer, and go on with the run here. Raises ApiError if nothing waits for it."""
    if before := await _given_before(web, principal, request):
        return before
    try:
        with turn_memory(web.executor.memory, principal, 0) as memory:
            return await _given(web, principal, request, memory)
    except ApiError as error:
        # The same request may have been made at the same moment.
        if error.code == NOT_PENDING and (before := await _given_before(web, principal, request)):
            return before
        raise


async def _given_before(web: Web, principal: Principal, request: Request) -> StartedRun | None:
    """What came of this very request, where it was made before under its key."""
    run = await run_before(web, principal, request.key)
    if run is None:
        return None
    given = {item["approval_request_id"] for item in request.items if item["type"] == ANSWER}
    try:
        part = await _answered_part(web, principal, run, given)
    except NotFound as error:
        raise deleted_before() from error
    return await found(web, principal, ResponseId(run, part))


async def _answered_part(web: Web, principal: Principal, run: RunId, given: set[str]) -> int:
    """The number of the response that one of these answers began, read window by window.

    Raises NotFound.
    """
    store = web.services.store
    record = await run_of(store, principal, run)
    head = await retry_unavailable(lambda: store.thread(run.thread))
    own = (Segment(head.id, head.forked_at, head.head),)
    reader = ThreadReader(store, head, own, frozenset())
    answered, part, before = -1, -1, None
    async for entry in reader.entries(after=record.began - 1, to=record.last_position):
        event = entry.event
        if isinstance(event, ItemsAdded | ItemRemoved):
            continue
        if before is None or makes_wait(before):
            part += 1
            if isinstance(event, ApprovalAnswered) and approval_id(run.thread, event.call) in given:
                answered = part
        before = event
    if answered < 0:
        raise NotFound(f"no response of run {run}")
    return answered


async def _given(
    web: Web, principal: Principal, request: Request, memory: TurnMemory
) -> StartedRun:
    index, waiting = await _waiting(web, principal, request.items, memory)
    if waiting.workflow != request.workflow.name:
        raise_invalid(f"the call is one of {waiting.workflow!r}, and so must be this turn", "model")
    _refuse_news(request, index)
    await _check_place(web, principal, request, waiting)
    if request.background:
        async with web.queue.place(principal):
            await _answer(web, principal, request, waiting, index)
        web.wake()
        return await _begun(web, principal, waiting.next)
    with web.executor.slot(principal):
        await _answer(web, principal, request, waiting, index)
        if driven := await _taken(web, waiting.next.run):
            web.drive(driven, memory.reservation)
    # Behind the slot, which would count as a second one while the response is read.
    return await _begun(web, principal, waiting.next, here=driven is not None)


async def _waiting(
    web: Web, principal: Principal, items: Sequence[Item], memory: TurnMemory
) -> tuple[int, _Waiting]:
    """The first answer that something waits for; others were given before and are only told."""
    given = [index for index, item in enumerate(items) if item["type"] == ANSWER]
    for index in given:
        if waiting := await _found(web, principal, items[index]["approval_request_id"], memory):
            return index, waiting
    raise _not_pending(items[given[0]], given[0])


async def _found(
    web: Web, principal: Principal, id: str, memory: TurnMemory | None = None
) -> _Waiting | None:
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
    told = fold(record.entries)
    waits = any(one.id == call and one.state == "asked" for one in told.pending)
    run = RunId(thread, told.run)
    own: list[Entry] = own_entries(record.entries, run, behind=record.forked_at)
    # On a fork of the thread it is asked no more.
    if not waits or not own:
        return None
    return _Waiting(
        call, record.head, ResponseId(run, len(parts(own))), record.workflow, told.options
    )


def _refuse_news(request: Request, index: int) -> None:
    """Refuse what cannot be said to a run that stands in the middle of a call.

    Who sends no id sends the whole story again, with the answer behind it.
    """
    start = 0 if request.previous or request.conversation else index + 1
    for at, item in enumerate(request.items[start:], start):
        if item["type"] == "message" and item["role"] != "assistant":
            raise_invalid(
                "answer the request for approval first, and say more then", f"input[{at}]"
            )


async def _check_place(web: Web, principal: Principal, request: Request, waiting: _Waiting) -> None:
    """Refuse an answer that is said to belong elsewhere."""
    id = waiting.next
    before = str(ResponseId(id.run, id.part - 1))
    if request.previous not in ("", before):
        raise_invalid(
            f"the call is one of {before}, so this must go on from there", "previous_response_id"
        )
    if request.conversation:
        head = await conversation_of(web.services, principal, request.conversation)
        if head.id != id.run.thread:
            raise_invalid("the call is one of another conversation", "conversation")
    if waiting.options.store and not request.options.store:
        raise_invalid("the turn that this goes on with is kept", "store", "unsupported_value")
    if request.background and not waiting.options.store:
        raise_invalid(
            "the turn that this goes on with is not kept", "background", "unsupported_value"
        )


async def _answer(
    web: Web, principal: Principal, request: Request, waiting: _Waiting, index: int
) -> None:
    """Write the answer to the journal, with the options that hold from there on.

    Raises ApiError if somebody else has just answered, or it was cancelled, and Conflict if the
    run is held for long.
    """
    said = request.items[index]
    id = said["approval_request_id"]
    write = partial(
        answer,
        web.services,
        waiting.next.run,
        approved=said["approve"],
        by=principal.id,
        reason=said.get("reason", ""),
        call=waiting.call,
        options=merge_options(waiting.options, request),
        background=request.background,
        request=request.key,
    )

    async def once() -> None:
        try:
            await write()
        except Conflict as error:
            # Who has answered goes on with the run, and has it for as long as that takes.
            if await _is_answered(web, principal, id, waiting):
                raise TooLate(str(error)) from error
            raise

    try:
        await _once_free(once)
    except TooLate as error:
        raise _not_pending(said, index) from error


async def _is_answered(web: Web, principal: Principal, id: str, waiting: _Waiting) -> bool:
    """Whether the call does not wait any more. A thread that is where it was is not loaded."""
    store, thread = web.services.store, waiting.next.run.thread
    with suppress(NotFound):
        if (await retry_unavailable(lambda: store.thread(thread))).head == waiting.head:
            return False
    return await _found(web, principal, id) is None


def _not_pending(said: Item, index: int) -> ApiError:
    message = f"no call waits for the answer to {abbreviate(said['approval_request_id'])}"
    param = f"input[{index}].approval_request_id"
    return ApiError(400, message, code=NOT_PENDING, param=param)


async def _taken(web: Web, run: RunId) -> HeldRun | None:
    """The run, to be driven here; None if a worker was quicker, or will have to do it."""
    try:
        return await _once_free(partial(take, web.services, run))
    except (ServiceFault, Conflict) as error:
        log.info("run_not_taken", run=str(run), error=error)
        return None


async def _once_free(do: Callable[[], Awaitable[Result]]) -> Result:
    """Try for a moment: who answers at the same time, and maybe in vain, holds the run so long."""
    end = asyncio.get_running_loop().time() + TAKE_S
    while True:
        try:
            return await do()
        except TooLate:
            raise
        except Conflict:
            if asyncio.get_running_loop().time() >= end:
                raise
            await asyncio.sleep(POLL_INTERVAL_S)


async def _begun(
    web: Web, principal: Principal, id: ResponseId, *, here: bool = False
) -> StartedRun:
    reading, _ = await opened(web, principal, id, stored=False)
    return StartedRun(web, reading, here=here)
