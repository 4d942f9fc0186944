"""`/v1/questions`: no part of the OpenAI API. `/v1/answers` takes the answers."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.http import (
    abbreviate,
    json_response,
    list_object,
    parse_page,
    principal_of,
    raise_invalid,
)
from twelvefold.web.ids import parse_approval_id
from twelvefold.web.projection.questions import question_object
from twelvefold.web.state import web_of


async def list_all(request: Request) -> Response:
    """`GET /v1/questions`: those that wait for an answer of the key's principal."""
    store, principal = web_of(request).services.store, principal_of(request)
    page = parse_page(request.query_params)
    try:
        after = parse_approval_id(page.after) if page.after else None
        found = await retry_unavailable(
            lambda: store.questions(
                principal.id, limit=page.limit + 1, after=after, newest_first=page.newest_first
            )
        )
    except NotFound:
        raise_invalid(f"there is no {abbreviate(page.after)} in this list", "after")
    shown = [question_object(one) for one in found[: page.limit]]
    return json_response(list_object(shown, len(found) > page.limit))


ROUTES: list[BaseRoute] = [Route("/v1/questions", list_all, methods=["GET"])]
