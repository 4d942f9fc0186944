"""`/v1/admin/inbox`: approvals, questions and unknown outcomes of all principals."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import RunFilter
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.http import (
    abbreviate,
    check_list_parameters,
    json_response,
    parse_page,
    parse_text,
    raise_invalid,
    require_admin,
)
from twelvefold.web.ids import ResponseId
from twelvefold.web.runs.operator import answer_any
from twelvefold.web.runs.run_detail import list_open_calls
from twelvefold.web.schemas import AnswerQuestion, read_body
from twelvefold.web.state import web_of


async def list_calls(request: Request) -> Response:
    """`GET /v1/admin/inbox`: the calls of `limit` runs, of those that began last first."""
    require_admin(request)
    web, query = web_of(request), request.query_params
    check_list_parameters(query, "limit", "after")
    page, store = parse_page(query), web.services.store
    workflow, principal = parse_text(query, "workflow"), parse_text(query, "principal")
    filter = RunFilter(asks=True, workflow=workflow, principal=principal)
    try:
        after = ResponseId.parse(page.after).run if page.after else None
        found = await retry_unavailable(
            lambda: store.find_runs(filter, limit=page.limit, after=after)
        )
    except NotFound:
        raise_invalid(f"there is no run {abbreviate(page.after)}", "after")
    calls = [call for run in found.runs for call in await list_open_calls(web, run)]
    end = str(found.end) if found.end else None
    return json_response(
        {"object": "list", "data": calls, "has_more": end is not None, "next": end}
    )


async def answer(request: Request) -> Response:
    """`POST /v1/admin/inbox/answers`: the answer to an approval or a question of any principal."""
    caller, web = require_admin(request), web_of(request)
    body = await read_body(request, AnswerQuestion)
    await answer_any(web, caller, body.call_id, body.output)
    return json_response({"object": "answer", "call_id": body.call_id})


ROUTES: list[BaseRoute] = [
    Route("/v1/admin/inbox", list_calls, methods=["GET"]),
    Route("/v1/admin/inbox/answers", answer, methods=["POST"]),
]
