"""Answers a call that waits for approval or for an answer, by an item in a request's input.

The run continues where it stopped; what follows is its next response. An answer counts once: a
second one finds no waiting call.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from twelvefold.core import (
    ApprovalAnswered,
    ChildAnswered,
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    Principal,
    RunId,
    Segment,
    ThreadId,
    WaitEnded,
)
from twelvefold.engine import HeldRun, retry_unavailable, take
from twelvefold.errors import Conflict, NotFound, ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.history.thread_reader import ThreadReader
from twelvefold.web.http import ApiError, raise_invalid
from twelvefold.web.ids import ResponseId, approval_id, question_id
from twelvefold.web.projection.objects import label_of
from twelvefold.web.projection.output import makes_wait
from twelvefold.web.runs.answer_writes import (
    NOT_PENDING,
    not_pending,
    retry_while_held,
    write_answer,
)
from twelvefold.web.runs.create import (
    StartedRun,
    find_repeated_run,
    open_repeated,
    reserve_queue_slot,
    response_deleted,
    run_slot,
)
from twelvefold.web.runs.target import load_conversation
from twelvefold.web.runs.waiting_call import WaitingCall, check_tool_allowed, load_waiting
from twelvefold.web.schemas import TurnRequest, answered_id, is_answer
from twelvefold.web.state import TurnMemory, Web, turn_memory
from twelvefold.web.streaming.lookup import load_run, open_response

log = get_logger(__name__)


async def answer_approval(web: Web, principal: Principal, request: TurnRequest) -> StartedRun:
    """Write the answer and continue the run here. Raises ApiError if no call waits for it."""
    if repeated := await _find_repeated(web, principal, request):
        return repeated
    try:
        with turn_memory(web.executor.memory, principal, 0) as memory:
            return await _continue(web, principal, request, memory)
    except ApiError as error:
        # The same request may have been made at the same time.
        if error.code == NOT_PENDING and (
            repeated := await _find_repeated(web, principal, request)
        ):
            return repeated
        raise


async def _find_repeated(web: Web, principal: Principal, request: TurnRequest) -> StartedRun | None:
    """Return the response of this request if it was made before with its idempotency key."""
    run = await find_repeated_run(web, principal, request.key)
    if run is None:
        return None
    requests = {answered_id(item) for item in request.items if is_answer(item)}
    try:
        part = await _find_answered_part(web, principal, run, requests)
    except NotFound as error:
        raise response_deleted() from error
    return await open_repeated(web, principal, ResponseId(run, part))


async def _find_answered_part(
    web: Web, principal: Principal, run: RunId, requests: set[str]
) -> int:
    """Return which response of the run an answer to one of these requests has started.

    Reads the journal window by window. Raises NotFound.
    """
    store = web.services.store
    record = await load_run(store, principal, run)
    head = await retry_unavailable(partial(store.thread, run.thread))
    own = (Segment(head.id, head.forked_at, head.head),)
    reader = ThreadReader(store, head, own, frozenset())
    answered, part, before = -1, -1, None
    async for entry in reader.entries(after=record.began - 1, to=record.last_position):
        event = entry.event
        if isinstance(event, ItemsAdded | ItemRemoved):
            continue
        if before is None or makes_wait(before):
            part += 1
        if _answer_id(run.thread, event) in requests:
            answered = part
        before = event
    if answered < 0:
        raise NotFound(f"no response of run {run}")
    return answered


def _answer_id(thread: ThreadId, event: Event) -> str:
    """Return the id of the item that the event is the answer to, "" if it is none."""
    match event:
        case ApprovalAnswered(call=call):
            return approval_id(thread, call)
        case WaitEnded(call=call, reason="answer"):
            return question_id(thread, call)
        case ChildAnswered(run=run, child_call=call):
            name = approval_id if event.is_approval else question_id
            return name(RunId.parse(run).thread, call)
        case _:
            return ""


async def _continue(
    web: Web, principal: Principal, request: TurnRequest, memory: TurnMemory
) -> StartedRun:
    index, waiting = await _find_waiting(web, principal, request.items, memory)
    if waiting.workflow != request.workflow.name:
        raise_invalid(f"must be {waiting.workflow!r}, the workflow of the call", "model")
    if request.options.model not in ("", waiting.options.model):
        label = label_of(waiting.workflow, waiting.options)
        raise_invalid(f"must be {label!r}, the model of the run that waits", "model")
    check_tool_allowed(request.allowed_tools, waiting)
    _check_no_message(request, index)
    await _check_target(web, principal, request, waiting)
    if request.background:
        async with reserve_queue_slot(web, principal):
            await write_answer(web, principal, request, waiting, index)
        return await _open_next(web, principal, request, waiting, is_here=False)
    await _wait_for_drive(web, waiting)
    with web.executor.slot(principal):
        async with run_slot(web, principal, waiting.key_id, waiting.next.run) as slot:
            await write_answer(web, principal, request, waiting, index)
            if held := await _claim_if_free(web, waiting.next.run):
                web.start_drive(held, memory.reservation)
            elif slot is not None:
                await slot.free()
    # After the slot: with it the run would count twice while its response is read.
    return await _open_next(web, principal, request, waiting, is_here=held is not None)


async def _wait_for_drive(web: Web, waiting: WaitingCall) -> None:
    """Wait a moment until this process no longer drives the caller's run with those below it.

    It may have just asked the person, and still have its slot.
    """
    drive = web.executor.drive_of(waiting.next.run)
    if drive and waiting.parent_call is not None:
        await asyncio.wait([drive], timeout=web.waits.take_s)


async def _open_next(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall, *, is_here: bool
) -> StartedRun:
    reader, _ = await open_response(web, principal, waiting.next, only_stored=False)
    is_private = request.key is None and not reader.view.started.options.store
    return StartedRun(reader, ends_with_client=is_here and is_private)


# --- the waiting call ---------------------------------------------------------------------------


async def _find_waiting(
    web: Web, principal: Principal, items: Sequence[Item], memory: TurnMemory
) -> tuple[int, WaitingCall]:
    """Return the first answer that a call waits for; the others repeat earlier ones."""
    answers = [index for index, item in enumerate(items) if is_answer(item)]
    for index in answers:
        if waiting := await load_waiting(web, principal, answered_id(items[index]), memory):
            return index, waiting
    raise not_pending(items[answers[0]], answers[0])


def _check_no_message(request: TurnRequest, index: int) -> None:
    """Raise ApiError for a new message: the run stands in the middle of a call.

    A request without an id repeats the whole conversation, with the answer at its end.
    """
    start = 0 if request.previous or request.conversation else index + 1
    for at, item in enumerate(request.items[start:], start):
        if item["type"] == "message" and item["role"] != "assistant":
            raise_invalid(
                "answer the approval request before sending a new message",
                f"input[{at}]",
            )


async def _check_target(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall
) -> None:
    """Raise ApiError if the request names another response or conversation than the call's."""
    id = waiting.next
    before = str(ResponseId(id.run, id.part - 1))
    if request.previous not in ("", before) and not _is_before(request.previous, waiting):
        raise_invalid(f"must be {before}, the response with the call", "previous_response_id")
    if request.conversation:
        head = await load_conversation(web.services, principal, request.conversation)
        if head.id != id.run.thread:
            raise_invalid("the call is in another conversation", "conversation")
    if waiting.options.store and not request.options.store:
        raise_invalid("must be true: the run is stored", "store", "unsupported_value")
    if request.background and not waiting.options.store:
        raise_invalid(
            "must be false: the run is not stored",
            "background",
            "unsupported_value",
        )


def _is_before(previous: str, waiting: WaitingCall) -> bool:
    """Return whether a response is one of those before the next one of a caller's run.

    Other runs below it may have asked since the response with the call.
    """
    if waiting.parent_call is None:
        return False
    with suppress(NotFound):
        id = ResponseId.parse(previous)
        return id.run == waiting.next.run and id.part < max(waiting.next.part, 1)
    return False


# --- the answer ---------------------------------------------------------------------------------


async def _claim_if_free(web: Web, run: RunId) -> HeldRun | None:
    """Claim the run; return None if a worker has claimed it first, or will claim it."""
    try:
        return await retry_while_held(web, partial(take, web.services, run))
    except (ServiceFault, Conflict) as error:
        log.info("run_not_taken", run=str(run), error=error)
        return None
