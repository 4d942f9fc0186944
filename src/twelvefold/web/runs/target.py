"""Resolves the thread and position that a turn continues: a new thread, an end, or a fork.

A turn may continue from any response of a thread. From the last one the thread grows, from an
earlier one a fork of it does. A turn of a conversation always goes to the end of its thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec
from msgspec import structs

from twelvefold.core import (
    Entry,
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    OutcomeUnknown,
    Principal,
    RunFinished,
    RunRecord,
    RunStarted,
    Segment,
    Store,
    ThreadHead,
    ThreadId,
)
from twelvefold.engine import INPUT_BYTES, RUN_ENTRIES, Services, check_room, retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.history.call_history import load_call_history
from twelvefold.web.history.item_pages import ItemPages, ItemView, open_item_pages
from twelvefold.web.history.thread_reader import ThreadReader, open_thread_reader
from twelvefold.web.http import ApiError, abbreviate, raise_invalid
from twelvefold.web.ids import ResponseId, parse_conversation_id, parse_item_id
from twelvefold.web.projection.output import makes_wait
from twelvefold.web.runs.visibility import load_visible_head
from twelvefold.web.schemas import (
    NO_CALLS,
    REFERENCE,
    CallHistory,
    Choices,
    TurnRequest,
    brings_calls,
    reject_unaccepted,
)
from twelvefold.web.state import TurnMemory, Web
from twelvefold.web.streaming.lookup import load_run


@dataclass(frozen=True, slots=True)
class ThreadTarget:
    """The thread that a turn continues (None: a new one), from the position `end`.

    `fork`: on a fork of the thread at `end`, else on the thread itself. `calls`: the earlier calls,
    for a turn that brings results of calls.
    """

    thread: ThreadId | None = None
    fork: bool = False
    end: int = 0
    calls: CallHistory = NO_CALLS

    def as_fork(self) -> "ThreadTarget":
        """Return the same position, but on a fork of the thread."""
        return replace(self, fork=True)


NEW_THREAD = ThreadTarget()


async def resolve_target(
    services: Services, principal: Principal, request: TurnRequest, memory: TurnMemory
) -> ThreadTarget:
    """Return the target of a turn; `memory` holds the bytes of the thread. Raises ApiError."""
    if request.previous:
        return await _resolve_response(services, principal, request, memory)
    if request.conversation:
        return await _resolve_conversation(services, principal, request, memory)
    return NEW_THREAD


# --- in a conversation ------------------------------------------------------------------------


async def _resolve_conversation(
    services: Services, principal: Principal, request: TurnRequest, memory: TurnMemory
) -> ThreadTarget:
    head = await load_conversation(services, principal, request.conversation)
    # A journal only grows, so a thread that is full according to its row need not be loaded.
    check_room(head.head, head.size or 0, 0, services.limits, entries=RUN_ENTRIES)
    await memory.hold(head.size)
    if not brings_calls(request.items):
        return ThreadTarget(head.id)
    calls = await _load_calls(services, head, head.head)
    return ThreadTarget(head.id, end=head.head, calls=calls)


async def _load_calls(services: Services, head: ThreadHead, end: int) -> CallHistory:
    """Return the calls of a conversation up to a position, also those of deleted responses."""
    reader = await open_thread_reader(services.store, head)
    return await load_call_history(reader, to=end, with_deleted=True)


async def load_conversation(services: Services, principal: Principal, id: str) -> ThreadHead:
    """Return a conversation of the principal. Raises ApiError with 404."""
    try:
        return await load_visible_head(services.store, principal, parse_conversation_id(id))
    except NotFound:
        message = f"there is no conversation {abbreviate(id)}"
        raise ApiError(404, message, code="conversation_not_found", param="conversation") from None


# --- after a response -------------------------------------------------------------------------


async def _resolve_response(
    services: Services, principal: Principal, request: TurnRequest, memory: TurnMemory
) -> ThreadTarget:
    store = services.store
    try:
        id = ResponseId.parse(request.previous)
        run = await load_run(store, principal, id.run)
        await memory.hold(run.thread_size)
        head = await retry_unavailable(partial(store.thread, id.run.thread))
        started, last = await _load_part(store, head, run, id)
    except NotFound:
        raise previous_not_found(request.previous) from None
    if run.workflow != request.workflow.name:
        raise_invalid(
            f"must be {run.workflow!r}, the workflow of the previous response; use the same model",
            "model",
        )
    _check_ended(last.event)
    end, calls = last.position, NO_CALLS
    if brings_calls(request.items):
        calls = await _load_calls(services, head, end)
    # A conversation grows only by turns that name it, a thread only by turns that are stored.
    is_end = isinstance(last.event, RunFinished) and end == head.head
    grows = is_end and not started.options.conversation and request.options.store
    return ThreadTarget(head.id, not grows, end, calls)


def previous_not_found(id: str) -> ApiError:
    """Return the error for a previous response that does not exist."""
    message = f"there is no response {abbreviate(id)}"
    return ApiError(400, message, code="previous_response_not_found", param="previous_response_id")


async def _load_part(
    store: Store, head: ThreadHead, run: RunRecord, id: ResponseId
) -> tuple[RunStarted, Entry]:
    """Return how a response's run started, and the response's last entry.

    Raises NotFound, also for a response with `store` false.
    """
    own = (Segment(head.id, head.forked_at, head.head),)
    reader = ThreadReader(store, head, own, frozenset())
    started: RunStarted | None = None
    last: Entry | None = None
    part = -1
    async for entry in reader.entries(after=run.began - 1, to=run.last_position):
        if entry.run != id.run.ordinal:
            break  # of a run that has started since `run` was read
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
        raise_invalid(
            "the outcome of its last call is unknown; an operator must settle it first", at, code
        )
    if not (isinstance(last, RunFinished) or makes_wait(last)):
        raise_invalid("the previous response is not over", at, code)


# --- references -------------------------------------------------------------------------------


async def resolve_references(
    web: Web,
    principal: Principal,
    items: Sequence[Item],
    choices: Choices,
    at: str = "input",
) -> tuple[Item, ...]:
    """Return the items with each reference replaced by the item that it names.

    Raises ApiError, also for images and files that none of the models in `choices` takes.
    """
    pages: dict[ThreadId, ItemPages] = {}
    found: list[Item] = []
    size = 0
    for index, item in enumerate(items):
        if item["type"] == REFERENCE:
            item = await _load_item(web, principal, item["id"], f"{at}[{index}].id", pages)
            # A reference is short and its item may be long, so the sum is checked too.
            size += len(msgspec.json.encode(item))
            if size > INPUT_BYTES:
                message = f"the referenced items exceed {INPUT_BYTES} bytes"
                raise_invalid(message, f"{at}[{index}].id", "input_too_large")
        found.append(item)
    places = [f"{at}[{index}]" for index in range(len(found))]
    reject_unaccepted(found, choices, places)
    return tuple(found)


async def _load_item(
    web: Web,
    principal: Principal,
    id: str,
    at: str,
    pages: dict[ThreadId, ItemPages],
) -> Item:
    try:
        thread = parse_item_id(id).thread
        if thread not in pages:
            pages[thread] = await _open_pages(web, principal, thread)
        found = await pages[thread].item(id)
    except NotFound:
        raise_invalid(f"there is no item {abbreviate(id)}", at, "item_not_found")
    return {key: value for key, value in found.items() if value is not None}


async def _open_pages(web: Web, principal: Principal, thread: ThreadId) -> ItemPages:
    """Return the stored items of a thread. Raises NotFound."""
    store, settings = web.services.store, web.settings
    head = await load_visible_head(store, principal, thread)
    # The model gets images and files, also those that callers are not shown again.
    view = ItemView(settings.tool_items, settings.tool_outputs, "full", only_stored=True)
    return await open_item_pages(store, head, view)
