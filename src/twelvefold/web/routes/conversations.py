"""`/v1/conversations`: a conversation is a thread, with or without a run.

Adding and removing items appends entries to its journal; what a model has read before does not
change. The list of conversations, the journal and forks are no part of the OpenAI API.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core.events import Entry, Event, ItemRemoved, ItemsAdded, encode, size_of
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import OVER, LatestRun, ListedThread, Store, ThreadHead
from twelvefold.engine.commands import check_room, delete_thread, fork_at
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import Conflict, DuplicateRow
from twelvefold.web.history.item_pages import ItemPages, ItemView, open_item_pages
from twelvefold.web.history.journal import Journal
from twelvefold.web.history.thread_reader import load_call_history, open_thread_reader
from twelvefold.web.http.authentication import principal_of
from twelvefold.web.http.client_watch import ClientWatch
from twelvefold.web.http.errors import ApiError, json_response, raise_invalid
from twelvefold.web.http.pagination import (
    check_oldest_first,
    list_object,
    parse_integer,
    parse_page,
)
from twelvefold.web.ids import ResponseId, conversation_id, parse_conversation_id
from twelvefold.web.projection.items import input_items
from twelvefold.web.runs.polling import poll_until
from twelvefold.web.runs.target import resolve_references
from twelvefold.web.runs.visibility import load_visible_head
from twelvefold.web.schemas.call_results import NO_CALLS, brings_calls, without_repeats
from twelvefold.web.schemas.conversations import (
    CreateConversation,
    CreateItems,
    ForkConversation,
    UpdateConversation,
)
from twelvefold.web.schemas.decode import decode
from twelvefold.web.schemas.http_request import json_body, tool_items_of
from twelvefold.web.schemas.items import plain_items
from twelvefold.web.schemas.types import Json
from twelvefold.web.state import Web, client_watch, web_of

MAX_ENTRIES = 500
"""The most entries on a page of the journal."""
POLL_INTERVAL_S = 0.2
"""How often a request checks whether the run under way is over."""


# --- a conversation -----------------------------------------------------------------------------


async def create(request: Request) -> Response:
    """`POST /v1/conversations`."""
    web, principal = web_of(request), principal_of(request)
    body = decode(await json_body(request, may_be_empty=True), CreateConversation)
    items = await resolve_references(web, principal, plain_items(body.items or ()), "items")
    items = without_repeats(items, at="items")
    store, thread = web.services.store, web.services.ids.thread()
    about = body.metadata or {}
    added = ItemsAdded(items)
    check_room(0, 0, size_of(encode(added)[2]), web.services.limits)
    with suppress(DuplicateRow):  # an earlier try has written it, but its answer was lost
        await retry_unavailable(lambda: store.new_thread(thread, principal.id, "", about))
    if items:
        await _append(store, thread, 0, 0, 0, added)
    return json_response(_conversation(await store.thread(thread)))


async def retrieve(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}`, with the fields that the page needs."""
    web, head = web_of(request), await _head(request)
    return await _load_row(web, head.id)


async def update(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}`: replaces the metadata."""
    web, head = web_of(request), await _head(request)
    body = decode(await json_body(request), UpdateConversation)
    await web.services.store.describe(head.id, body.metadata or {})
    return json_response(_conversation(await web.services.store.thread(head.id)))


async def delete(request: Request) -> Response:
    """`DELETE /v1/conversations/{conversation_id}`; effects of its tools are not undone."""
    web, head = web_of(request), await _head(request)
    await delete_thread(web.services, head.id)
    id = conversation_id(head.id)
    return json_response({"id": id, "object": "conversation.deleted", "deleted": True})


def _conversation(head: ThreadHead) -> Json:
    return {
        "id": conversation_id(head.id),
        "object": "conversation",
        "created_at": head.created_at_us // 1_000_000,
        "metadata": dict(head.metadata),
    }


async def _head(request: Request) -> ThreadHead:
    """Return the conversation that the path names. Raises NotFound."""
    thread = parse_conversation_id(request.path_params["conversation_id"])
    return await load_visible_head(web_of(request).services.store, principal_of(request), thread)


async def _load_row(web: Web, thread: ThreadId) -> Response:
    """Return a conversation with all its fields, as the list has it."""
    listed = await retry_unavailable(lambda: web.services.store.listed_thread(thread))
    return json_response(_row(listed))


# --- its items ----------------------------------------------------------------------------------


async def list_items(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/items`."""
    page = parse_page(request.query_params)
    return json_response(await (await _items(request)).page(page))


async def get_item(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/items/{item_id}`."""
    return json_response(await (await _items(request)).item(request.path_params["item_id"]))


async def _items(request: Request) -> ItemPages:
    web, head = web_of(request), await _head(request)
    settings, wanted = web.settings, tool_items_of(request.headers)
    view = ItemView(settings.tool_items, settings.tool_outputs, wanted)
    return await open_item_pages(web.services.store, head, view)


