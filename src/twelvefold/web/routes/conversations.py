"""`/v1/conversations`: a conversation is a thread, with or without a run.

The list of conversations, forks and cancellation are no part of the OpenAI API.
"""

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import OVER, ItemsAdded, ThreadId, encode, size_of
from twelvefold.engine import check_room, delete_thread, fork_at, retry_unavailable
from twelvefold.errors import DuplicateRow
from twelvefold.web.http import json_response, list_object, parse_page, principal_of, raise_invalid
from twelvefold.web.ids import conversation_id, parse_conversation_id
from twelvefold.web.projection.conversations import conversation_object, conversation_row
from twelvefold.web.runs.append import append_once
from twelvefold.web.runs.target import resolve_references
from twelvefold.web.runs.visibility import load_path_head
from twelvefold.web.schemas import (
    CreateConversation,
    ForkConversation,
    UpdateConversation,
    plain_items,
    read_body,
    without_repeats,
)
from twelvefold.web.state import Web, web_of


async def list_all(request: Request) -> Response:
    """`GET /v1/conversations`: each with its title and the status of its last run."""
    web, principal = web_of(request), principal_of(request)
    page = parse_page(request.query_params)
    after = parse_conversation_id(page.after) if page.after else None
    found = await web.services.store.threads(
        principal.id, limit=page.limit + 1, after=after, newest_first=page.newest_first
    )
    rows = [conversation_row(thread) for thread in found]
    return json_response(list_object(rows[: page.limit], len(rows) > page.limit))


async def create(request: Request) -> Response:
    """`POST /v1/conversations`."""
    web, principal = web_of(request), principal_of(request)
    body = await read_body(request, CreateConversation, may_be_empty=True)
    given, choices = plain_items(body.items or ()), web.accepted_inputs("")
    items = await resolve_references(web, principal, given, choices, "items")
    items = without_repeats(items, at="items")
    store, thread = web.services.store, web.services.ids.thread()
    about = body.metadata or {}
    added = ItemsAdded(items)
    check_room(0, 0, size_of(encode(added)[2]), web.services.limits)
    with suppress(DuplicateRow):  # an earlier try has written it, but its answer was lost
        await retry_unavailable(lambda: store.new_thread(thread, principal.id, "", about))
    if items:
        await append_once(store, thread, 0, 0, 0, added)
    return json_response(conversation_object(await store.thread(thread)))


async def retrieve(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}`, with the fields that the page needs."""
    web, head = web_of(request), await load_path_head(request)
    return await _load_row(web, head.id)


async def update(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}`: replaces the metadata."""
    web, head = web_of(request), await load_path_head(request)
    body = await read_body(request, UpdateConversation)
    await web.services.store.describe(head.id, body.metadata or {})
    return json_response(conversation_object(await web.services.store.thread(head.id)))


async def delete(request: Request) -> Response:
    """`DELETE /v1/conversations/{conversation_id}`; effects of its tools are not undone."""
    web, head = web_of(request), await load_path_head(request)
    await delete_thread(web.services, head.id)
    id = conversation_id(head.id)
    return json_response({"id": id, "object": "conversation.deleted", "deleted": True})


async def fork(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/fork`: a fork at a position."""
    web, principal, head = web_of(request), principal_of(request), await load_path_head(request)
    position = (await read_body(request, ForkConversation)).position
    if position > head.head:
        raise_invalid(f"the conversation has {head.head} entries", "position")
    forked = await fork_at(web.services, head.id, position, principal=principal)
    return await _load_row(web, forked)


async def cancel(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/cancel`: cancels its last run."""
    web, head = web_of(request), await load_path_head(request)
    latest = (await web.services.store.listed_thread(head.id)).latest
    if latest is not None and latest.status not in OVER:
        await web.cancel(latest.run)
    return await _load_row(web, head.id)


async def _load_row(web: Web, thread: ThreadId) -> Response:
    """Return a conversation with all its fields, as the list has it."""
    listed = await retry_unavailable(lambda: web.services.store.listed_thread(thread))
    return json_response(conversation_row(listed))


_PATH = "/v1/conversations/{conversation_id}"
ROUTES: list[BaseRoute] = [
    Route("/v1/conversations", list_all, methods=["GET"]),
    Route("/v1/conversations", create, methods=["POST"]),
    Route(_PATH, retrieve, methods=["GET"]),
    Route(_PATH, update, methods=["POST"]),
    Route(_PATH, delete, methods=["DELETE"]),
    Route(f"{_PATH}/fork", fork, methods=["POST"]),
    Route(f"{_PATH}/cancel", cancel, methods=["POST"]),
]
