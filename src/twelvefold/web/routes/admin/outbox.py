"""`/v1/admin/outbox`: messages of all principals, and retries of those that were not sent."""

from typing import get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import MessageState
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.http import (
    abbreviate,
    check_list_parameters,
    json_response,
    list_object,
    parse_choice,
    parse_page,
    raise_invalid,
    require_admin,
)
from twelvefold.web.projection.admin_outbox import admin_message
from twelvefold.web.runs.operator import log_action
from twelvefold.web.state import web_of

STATES: tuple[MessageState, ...] = get_args(MessageState)


async def list_messages(request: Request) -> Response:
    """`GET /v1/admin/outbox`: messages in one state, the one with the latest attempt first."""
    require_admin(request)
    query, store = request.query_params, web_of(request).services.store
    check_list_parameters(query, "limit", "after")
    page, state = parse_page(query), parse_choice(query, "state", STATES) or "due"
    try:
        found = await retry_unavailable(
            lambda: store.find_messages(state, limit=page.limit + 1, after=page.after)
        )
    except NotFound:
        raise_invalid(f"there is no message {abbreviate(page.after)}", "after")
    rows = [admin_message(one) for one in found]
    return json_response(list_object(rows[: page.limit], len(rows) > page.limit))


async def retry(request: Request) -> Response:
    """`POST /v1/admin/outbox/{message_id}/retry`: make a message due now."""
    caller, web, id = require_admin(request), web_of(request), request.path_params["message_id"]
    store = web.services.store
    await store.retry_message(id)
    log_action(caller, "retry_message", message=id)
    web.services.wake_ups.mail_queued()
    web.wake()
    return json_response(admin_message(await retry_unavailable(lambda: store.find_message(id))))


ROUTES: list[BaseRoute] = [
    Route("/v1/admin/outbox", list_messages, methods=["GET"]),
    Route("/v1/admin/outbox/{message_id}/retry", retry, methods=["POST"]),
]
