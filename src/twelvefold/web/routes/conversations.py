"""`/v1/conversations`: a conversation is a thread, with or without a run.

Items that are put in or taken out are entries of its journal like all others; what a model has read
before stays read. Listing, the journal and forks are our own, no part of the OpenAI API.
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
from twelvefold.web.history.call_history import history_of
from twelvefold.web.history.item_pages import ItemPages, ItemView, items_of
from twelvefold.web.history.journal import Journal
from twelvefold.web.history.thread_reader import reader_of
from twelvefold.web.http.authentication import principal_of
from twelvefold.web.http.client_watch import ClientWatch
from twelvefold.web.http.errors import ApiError, json_response, raise_invalid
from twelvefold.web.http.pagination import check_oldest_first, integer_of, listed, page_of
from twelvefold.web.ids import ResponseId, conversation_id, parse_conversation_id
from twelvefold.web.projection.items import input_items
from twelvefold.web.runs.foreground import cancelled
from twelvefold.web.runs.target import resolved
from twelvefold.web.runs.visibility import visible_head
from twelvefold.web.schemas.call_results import (
    NO_CALLS,
    brings_calls,
    without_repeats,
)
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

MOST_ENTRIES = 500
LOCK_S = 5.0
POLL_INTERVAL_S = 0.2


# --- a conversation -----------------------------------------------------------------------------


async def create(request: Request) -> Response:
    """`POST /v1/conversations`."""
    web, principal = web_of(request), principal_of(request)
    body = decode(await json_body(request, may_be_empty=True), CreateConversation)
    items = await resolved(web, principal, plain_items(body.items or ()), "items")
    items = without_repeats(items, at="items")
    store, thread = web.services.store, web.services.ids.thread()
    about = body.metadata or {}
    said = ItemsAdded(items)
    check_room(0, 0, size_of(encode(said)[2]), web.services.limits)
    with suppress(DuplicateRow):  # by a try whose answer was lost
        await retry_unavailable(lambda: store.new_thread(thread, principal.id, "", about))
    if items:
        await _put_in(store, thread, 0, 0, 0, said)
    return json_response(_conversation(await store.thread(thread)))


async def retrieve(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}`, with what the page wants to know beside."""
    web, head = web_of(request), await _head(request)
    return await _answer(web, head.id)


async def update(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}`: the metadata are replaced."""
    web, head = web_of(request), await _head(request)
    body = decode(await json_body(request), UpdateConversation)
    await web.services.store.describe(head.id, body.metadata or {})
    return json_response(_conversation(await web.services.store.thread(head.id)))


async def delete(request: Request) -> Response:
    """`DELETE /v1/conversations/{conversation_id}`; what it has done elsewhere stays done."""
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
    """The conversation that the path names. Raises NotFound, as for another's."""
    thread = parse_conversation_id(request.path_params["conversation_id"])
    return await visible_head(web_of(request).services.store, principal_of(request), thread)


async def _answer(web: Web, thread: ThreadId) -> Response:
    """A conversation with all that is to be said about it."""
    listed = await retry_unavailable(lambda: web.services.store.listed_thread(thread))
    return json_response(_row(listed))


# --- its items ----------------------------------------------------------------------------------


async def list_items(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/items`."""
    page = page_of(request.query_params)
    return json_response(await (await _items(request)).page(page))


async def get_item(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/items/{item_id}`."""
    return json_response(await (await _items(request)).item(request.path_params["item_id"]))


async def _items(request: Request) -> ItemPages:
    web, head = web_of(request), await _head(request)
    how = web.settings
    view = ItemView(how.tool_items, how.tool_outputs, tool_items_of(request.headers))
    return await items_of(web.services.store, head, view)


