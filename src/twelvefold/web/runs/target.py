"""Where a turn goes: on a new thread, behind the last run of one, or on a fork of it.

A response is a point in a conversation, and one may go on from any of them: behind the last one the
thread grows, from any other a fork does. A conversation has one end, so its turns come one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from msgspec import structs

from twelvefold.core.events import (
    ApprovalAsked,
    Entry,
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
)
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Principal, RunRecord, Segment, Store, ThreadHead
from twelvefold.engine.commands import INPUT_BYTES, RUN_ENTRIES, check_room
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.errors import NotFound
from twelvefold.web.history.call_history import history_of
from twelvefold.web.history.item_pages import ItemPages, ItemView, items_of
from twelvefold.web.history.thread_reader import ThreadReader, reader_of
from twelvefold.web.http.errors import ApiError, abbreviate, raise_invalid
from twelvefold.web.ids import ResponseId, parse_conversation_id, parse_item_id
from twelvefold.web.projection.response import makes_wait
from twelvefold.web.runs.visibility import visible_head
from twelvefold.web.schemas.call_results import NO_CALLS, CallHistory, brings_calls
from twelvefold.web.schemas.items import REFERENCE, refuse_images
from twelvefold.web.schemas.responses import Request
from twelvefold.web.state import Web
from twelvefold.web.streaming.reader import run_of
from twelvefold.web.turn_memory import TurnMemory


@dataclass(frozen=True, slots=True)
class ThreadTarget:
    """Where a turn goes. `end` is the position that it goes on from, if it matters.

    `fork`: on a thread of its own from there, not behind the end of that one.
    """

    thread: ThreadId | None = None
    fork: bool = False
    end: int = 0
    calls: CallHistory = NO_CALLS

    def as_fork(self) -> "ThreadTarget":
        """The same point of the conversation, but on a thread of its own."""
        return replace(self, fork=True)


NEW = ThreadTarget()


async def resolve_target(
    services: Services, principal: Principal, request: Request, memory: TurnMemory
) -> ThreadTarget:
    """Where the turn that is asked for goes; `memory` holds what is loaded of it then.

    Raises ApiError.
    """
    if request.previous:
        return await _behind_response(services, principal, request, memory)
    if request.conversation:
        return await _in_conversation(services, principal, request, memory)
    return NEW


# --- in a conversation ------------------------------------------------------------------------


async def _in_conversation(
    services: Services, principal: Principal, request: Request, memory: TurnMemory
) -> ThreadTarget:
    head = await conversation_of(services, principal, request.conversation)
    # A journal only grows, so what is full by what its row says need not be loaded.
    check_room(head.head, head.size or 0, 0, services.limits, entries=RUN_ENTRIES)
    await memory.hold(head.size)
    if not brings_calls(request.items):
        return ThreadTarget(head.id)
    calls = await _calls_before(services, head, head.head)
    return ThreadTarget(head.id, end=head.head, calls=calls)


async def _calls_before(services: Services, head: ThreadHead, end: int) -> CallHistory:
    """The calls of a conversation up to a position, those of deleted responses included."""
    reader = await reader_of(services.store, head)
    return await history_of(reader, to=end, with_deleted=True)


async def conversation_of(services: Services, principal: Principal, id: str) -> ThreadHead:
    """A conversation of the principal's. Raises ApiError with 404."""
    try:
        return await visible_head(services.store, principal, parse_conversation_id(id))
    except NotFound:
        message = f"there is no conversation {abbreviate(id)}"
        raise ApiError(404, message, code="conversation_not_found", param="conversation") from None


# --- behind a response ------------------------------------------------------------------------


