"""`/v1/conversations/{conversation_id}/journal`: no part of the OpenAI API."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.web.history.journal import Journal
from twelvefold.web.history.thread_reader import open_thread_reader
from twelvefold.web.http import (
    check_oldest_first,
    json_response,
    parse_integer,
    principal_of,
)
from twelvefold.web.ids import parse_conversation_id
from twelvefold.web.runs.visibility import load_journal_head
from twelvefold.web.state import web_of

MAX_ENTRIES = 500
"""The most entries on a page."""


async def list_entries(request: Request) -> Response:
    """`GET /v1/conversations/{conversation_id}/journal`: the entries after a position.

    Also of a run that another one has started: an entry ChildrenStarted has the ids of its runs.
    """
    query = request.query_params
    check_oldest_first(query)
    after, limit = (
        parse_integer(query, "after", 0, 0),
        parse_integer(query, "limit", MAX_ENTRIES, 1),
    )
    web, thread = web_of(request), parse_conversation_id(request.path_params["conversation_id"])
    services, settings = web.services, web.settings
    head = await load_journal_head(services.store, principal_of(request), thread)
    reader = await open_thread_reader(services.store, head)
    workflow = services.workflows.get(head.workflow)
    outputs, files = settings.tool_outputs, settings.input_files
    entries = Journal(reader, services.store, workflow, outputs, files)
    return json_response(await entries.page(after, min(limit, MAX_ENTRIES)))


ROUTES: list[BaseRoute] = [
    Route("/v1/conversations/{conversation_id}/journal", list_entries, methods=["GET"]),
]
