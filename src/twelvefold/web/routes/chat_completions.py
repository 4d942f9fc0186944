"""`/v1/chat/completions`: one turn in the words of the older API, and not kept.

A wrapper around the same runs: the answer is text and calls of the caller's own tools.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.errors import ServiceFault
from twelvefold.web.http.admission import release_soon
from twelvefold.web.http.authentication import principal_of
from twelvefold.web.http.errors import ApiError, json_response
from twelvefold.web.projection.chat_completion import Chunks, completion, error_of, tool_to_approve
from twelvefold.web.runs.create import StartedRun, begin
from twelvefold.web.runs.foreground import cancelled, leaving, until_over
from twelvefold.web.schemas.chat_completions import ChatRequest, parse_chat
from twelvefold.web.schemas.http_request import json_body
from twelvefold.web.state import Web, client_watch, web_of
from twelvefold.web.streaming.reader import ResponseReader
from twelvefold.web.streaming.sse import DONE, EventStream, data


async def create(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    web, principal = web_of(request), principal_of(request)
    body, workflows = await json_body(request), web.services.workflows
    chat = parse_chat(body, request.headers, workflows, images=web.takes_images)
    asked = chat.turn
    client = client_watch(request)
    begun = await begin(web, principal, asked, client)
    release_soon(request)
    leave = leaving(web, begun, asked)
    if asked.stream:
        return EventStream(_told(web, begun, chat), client, leave, last_words=_refused)
    await until_over(web, begun, client, leave)
    response = begun.reading.projection.response()
    error = error_of(response)
    if error and begun.reading.over:
        raise ApiError(500, error, code="server_error", repeat=False)
    if error:
        # Under its key the same turn goes on elsewhere; without one it would be another.
        raise ApiError(503, error, code="server_error", repeat=asked.key is not None)
    await _end_waiting(web, begun.reading)
    return json_response(completion(response, asked.options.stop))


async def _end_waiting(web: Web, reading: ResponseReader) -> None:
    """Cancel a run that waits for approval: nobody could ever give it."""
    if tool_to_approve(reading.projection.response()):
        await cancelled(web, reading.id.run)


def _refused(error: ApiError) -> bytes:
    """The end of a stream whose key was revoked: a text that just ends looks whole."""
    return data(error.body)


async def _told(web: Web, begun: StartedRun, chat: ChatRequest) -> AsyncGenerator[bytes, None]:
    """The turn as chunks. What was said of a reply that was then given up cannot be taken back."""
    reading, asked = begun.reading, chat.turn
    opening, stop = reading.projection.response(), asked.options.stop
    chunks = Chunks(opening, stop, with_usage=chat.with_usage)
    yield data(chunks.of({"role": "assistant", "content": "", "refusal": None}))
    async with aclosing(reading.events(begun.ensure_progress)) as batches:
        async for batch in batches:
            for event in batch:
                for delta in chunks.deltas(event):
                    yield data(chunks.of(delta))
    response = reading.projection.response()
    if not reading.over:
        # A text that just ends looks whole. Who has no key cannot come back for the rest.
        if asked.key is None:
            with suppress(ServiceFault):
                await cancelled(web, reading.id.run)
        message = "this server cannot follow the turn to its end; ask again"
        message += " with the same Idempotency-Key" if asked.key else ""
        fault = ApiError(503, message, code="service_unavailable")
        yield data(fault.body)
        return
    await _end_waiting(web, reading)
    for chunk in chunks.last(response):
        yield data(chunk)
    yield DONE


ROUTES: list[BaseRoute] = [Route("/v1/chat/completions", create, methods=["POST"])]