async def create_items(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/items`: appends items."""
    web, principal, head = web_of(request), principal_of(request), await _head(request)
    body = decode(await json_body(request), CreateItems)
    items = await resolve_references(web, principal, plain_items(body.items), "items")

    async def build_event(head: ThreadHead) -> Event:
        calls = NO_CALLS
        if brings_calls(items):
            calls = await load_call_history(await open_thread_reader(web.services.store, head))
        return ItemsAdded(without_repeats(items, calls, at="items"))

    entry = await _append_between_runs(web, head, build_event, client_watch(request))
    return json_response(list_object(input_items(head.id, entry), has_more=False))


async def delete_item(request: Request) -> Response:
    """`DELETE /v1/conversations/{conversation_id}/items/{item_id}`."""
    web, head = web_of(request), await _head(request)

    async def build_event(_: ThreadHead) -> Event:
        item = await (await _items(request)).item(request.path_params["item_id"])
        return ItemRemoved(item["id"])

    await _append_between_runs(web, head, build_event, client_watch(request))
    return json_response(_conversation(head))


async def _append_between_runs(
    web: Web,
    head: ThreadHead,
    build_event: Callable[[ThreadHead], Awaitable[Event]],
    client: ClientWatch,
) -> Entry:
    """Append an entry as soon as the run under way is over.

    Raises ApiError after `Waits.thread_s`, ClientDisconnect if the client leaves meanwhile, and
    ConversationTooLarge.
    """
    store, end = web.services.store, asyncio.get_running_loop().time() + web.waits.thread_s

    async def is_free() -> bool:
        await client.check()
        latest = (await retry_unavailable(lambda: store.listed_thread(head.id))).latest
        return latest is None or latest.status in OVER

    while True:
        event = await build_event(head)
        run, size = await store.run_at(head), await store.size_of(await store.lineage(head))
        check_room(head.head, size, size_of(encode(event)[2]), web.services.limits)
        try:
            return await _append(store, head.id, head.head, size, run, event)
        except Conflict as error:
            # Nothing else of the conversation is read until the run under way is over.
            if not await poll_until(end, POLL_INTERVAL_S, is_free):
                message = "a turn of this conversation is not over; try again in a moment"
                raise ApiError(409, message, code="conversation_locked", wait_s=1) from error
        head = await store.thread(head.id)


async def _append(
    store: Store, thread: ThreadId, head: int, size: int, run: int, event: Event
) -> Entry:
    """Append an entry once, however often the database has to be tried."""
    add = partial(store.add_items, thread, head, run, event, thread_size=size)
    at_us = time.time_ns() // 1_000
    return await retry_unavailable(lambda: add(at_us=at_us))


# --- no part of the OpenAI API ------------------------------------------------------------------


async def list_all(request: Request) -> Response:
    """`GET /v1/conversations`: each with its title and the status of its last run."""
    web, principal = web_of(request), principal_of(request)
    page = parse_page(request.query_params)
    after = parse_conversation_id(page.after) if page.after else None
    found = await web.services.store.threads(
        principal.id, limit=page.limit + 1, after=after, newest_first=page.newest_first
    )
    rows = [_row(thread) for thread in found]
    return json_response(list_object(rows[: page.limit], len(rows) > page.limit))


def _row(thread: ListedThread) -> Json:
    """Return a conversation as the list has it."""
    head, latest = thread.head, thread.latest
    source, position = head.forked_from, head.forked_at
    forked = {"id": conversation_id(source), "position": position} if source else None
    response = str(ResponseId(latest.run, latest.responses - 1)) if latest else None
    return _conversation(head) | {
        "title": thread.title,
        "status": _status(latest) if latest else None,
        "response": response,
        "model": head.workflow or None,
        "forked_from": forked,
    }


def _status(run: LatestRun) -> str:
    """Return the status of a run; if it will be cancelled, "cancelled"."""
    return "cancelled" if run.cancel_asked and run.status not in OVER else run.status


async def journal(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/journal`: the entries after a position."""
    query = request.query_params
    check_oldest_first(query)
    after, limit = (
        parse_integer(query, "after", 0, 0),
        parse_integer(query, "limit", MAX_ENTRIES, 1),
    )
    web, head = web_of(request), await _head(request)
    services, outputs = web.services, web.settings.tool_outputs
    reader = await open_thread_reader(services.store, head)
    entries = Journal(reader, services.store, services.workflows.get(head.workflow), outputs)
    return json_response(await entries.page(after, min(limit, MAX_ENTRIES)))


async def fork(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/fork`: a fork at a position."""
    web, principal, head = web_of(request), principal_of(request), await _head(request)
    position = decode(await json_body(request), ForkConversation).position
    if position > head.head:
        raise_invalid(f"the conversation has {head.head} entries", "position")
    forked = await fork_at(web.services, head.id, position, principal=principal)
    return await _load_row(web, forked)


async def cancel(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/cancel`: cancels its last run."""
    web, head = web_of(request), await _head(request)
    latest = (await web.services.store.listed_thread(head.id)).latest
    if latest is not None and latest.status not in OVER:
        await web.cancel(latest.run)
    return await _load_row(web, head.id)


_PATH = "/v1/conversations/{conversation_id}"
ROUTES: list[BaseRoute] = [
    Route("/v1/conversations", list_all, methods=["GET"]),
    Route("/v1/conversations", create, methods=["POST"]),
    Route(_PATH, retrieve, methods=["GET"]),
    Route(_PATH, update, methods=["POST"]),
    Route(_PATH, delete, methods=["DELETE"]),
    Route(f"{_PATH}/items", list_items, methods=["GET"]),
    Route(f"{_PATH}/items", create_items, methods=["POST"]),
    Route(f"{_PATH}/items/{{item_id}}", get_item, methods=["GET"]),
    Route(f"{_PATH}/items/{{item_id}}", delete_item, methods=["DELETE"]),
    Route(f"{_PATH}/journal", journal, methods=["GET"]),
    Route(f"{_PATH}/fork", fork, methods=["POST"]),
    Route(f"{_PATH}/cancel", cancel, methods=["POST"]),
]
