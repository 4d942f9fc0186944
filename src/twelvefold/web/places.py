"""Where a turn goes: on a new thread, behind the last run of one, or on a fork of it.

A response is a point in a conversation, and one may go on from any of them: behind the last one the
thread grows, from any other a fork does. A conversation has one end, so its turns come one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from twelvefold.core.events import (
    ApprovalAsked,
    Entry,
    Event,
    Item,
    ItemsAdded,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
)
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Principal, ThreadHead, ThreadRecord
from twelvefold.engine.commands import INPUT_BYTES, RUN_ENTRIES, check_room
from twelvefold.engine.patience import patiently
from twelvefold.engine.services import Services
from twelvefold.errors import NotFound
from twelvefold.web.call_results import NO_CALLS, CallHistory, call_history
from twelvefold.web.checks import refuse, shown
from twelvefold.web.context import Web
from twelvefold.web.faults import ApiError
from twelvefold.web.ids import ResponseId, parse_conversation_id, parse_item_id
from twelvefold.web.inputs import REFERENCE, RESULT, refuse_images
from twelvefold.web.items import item_list
from twelvefold.web.kept import head_of, kept_of
from twelvefold.web.reading import PATIENCE_S, own_entries, run_of
from twelvefold.web.requests import Request
from twelvefold.web.run_places import TurnMemory
from twelvefold.web.wire import parts


@dataclass(frozen=True, slots=True)
class Place:
    """Where a turn goes. `end` is the position that it goes on from, if it matters.

    `fork`: on a thread of its own from there, not behind the end of that one.
    """

    thread: ThreadId | None = None
    fork: bool = False
    end: int = 0
    calls: CallHistory = NO_CALLS

    def beside(self) -> "Place":
        """The same point of the conversation, but on a thread of its own."""
        return replace(self, fork=True)


NEW = Place()


async def place_of(
    services: Services, principal: Principal, request: Request, memory: TurnMemory
) -> Place:
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
) -> Place:
    head = await conversation_of(services, principal, request.conversation)
    # A journal only grows, so what is full by what its row says need not be loaded.
    check_room(head.head, head.size or 0, 0, services.limits, entries=RUN_ENTRIES)
    await memory.hold(head.size)
    thread = head.id
    # Only calls and results have to be compared with those before.
    if not any(item["type"] in (RESULT, "function_call") for item in request.items):
        return Place(thread)
    record = await patiently(lambda: services.store.load(thread), PATIENCE_S)
    return Place(thread, end=record.head, calls=call_history(record.entries))


async def conversation_of(services: Services, principal: Principal, id: str) -> ThreadHead:
    """A conversation of the principal's. Raises ApiError with 404."""
    try:
        thread = parse_conversation_id(id)
        return await head_of(services.store, principal, thread)
    except NotFound:
        message = f"there is no conversation {shown(id)}"
        raise ApiError(404, message, code="conversation_not_found", param="conversation") from None


# --- behind a response ------------------------------------------------------------------------


async def _behind_response(
    services: Services, principal: Principal, request: Request, memory: TurnMemory
) -> Place:
    try:
        id = ResponseId.parse(request.previous)
        run = await run_of(services.store, principal, id.run)
        await memory.hold(run.thread_size)
        record = await patiently(lambda: services.store.load(id.run.thread), PATIENCE_S)
        started, part = _part(record, id)
    except NotFound:
        raise no_previous(request.previous) from None
    if run.workflow != request.workflow.name:
        refuse(f"the previous response is of {run.workflow!r}, and so must be this one", "model")
    _check_ended(part[-1].event)
    end = part[-1].position
    before = [entry for entry in record.entries if entry.position <= end]
    # A conversation grows only where it is named; a turn that is not to be kept leaves no trace.
    grows = isinstance(part[-1].event, RunFinished) and not started.asked.conversation
    grows = grows and end == record.head and request.asked.store
    return Place(id.run.thread, not grows, end, call_history(before))


def no_previous(id: str) -> ApiError:
    """There is nothing to go on from."""
    message = f"there is no response {shown(id)}"
    return ApiError(400, message, code="previous_response_not_found", param="previous_response_id")


def _part(record: ThreadRecord, id: ResponseId) -> tuple[RunStarted, list[Entry]]:
    """How a response's run started, and the response's entries.

    Raises NotFound, also if it was not to be kept or its thread was deleted.
    """
    entries = own_entries(record.entries, id.run, behind=record.forked_at)
    split = parts(entries)
    started = entries[0].event if entries else None
    if record.deleted or len(split) <= id.part:
        raise NotFound(f"no response {id}")
    if not isinstance(started, RunStarted) or not started.asked.store:
        raise NotFound(f"no response {id}")
    return started, split[id.part]


def _check_ended(last: Event) -> None:
    at, code = "previous_response_id", "previous_response_not_completed"
    if isinstance(last, OutcomeUnknown):
        refuse("an operator has to settle what came of its last call first", at, code)
    if not isinstance(last, RunFinished | ApprovalAsked):
        refuse("it is not over yet", at, code)


# --- references -------------------------------------------------------------------------------


async def resolved(
    web: Web, principal: Principal, items: Sequence[Item], at: str = "input"
) -> tuple[Item, ...]:
    """The items, each reference replaced by what its reader may see of it. Raises ApiError."""
    known: dict[ThreadId, dict[str, Item]] = {}
    found: list[Item] = []
    size = 0
    for index, item in enumerate(items):
        if item["type"] == REFERENCE:
            item = await _referred(web, principal, item["id"], f"{at}[{index}].id", known)
            # A reference is short, and what it stands for may be long: many of them are very long.
            size += len(msgspec.json.encode(item))
            if size > INPUT_BYTES:
                message = f"what is referred to is longer than {INPUT_BYTES} bytes"
                refuse(message, f"{at}[{index}].id", "input_too_large")
        found.append(item)
    if not web.takes_images:
        refuse_images(found, [f"{at}[{index}]" for index in range(len(found))])
    return tuple(found)


async def _referred(
    web: Web,
    principal: Principal,
    id: str,
    at: str,
    known: dict[ThreadId, dict[str, Item]],
) -> Item:
    try:
        thread = parse_item_id(id).thread
        if thread not in known:
            known[thread] = await _listed(web, principal, thread)
        found = known[thread].get(id)
    except NotFound:
        found = None
    if found is None:
        refuse(f"there is no item {shown(id)}", at, "item_not_found")
    return {key: value for key, value in found.items() if value is not None}


async def _listed(web: Web, principal: Principal, thread: ThreadId) -> dict[str, Item]:
    """The items of a thread by their ids. Raises NotFound."""
    services, how = web.services, web.settings
    await head_of(services.store, principal, thread)
    record = await patiently(lambda: services.store.load(thread), PATIENCE_S)
    kept = without_unkept((await kept_of(services.store, record)).entries)
    items = item_list(thread, kept, tool_items=how.tool_items, tool_outputs=how.tool_outputs)
    return {item["id"]: item for item in items}


def without_unkept(entries: Sequence[Entry]) -> list[Entry]:
    """The entries without those of runs that were not to be kept."""
    kept: list[Entry] = []
    keep = True
    for entry in entries:
        if isinstance(entry.event, RunStarted):
            keep = entry.event.asked.store
        elif isinstance(entry.event, ItemsAdded):
            keep = True
        if keep:
            kept.append(entry)
    return kept
