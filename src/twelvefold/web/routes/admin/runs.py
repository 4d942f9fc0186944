"""`/v1/admin/runs`: the runs of all principals."""

from typing import get_args

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import FinalStatus, RunFilter, RunStatus
from twelvefold.core.run_search import with_search
from twelvefold.engine import retry_unavailable
from twelvefold.engine.pricing import default_price
from twelvefold.errors import NotFound
from twelvefold.web.http import (
    abbreviate,
    check_list_parameters,
    json_response,
    list_object,
    parse_choice,
    parse_page,
    parse_text,
    parse_time_us,
    raise_invalid,
    require_admin,
)
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.admin_runs import admin_run
from twelvefold.web.state import web_of

STATUSES: tuple[RunStatus, ...] = ("queued", "running", "waiting", *get_args(FinalStatus))


async def list_runs(request: Request) -> Response:
    """`GET /v1/admin/runs`: newest first, by status, workflow, principal, time and text."""
    require_admin(request)
    web, query = web_of(request), request.query_params
    check_list_parameters(query, "limit", "after")
    page, filter = parse_page(query), _parse_filter(query)
    store, price = web.services.store, await default_price(web.services)
    try:
        after = ResponseId.parse(page.after).run if page.after else None
        found = await retry_unavailable(
            lambda: store.find_runs(filter, limit=page.limit, after=after)
        )
    except NotFound:
        raise_invalid(f"there is no run {abbreviate(page.after)}", "after")
    rows = [admin_run(run, price) for run in found.runs]
    return json_response(
        list_object(rows, has_more=found.end is not None)
        | {"next": str(found.end) if found.end else None}
    )


def _parse_filter(query: QueryParams) -> RunFilter:
    filter = RunFilter(
        status=parse_choice(query, "status", STATUSES),
        workflow=parse_text(query, "workflow"),
        principal=parse_text(query, "principal"),
        since_us=parse_time_us(query, "since") or 0,
        until_us=parse_time_us(query, "until"),
    )
    return with_search(filter, parse_text(query, "search"))


ROUTES: list[BaseRoute] = [Route("/v1/admin/runs", list_runs, methods=["GET"])]
