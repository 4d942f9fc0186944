"""`/v1/chat/completions`: one turn in the format of the older API, not stored.

A wrapper around the same runs: the answer is text and calls of the client's own tools.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.errors import NotFound, ServiceFault
from twelvefold.web.http import ApiError, caller_of, json_response, principal_of, release_soon
from twelvefold.web.projection.chat_completion import (
    Chunks,
    completion,
    error_of,
    failure_of,
    find_person_needed,
)
from twelvefold.web.runs.create import StartedRun, start_turn
from twelvefold.web.runs.supervise import EventStream, read_supervised, wait_for_end
from twelvefold.web.schemas import ChatRequest, json_body, parse_chat
from twelvefold.web.state import ClientWatch, Web, offered_to, web_of
from twelvefold.web.streaming.reader import DONE, encode_data

STILL_WAITS = (
    "the run waits for a time or an event, for longer than RUN_DEADLINE_S, and goes on; send the "
    "request again with the same Idempotency-Key, or use the Responses API with background"
)


async def create(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    web, principal = web_of(request), principal_of(request)
    body, workflows = await json_body(request), offered_to(request)
    chat = parse_chat(body, request.headers, workflows, web.accepted_inputs)
    turn = chat.turn.for_caller(caller_of(request))
    client = ClientWatch(request)
    started = await start_turn(web, principal, turn, client)
    release_soon(request)
    if turn.stream:
        # A text that ends without an error seems complete.
        return EventStream(web, started, _chunks(web, started, chat), client, with_error=True)
    await wait_for_end(web, started, client)
    response = started.reader.projection.response()
    error = error_of(response)
    if error and started.reader.over:
        raise failure_of(response)
    if error:
        raise await _unfinished(web, started, error, has_key=turn.key is not None)
    await _cancel_waiting(web, started)
    return json_response(completion(response, turn.options.stop))


async def _unfinished(web: Web, started: StartedRun, error: str, *, has_key: bool) -> ApiError:
    """Return the error of a turn that goes on.

    A request with the same key continues it; without a key it would start another one.
    """
    with suppress(ServiceFault, NotFound):
        if (await web.services.store.run(started.run)).status == "waiting":
            return ApiError(503, STILL_WAITS, code="run_waiting", repeat=has_key)
    return ApiError(503, error, code="server_error", repeat=has_key)


async def _cancel_waiting(web: Web, started: StartedRun) -> None:
    """Cancel a run that waits for a person, whose answer no client could send."""
    if find_person_needed(started.reader.projection.response()):
        await web.cancel(started.run)


async def _chunks(web: Web, started: StartedRun, chat: ChatRequest) -> AsyncGenerator[bytes, None]:
    """Yield the turn as chunks. Text of an abandoned draft cannot be taken back."""
    reader, turn = started.reader, chat.turn
    opening, stop = reader.projection.response(), turn.options.stop
    chunks = Chunks(opening, stop, with_usage=chat.with_usage)
    yield encode_data(chunks.chunk({"role": "assistant", "content": "", "refusal": None}))
    async with aclosing(read_supervised(web, started)) as batches:
        async for batch in batches:
            for event in batch:
                for delta in chunks.deltas(event):
                    yield encode_data(chunks.chunk(delta))
    if not reader.over:
        # A text that ends without an error seems complete. Without a key the run cannot be read.
        if turn.key is None:
            with suppress(ServiceFault):
                await web.cancel(started.run)
        message = "this server cannot follow the turn to its end; send the request again"
        message += " with the same Idempotency-Key" if turn.key else ""
        fault = ApiError(503, message, code="service_unavailable")
        yield encode_data(fault.body)
        return
    response = reader.projection.response()
    await _cancel_waiting(web, started)
    for chunk in chunks.last(response):
        yield encode_data(chunk)
    yield DONE


ROUTES: list[BaseRoute] = [Route("/v1/chat/completions", create, methods=["POST"])]
