"""`/v1/responses`: runs as responses, in the foreground, in the background and as a stream.

A run is written, then driven; the client reads its journal. From then on an error of the run is a
status of the response, not of the HTTP request.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import RunRecord
from twelvefold.engine import retry_unavailable
from twelvefold.errors import Conflict
from twelvefold.web.http import (
    ApiError,
    caller_of,
    json_response,
    paginate,
    parse_flag,
    parse_integer,
    parse_page,
    principal_of,
    release_soon,
    require_scope,
    require_workflow,
)
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.items import input_items
from twelvefold.web.runs.approvals import answer_approval
from twelvefold.web.runs.create import StartedRun, start_turn
from twelvefold.web.runs.supervise import EventStream, encode_events, wait_for_end
from twelvefold.web.schemas import (
    Json,
    changed_options,
    is_answer,
    json_body,
    parse_turn,
    tool_items_of,
)
from twelvefold.web.state import ClientWatch, offered_to, turn_memory, web_of
from twelvefold.web.streaming.child_items import nest_child_items, try_nest_child_items
from twelvefold.web.streaming.lookup import open_response
from twelvefold.web.streaming.reader import ResponseReader


async def create(request: Request) -> Response:
    """`POST /v1/responses`."""
    web, client = web_of(request), ClientWatch(request)
    body, workflows = await json_body(request), offered_to(request)
    turn = parse_turn(body, request.headers, workflows, web.accepted_inputs)
    turn = turn.for_caller(caller_of(request))
    answers = any(map(is_answer, turn.items))
    if answers and changed_options(turn):
        require_scope(request, "runs")
    principal = principal_of(request, "approve" if answers else "runs")
    if answers:
        started = await answer_approval(web, principal, turn)
    else:
        started = await start_turn(web, principal, turn, client)
    release_soon(request)
    if turn.stream:
        return EventStream(web, started, encode_events(web, started), client)
    if not turn.background:
        await wait_for_end(web, started, client)
    response = started.reader.projection.response(queued=turn.background)
    return json_response(await try_nest_child_items(web, started.reader, response))


async def retrieve(request: Request) -> Response:
    """`GET /v1/responses/{response_id}`: the response now, or its events after a number."""
    query = request.query_params
    stream, after = parse_flag(query, "stream"), parse_integer(query, "starting_after", -1, -1)
    reader, record = await _open(request)
    if not stream:
        return json_response(await _describe(request, reader, record))
    release_soon(request)
    web, found = web_of(request), StartedRun(reader)
    return EventStream(web, found, encode_events(web, found, after=after), ClientWatch(request))


async def _describe(request: Request, reader: ResponseReader, record: RunRecord) -> Json:
    """Return the response as it is now; if it will be cancelled, as cancelled."""
    response = reader.projection.response(queued=record.status == "queued")
    response = await nest_child_items(web_of(request), reader, response)
    if record.cancel_asked and not reader.over:
        return response | {"status": "cancelled"}
    return response


async def delete(request: Request) -> Response:
    """`DELETE /v1/responses/{response_id}`, with all other responses of its run."""
    reader, _ = await _open(request)
    store, run = web_of(request).services.store, reader.id.run
    try:
        await retry_unavailable(lambda: store.delete_run(run))
    except Conflict as error:
        message = "the run is not over; cancel it, or wait for its end"
        raise ApiError(409, message, code="response_not_completed", repeat=False) from error
    return json_response({"id": str(reader.id), "object": "response.deleted", "deleted": True})


async def cancel(request: Request) -> Response:
    """`POST /v1/responses/{response_id}/cancel`; a second time it changes nothing."""
    web = web_of(request)
    force = parse_flag(request.query_params, "force")
    reader, record = await _open(request)
    if not (reader.projection.background or force):
        message = "only a response with background=true can be cancelled, others with ?force=true"
        raise ApiError(400, message, code="response_not_background")
    if not reader.over or record.status == "waiting":
        await web.cancel(reader.id.run)
        reader, record = await _open(request)
    return json_response(await _describe(request, reader, record))


async def list_input(request: Request) -> Response:
    """`GET /v1/responses/{response_id}/input_items`: its own input, no earlier items."""
    page = parse_page(request.query_params)
    reader, _ = await _open(request)
    files = web_of(request).settings.input_files
    return json_response(paginate(input_items(reader.id.run.thread, reader.opening, files), page))


async def _open(request: Request) -> tuple[ResponseReader, RunRecord]:
    """Read the response that the path names. Raises NotFound, and ApiError with 403 or 429.

    The entries of its run are in memory meanwhile.
    """
    web, principal = web_of(request), principal_of(request)
    id = ResponseId.parse(request.path_params["response_id"])
    tool_items = tool_items_of(request.headers)
    with turn_memory(web.reads, principal, 0) as memory:
        opened = await open_response(web, principal, id, tool_items=tool_items, memory=memory)
    require_workflow(request, opened[1].workflow)
    return opened


async def not_found(request: Request) -> Response:
    """Paths of the OpenAI API that this server does not have; they are no ids of responses."""
    raise HTTPException(404)


ROUTES: list[BaseRoute] = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/compact", not_found, methods=["GET", "POST", "DELETE"]),
    Route("/v1/responses/input_tokens", not_found, methods=["GET", "POST", "DELETE"]),
    Route("/v1/responses/{response_id}", retrieve, methods=["GET"]),
    Route("/v1/responses/{response_id}", delete, methods=["DELETE"]),
    Route("/v1/responses/{response_id}/cancel", cancel, methods=["POST"]),
    Route("/v1/responses/{response_id}/input_items", list_input, methods=["GET"]),
]
