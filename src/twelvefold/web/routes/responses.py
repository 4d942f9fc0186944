"""`/v1/responses`: runs as responses. Foreground, background and stream are one path.

A run is written, then driven, and what the client sees is a reader of its journal. Once it is
written no answer says otherwise: whatever happens then is told by the response's own status.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core.ports import RunRecord
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import Conflict
from twelvefold.observe.log import get_logger
from twelvefold.web.http.admission import release_soon
from twelvefold.web.http.authentication import principal_of
from twelvefold.web.http.errors import ApiError, json_response
from twelvefold.web.http.pagination import flag_of, integer_of, page_of, paged
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.items import input_items
from twelvefold.web.runs.approvals import answers, go_on
from twelvefold.web.runs.create import StartedRun, begin
from twelvefold.web.runs.foreground import cancelled, leaving, until_over
from twelvefold.web.schemas.answer_options import changed_options
from twelvefold.web.schemas.http_request import json_body, tool_items_of
from twelvefold.web.schemas.responses import parse
from twelvefold.web.schemas.types import Json
from twelvefold.web.state import client_watch, web_of
from twelvefold.web.streaming.reader import ResponseReader, opened
from twelvefold.web.streaming.sse import EventStream, pieces
from twelvefold.web.turn_memory import turn_memory

log = get_logger(__name__)


async def create(request: Request) -> Response:
    """`POST /v1/responses`."""
    web = web_of(request)
    body, workflows = await json_body(request), web.services.workflows
    client = client_watch(request)
    asked = parse(body, request.headers, workflows, images=web.takes_images)
    if not answers(asked):
        begun = await begin(web, principal_of(request), asked, client)
    else:
        if changed_options(asked):
            principal_of(request)
        begun = await go_on(web, principal_of(request, "approve"), asked)
    release_soon(request)
    reading = begun.reading
    leave = leaving(web, begun, asked)
    if asked.stream:
        return EventStream(pieces(reading, aside=begun.ensure_progress), client, leave)
    if asked.background:
        return json_response(reading.projection.response(queued=True))
    await until_over(web, begun, client, leave)
    return json_response(reading.projection.response())


async def retrieve(request: Request) -> Response:
    """`GET /v1/responses/{response_id}`: as it is, or its events from any of them on."""
    query = request.query_params
    stream, after = flag_of(query, "stream"), integer_of(query, "starting_after", -1, -1)
    reading, record = await _opened(request)
    if stream:
        release_soon(request)
        web = web_of(request)
        follow = pieces(reading, after=after, aside=StartedRun(web, reading).ensure_progress)
        return EventStream(follow, client_watch(request))
    return json_response(described(reading, record))


def described(reading: ResponseReader, record: RunRecord) -> Json:
    """The response as it is now; one that is to be cancelled comes to no other end any more."""
    response = reading.projection.response(queued=record.status == "queued")
    if record.cancel_asked and not reading.over:
        return response | {"status": "cancelled"}
    return response


async def delete(request: Request) -> Response:
    """`DELETE /v1/responses/{response_id}`, and with it what the run did before and after."""
    reading, _ = await _opened(request)
    store, run = web_of(request).services.store, reading.id.run
    try:
        await retry_unavailable(lambda: store.delete_run(run))
    except Conflict as error:
        message = "the run is not over; cancel it, or wait for its end"
        raise ApiError(409, message, code="response_not_completed", repeat=False) from error
    return json_response({"id": str(reading.id), "object": "response.deleted", "deleted": True})


async def cancel_response(request: Request) -> Response:
    """`POST /v1/responses/{response_id}/cancel`: done twice it is done once."""
    web = web_of(request)
    force = flag_of(request.query_params, "force")
    reading, record = await _opened(request)
    if not (reading.projection.background or force):
        message = "only a response with background=true can be cancelled, others with ?force=true"
        raise ApiError(400, message, code="response_not_background")
    if not reading.over or record.status == "waiting":
        await cancelled(web, reading.id.run)
        reading, record = await _opened(request)
    return json_response(described(reading, record))


async def list_input(request: Request) -> Response:
    """`GET /v1/responses/{response_id}/input_items`: its own input, not what it went on from."""
    page = page_of(request.query_params)
    reading, _ = await _opened(request)
    return json_response(paged(input_items(reading.id.run.thread, reading.opening), page))


async def _opened(request: Request) -> tuple[ResponseReader, RunRecord]:
    """The response that the path names. Raises NotFound, and ApiError with 429.

    All entries of its run are in memory until it is made of them.
    """
    web, principal = web_of(request), principal_of(request)
    id = ResponseId.parse(request.path_params["response_id"])
    shown = tool_items_of(request.headers)
    with turn_memory(web.reads, principal, 0) as memory:
        return await opened(web, principal, id, tool_items=shown, memory=memory)


async def not_there(request: Request) -> Response:
    """Paths of the OpenAI API that are no response's id."""
    raise HTTPException(404)


ROUTES: list[BaseRoute] = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/compact", not_there, methods=["GET", "POST", "DELETE"]),
    Route("/v1/responses/input_tokens", not_there, methods=["GET", "POST", "DELETE"]),
    Route("/v1/responses/{response_id}", retrieve, methods=["GET"]),
    Route("/v1/responses/{response_id}", delete, methods=["DELETE"]),
    Route("/v1/responses/{response_id}/cancel", cancel_response, methods=["POST"]),
    Route("/v1/responses/{response_id}/input_items", list_input, methods=["GET"]),
]