async def create_items(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/items`: behind all others."""
    web, principal, head = web_of(request), principal_of(request), await _head(request)
    body = decode(await json_body(request), CreateItems)
    items = await resolved(web, principal, plain_items(body.items), "items")

    async def event(head: ThreadHead) -> Event:
        calls = NO_CALLS
        if brings_calls(items):
            calls = await history_of(await reader_of(web.services.store, head))
        return ItemsAdded(without_repeats(items, calls, at="items"))

    entry = await _added(web, head, event, client_watch(request))
    return json_response(listed(input_items(head.id, entry), has_more=False))


async def delete_item(request: Request) -> Response:
    """`DELETE /v1/conversations/{conversation_id}/items/{item_id}`."""
    web, head = web_of(request), await _head(request)

    async def event(_: ThreadHead) -> Event:
        item = await (await _items(request)).item(request.path_params["item_id"])
        return ItemRemoved(item["id"])

    await _added(web, head, event, client_watch(request))
    return json_response(_conversation(head))


async def _added(
    web: Web,
    head: ThreadHead,
    event: Callable[[ThreadHead], Awaitable[Event]],
    client: ClientWatch,
) -> Entry:
    """Append an entry between two runs, as soon as the one under way is over.

    Raises ApiError if that takes too long, ClientDisconnect if the client leaves meanwhile, and
    ConversationTooLarge.
    """
    store, end = web.services.store, asyncio.get_running_loop().time() + LOCK_S
    while True:
        said = await event(head)
        run, size = await store.run_at(head), await store.size_of(await store.lineage(head))
        check_room(head.head, size, size_of(encode(said)[2]), web.services.limits)
        try:
            return await _put_in(store, head.id, head.head, size, run, said)
        except Conflict:
            await _wait(store, head.id, end, client)
        head = await store.thread(head.id)


async def _wait(store: Store, thread: ThreadId, end: float, client: ClientWatch) -> None:
    """Wait for the run under way; nothing else of the conversation is read meanwhile.

    Raises ApiError if that takes too long, and ClientDisconnect if the client leaves.
    """
    is_under_way = True
    while is_under_way:
        if asyncio.get_running_loop().time() >= end:
            message = "a turn of this conversation is not over; try again in a moment"
            raise ApiError(409, message, code="conversation_locked", wait_s=1)
        await client.check()
        await asyncio.sleep(POLL_INTERVAL_S)
        latest = (await retry_unavailable(lambda: store.listed_thread(thread))).latest
        is_under_way = latest is not None and latest.status not in OVER


async def _put_in(
    store: Store, thread: ThreadId, head: int, size: int, run: int, event: Event
) -> Entry:
    """Append an entry once, however often the database has to be asked to."""
    add = partial(store.add_items, thread, head, run, event, thread_size=size)
    at_us = time.time_ns() // 1_000
    return await retry_unavailable(lambda: add(at_us=at_us))


# --- our own ------------------------------------------------------------------------------------


async def list_all(request: Request) -> Response:
    """`GET /v1/conversations`: each with its title and how its last run is."""
    web, principal = web_of(request), principal_of(request)
    page = page_of(request.query_params)
    after = parse_conversation_id(page.after) if page.after else None
    found = await web.services.store.threads(
        principal.id, limit=page.limit + 1, after=after, newest_first=page.newest_first
    )
    rows = [_row(thread) for thread in found]
    return json_response(listed(rows[: page.limit], len(rows) > page.limit))


def _row(thread: ListedThread) -> Json:
    """A conversation as it is listed."""
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
    """How a run is; one that is to be cancelled comes to no other end any more."""
    return "cancelled" if run.cancel_asked and run.status not in OVER else run.status


async def journal(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/journal`: the entries behind a position."""
    query = request.query_params
    check_oldest_first(query)
    after, limit = integer_of(query, "after", 0, 0), integer_of(query, "limit", MOST_ENTRIES, 1)
    web, head = web_of(request), await _head(request)
    services, outputs = web.services, web.settings.tool_outputs
    reader = await reader_of(services.store, head)
    shown = Journal(reader, services.store, services.workflows.get(head.workflow), outputs)
    return json_response(await shown.page(after, min(limit, MOST_ENTRIES)))


async def fork(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/fork`: a conversation that goes on from there."""
    web, principal, head = web_of(request), principal_of(request), await _head(request)
    position = decode(await json_body(request), ForkConversation).position
    if position > head.head:
        raise_invalid(f"the conversation has {head.head} entries", "position")
    made = await fork_at(web.services, head.id, position, principal=principal)
    return await _answer(web, made)


async def cancel(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/cancel`: its run, however it was begun."""
    web, head = web_of(request), await _head(request)
    latest = (await web.services.store.listed_thread(head.id)).latest
    if latest is not None and latest.status not in OVER:
        await cancelled(web, latest.run)
    return await _answer(web, head.id)


_ONE = "/v1/conversations/{conversation_id}"
ROUTES: list[BaseRoute] = [
    Route("/v1/conversations", list_all, methods=["GET"]),
    Route("/v1/conversations", create, methods=["POST"]),
    Route(_ONE, retrieve, methods=["GET"]),
    Route(_ONE, update, methods=["POST"]),
    Route(_ONE, delete, methods=["DELETE"]),
    Route(f"{_ONE}/items", list_items, methods=["GET"]),
    Route(f"{_ONE}/items", create_items, methods=["POST"]),
    Route(f"{_ONE}/items/{{item_id}}", get_item, methods=["GET"]),
    Route(f"{_ONE}/items/{{item_id}}", delete_item, methods=["DELETE"]),
    Route(f"{_ONE}/journal", journal, methods=["GET"]),
    Route(f"{_ONE}/fork", fork, methods=["POST"]),
    Route(f"{_ONE}/cancel", cancel, methods=["POST"]),
]