async def _behind_response(
    services: Services, principal: Principal, request: Request, memory: TurnMemory
) -> ThreadTarget:
    store = services.store
    try:
        id = ResponseId.parse(request.previous)
        run = await run_of(store, principal, id.run)
        await memory.hold(run.thread_size)
        head = await retry_unavailable(lambda: store.thread(id.run.thread))
        started, last = await _part(store, head, run, id)
    except NotFound:
        raise no_previous(request.previous) from None
    if run.workflow != request.workflow.name:
        raise_invalid(
            f"the previous response is of {run.workflow!r}, and so must be this one", "model"
        )
    _check_ended(last.event)
    end, calls = last.position, NO_CALLS
    if brings_calls(request.items):
        calls = await _calls_before(services, head, end)
    # A conversation grows only where it is named; a turn that is not to be kept leaves no trace.
    grows = isinstance(last.event, RunFinished) and not started.options.conversation
    grows = grows and end == head.head and request.options.store
    return ThreadTarget(head.id, not grows, end, calls)


def no_previous(id: str) -> ApiError:
    """There is nothing to go on from."""
    message = f"there is no response {abbreviate(id)}"
    return ApiError(400, message, code="previous_response_not_found", param="previous_response_id")


async def _part(
    store: Store, head: ThreadHead, run: RunRecord, id: ResponseId
) -> tuple[RunStarted, Entry]:
    """How a response's run started, and the response's last entry.

    Raises NotFound, also if it was not to be kept.
    """
    own = (Segment(head.id, head.forked_at, head.head),)
    reader = ThreadReader(store, head, own, frozenset())
    started: RunStarted | None = None
    last: Entry | None = None
    part = -1
    async for entry in reader.entries(after=run.began - 1, to=run.last_position):
        if isinstance(entry.event, ItemsAdded | ItemRemoved):
            continue
        if isinstance(entry.event, RunStarted):
            started = structs.replace(entry.event, items=())
        if last is None or makes_wait(last.event):
            part += 1
        if part > id.part:
            break
        last = entry
    if last is None or part < id.part or started is None or not started.options.store:
        raise NotFound(f"no response {id}")
    return started, last


def _check_ended(last: Event) -> None:
    at, code = "previous_response_id", "previous_response_not_completed"
    if isinstance(last, OutcomeUnknown):
        raise_invalid("an operator has to settle what came of its last call first", at, code)
    if not isinstance(last, RunFinished | ApprovalAsked):
        raise_invalid("it is not over yet", at, code)


# --- references -------------------------------------------------------------------------------


async def resolved(
    web: Web, principal: Principal, items: Sequence[Item], at: str = "input"
) -> tuple[Item, ...]:
    """The items, each reference replaced by what its reader may see of it. Raises ApiError."""
    known: dict[ThreadId, ItemPages] = {}
    found: list[Item] = []
    size = 0
    for index, item in enumerate(items):
        if item["type"] == REFERENCE:
            item = await _referred(web, principal, item["id"], f"{at}[{index}].id", known)
            # A reference is short, and what it stands for may be long: many of them are very long.
            size += len(msgspec.json.encode(item))
            if size > INPUT_BYTES:
                message = f"what is referred to is longer than {INPUT_BYTES} bytes"
                raise_invalid(message, f"{at}[{index}].id", "input_too_large")
        found.append(item)
    if not web.takes_images:
        refuse_images(found, [f"{at}[{index}]" for index in range(len(found))])
    return tuple(found)


async def _referred(
    web: Web,
    principal: Principal,
    id: str,
    at: str,
    known: dict[ThreadId, ItemPages],
) -> Item:
    try:
        thread = parse_item_id(id).thread
        if thread not in known:
            known[thread] = await _items(web, principal, thread)
        found = await known[thread].item(id)
    except NotFound:
        raise_invalid(f"there is no item {abbreviate(id)}", at, "item_not_found")
    return {key: value for key, value in found.items() if value is not None}


async def _items(web: Web, principal: Principal, thread: ThreadId) -> ItemPages:
    """The items of a thread that were to be kept. Raises NotFound."""
    store, how = web.services.store, web.settings
    head = await visible_head(store, principal, thread)
    view = ItemView(how.tool_items, how.tool_outputs, kept_only=True)
    return await items_of(store, head, view)
