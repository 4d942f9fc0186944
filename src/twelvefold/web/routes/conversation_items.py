"""`/v1/conversations/{conversation_id}/items`: the items of a conversation.

Adding and removing items appends entries to the journal; what a model has read before does not
change.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import Event, ItemRemoved, ItemsAdded, ThreadHead
from twelvefold.web.history.call_history import load_call_history
from twelvefold.web.history.item_pages import ItemPages, ItemView, open_item_pages
from twelvefold.web.history.thread_reader import open_thread_reader
from twelvefold.web.http import json_response, list_object, parse_page, principal_of
from twelvefold.web.projection.conversations import conversation_object
from twelvefold.web.projection.items import input_items
from twelvefold.web.runs.append import append_between_runs
from twelvefold.web.runs.target import resolve_references
from twelvefold.web.runs.visibility import load_path_head
from twelvefold.web.schemas import (
    NO_CALLS,
    CreateItems,
    brings_calls,
    plain_items,
    read_body,
    tool_items_of,
    without_repeats,
)
from twelvefold.web.state import ClientWatch, web_of


async def list_items(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/items`."""
    page = parse_page(request.query_params)
    return json_response(await (await _items(request)).page(page))


async def get_item(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/items/{item_id}`."""
    return json_response(await (await _items(request)).item(request.path_params["item_id"]))


async def _items(request: Request) -> ItemPages:
    web, head = web_of(request), await load_path_head(request)
    settings, wanted = web.settings, tool_items_of(request.headers)
    outputs, files = settings.tool_outputs, settings.input_files
    view = ItemView(settings.tool_items, outputs, files, wanted)
    return await open_item_pages(web.services.store, head, view)


async def create_items(request: Request) -> Response:
    """`POST /v1/conversations/{conversation_id}/items`: appends items."""
    web, principal, head = web_of(request), principal_of(request), await load_path_head(request)
    body = await read_body(request, CreateItems)
    given, choices = plain_items(body.items), web.accepted_inputs(head.workflow)
    items = await resolve_references(web, principal, given, choices, "items")

    async def build_event(head: ThreadHead) -> Event:
        calls = NO_CALLS
        if brings_calls(items):
            calls = await load_call_history(await open_thread_reader(web.services.store, head))
        return ItemsAdded(without_repeats(items, calls, at="items"))

    entry = await append_between_runs(web, head, build_event, ClientWatch(request))
    added = input_items(head.id, entry, web.settings.input_files)
    return json_response(list_object(added, has_more=False))


async def delete_item(request: Request) -> Response:
    """`DELETE /v1/conversations/{conversation_id}/items/{item_id}`."""
    web, head = web_of(request), await load_path_head(request)

    async def build_event(_: ThreadHead) -> Event:
        item = await (await _items(request)).item(request.path_params["item_id"])
        return ItemRemoved(item["id"])

    await append_between_runs(web, head, build_event, ClientWatch(request))
    return json_response(conversation_object(head))


_PATH = "/v1/conversations/{conversation_id}/items"
ROUTES: list[BaseRoute] = [
    Route(_PATH, list_items, methods=["GET"]),
    Route(_PATH, create_items, methods=["POST"]),
    Route(f"{_PATH}/{{item_id}}", get_item, methods=["GET"]),
    Route(f"{_PATH}/{{item_id}}", delete_item, methods=["DELETE"]),
]
