"""Answers a call that waits for approval or for an answer, by an item in a request's input.

The run continues where it stopped; what follows is its next response. An answer counts once: a
second one finds no waiting call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, cast

from twelvefold.core import (
    ApprovalAnswered,
    Call,
    CallId,
    ChildAnswered,
    Entry,
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    Principal,
    RequestOptions,
    RunId,
    Segment,
    Thread,
    ThreadId,
    WaitEnded,
    WaitStarted,
    fold,
)
from twelvefold.core.answers import parse_answer, question_of
from twelvefold.engine import (
    HeldRun,
    answer,
    answer_below,
    answer_question,
    retry_unavailable,
    take,
)
from twelvefold.engine.children import root_of
from twelvefold.errors import (
    Conflict,
    InvalidAnswer,
    NotFound,
    RequestError,
    ServiceFault,
    TooLate,
)
from twelvefold.observe.log import get_logger
from twelvefold.web.history.thread_reader import ThreadReader
from twelvefold.web.http import ApiError, abbreviate, raise_invalid
from twelvefold.web.ids import (
    ResponseId,
    approval_id,
    parse_approval_id,
    question_id,
)
from twelvefold.web.projection.objects import label_of
from twelvefold.web.projection.output import makes_wait
from twelvefold.web.projection.response import next_part
from twelvefold.web.runs.create import (
    StartedRun,
    find_repeated_run,
    open_repeated,
    reserve_queue_slot,
    response_deleted,
    run_slot,
)
from twelvefold.web.runs.polling import poll_until
from twelvefold.web.runs.target import load_conversation
from twelvefold.web.schemas import (
    ANSWER,
    QUESTION,
    TurnRequest,
    answered_id,
    is_answer,
    merge_options,
)
from twelvefold.web.state import TurnMemory, Web, turn_memory
from twelvefold.web.streaming.lookup import entries_of_run, load_run, open_response

log = get_logger(__name__)
Result = TypeVar("Result")
NOT_PENDING = "approval_not_pending"
POLL_INTERVAL_S = 0.02
"""How often to try again while another process holds the run: it does for a moment only."""


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
            await _write_answer(web, principal, request, waiting, index)
        return await _open_next(web, principal, request, waiting, is_here=False)
    await _wait_for_drive(web, waiting)
    with web.executor.slot(principal):
        async with run_slot(web, principal, waiting.key_id, waiting.next.run) as slot:
            await _write_answer(web, principal, request, waiting, index)
            if held := await _claim_if_free(web, waiting.next.run):
                web.start_drive(held, memory.reservation)
            else:
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
    raise _not_pending(items[answers[0]], answers[0])


async def load_waiting(
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
        head = await retry_unavailable(lambda: store.thread(root.thread))
        if memory:
            await memory.hold(head.size)
        record = await retry_unavailable(lambda: store.load(root.thread))
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


async def _write_answer(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall, index: int
) -> None:
    """Append the answer, with the options that are valid from there on.

    Raises ApiError if the call was answered meanwhile or its run cancelled, and Conflict if the run
    is held for longer than `Waits.take_s`.
    """
    item = request.items[index]
    id = answered_id(item)
    write = _question_write if waiting.question else _approval_write
    write_answer = write(web, principal, request, waiting, item)
    if waiting.parent_call is not None:
        write_answer = _write_below(web, principal, request, waiting, item)

    async def attempt() -> None:
        try:
            await write_answer()
        except Conflict as error:
            # The process that has written another answer now drives the run and holds it.
            if await _is_answered(web, principal, id, waiting):
                raise TooLate(str(error)) from error
            raise

    try:
        await retry_while_held(web, attempt)
    except TooLate as error:
        raise _not_pending(item, index) from error
    except InvalidAnswer as error:
        raise_invalid(str(error), f"input[{index}].output", "invalid_answer")
    except RequestError as error:
        if isinstance(error, Conflict) or not item.get("arguments"):
            raise
        raise_invalid(str(error), f"input[{index}].arguments")


def _approval_write(
    web: Web,
    principal: Principal,
    request: TurnRequest,
    waiting: WaitingCall,
    item: Item,
    *,
    keeps_options: bool = False,
) -> Callable[[], Awaitable[None]]:
    return partial(
        answer,
        web.services,
        waiting.run,
        approved=item["approve"],
        by=principal.id,
        reason=item.get("reason", ""),
        arguments=item.get("arguments", ""),
        call=waiting.call,
        options=None if keeps_options else merge_options(waiting.options, request),
        background=request.background,
        request=request.key,
        claims=not request.background,
        key_id=principal.key_id,
    )


def _write_below(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall, item: Item
) -> Callable[[], Awaitable[None]]:
    """Return what writes the answer of a run below, and to the caller's run that there is one."""
    plain = replace(request, key=None, background=True)  # any process may continue that run
    if waiting.question:
        write = _question_write(web, principal, plain, waiting, item)
    else:
        write = _approval_write(web, principal, plain, waiting, item, keeps_options=True)
    answered = ChildAnswered(
        cast("CallId", waiting.parent_call),
        str(waiting.run),
        waiting.call,
        principal.id,
        waiting.question is None,
        bool(item.get("approve")),
        item.get("reason", ""),
        merge_options(waiting.options, request),
        request.background,
        principal.key_id,
    )
    claims = not request.background
    root = waiting.next.run
    return partial(
        answer_below, web.services, root, answered, write, request=request.key, claims=claims
    )


def _question_write(
    web: Web, principal: Principal, request: TurnRequest, waiting: WaitingCall, item: Item
) -> Callable[[], Awaitable[None]]:
    """Return what writes the answer to a question. The run keeps its options."""
    output, schema = item["output"], waiting.question.schema if waiting.question else None
    if not isinstance(output, str):
        output = "".join(str(part.get("text", "")) for part in output)
    return partial(
        answer_question,
        web.services,
        waiting.run,
        parse_answer(schema, output),
        by=principal.id,
        principal=principal.id,
        call=waiting.call,
        request=request.key,
        claims=not request.background,
        key_id=principal.key_id,
    )


async def _is_answered(web: Web, principal: Principal, id: str, waiting: WaitingCall) -> bool:
    """Return whether the call waits no longer. Loads the thread only if it has new entries."""
    store, thread = web.services.store, waiting.run.thread
    with suppress(NotFound):
        if (await retry_unavailable(lambda: store.thread(thread))).head == waiting.head:
            return False
    return await load_waiting(web, principal, id) is None


def _not_pending(item: Item, index: int) -> ApiError:
    message = f"no call waits for the answer to {abbreviate(answered_id(item))}"
    param = f"input[{index}].{'approval_request_id' if item['type'] == ANSWER else 'call_id'}"
    return ApiError(400, message, code=NOT_PENDING, param=param)


async def _claim_if_free(web: Web, run: RunId) -> HeldRun | None:
    """Claim the run; return None if a worker has claimed it first, or will claim it."""
    try:
        return await retry_while_held(web, partial(take, web.services, run))
    except (ServiceFault, Conflict) as error:
        log.info("run_not_taken", run=str(run), error=error)
        return None


async def retry_while_held(web: Web, attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Do something with a run, again for `Waits.take_s` while another request holds it.

    Raises Conflict.
    """
    end = asyncio.get_running_loop().time() + web.waits.take_s
    while True:
        try:
            return await attempt()
        except TooLate:
            raise
        except Conflict:
            if not await poll_until(end, POLL_INTERVAL_S):
                raise
