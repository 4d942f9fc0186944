"""`/v1/chat/completions`: one turn, told in the words of the older API, and not kept.

A wrapper around the same runs: what a client may say here is less, and what it hears is text alone.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.errors import ServiceFault
from twelvefold.web.auth import principal_of
from twelvefold.web.chat import parse_chat
from twelvefold.web.context import Web, web_of
from twelvefold.web.faults import ApiError, json_response
from twelvefold.web.reading import Reading
from twelvefold.web.requests import Request as TurnRequest
from twelvefold.web.requests import json_body
from twelvefold.web.responses import cancelled, leaving, until_over
from twelvefold.web.shapes import Json
from twelvefold.web.starting import Begun, begin
from twelvefold.web.stream import DONE, EventStream, data

BETWEEN = "\n\n"
"""Between two messages of one turn, which are one text here."""
NO_APPROVAL = (
    "This needs a person's approval of {name}, which Chat Completions cannot carry; "
    "use the Responses API."
)
_FINISHED = {"max_output_tokens": "length", "content_filter": "content_filter"}


async def create(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    web, principal = web_of(request), principal_of(request)
    body = await json_body(request)
    asked, with_usage = parse_chat(body, request.headers, web.services.workflows)
    begun = await begin(web, principal, asked)
    leave = leaving(web, begun, asked)
    if asked.stream:
        return EventStream(_told(web, begun, asked, with_usage=with_usage), leave)
    await until_over(web, begun, request, leave)
    response = begun.reading.telling.response()
    error = _error(response)
    if error and begun.reading.over:
        raise ApiError(500, error, code="server_error", repeat=False)
    if error:
        # Under its key the same turn goes on elsewhere; without one it would be another.
        raise ApiError(503, error, code="server_error", repeat=asked.key is not None)
    await _end_waiting(web, begun.reading)
    return json_response(_completion(response))


def _error(response: Json) -> str:
    """Why there is no answer; "" where there is one."""
    status = response["status"]
    if status in ("completed", "incomplete"):
        return ""
    if status in ("queued", "in_progress"):
        return "this server cannot follow the turn to its end"
    return str((response["error"] or {}).get("message") or f"the run was {status}")


async def _end_waiting(web: Web, reading: Reading) -> None:
    """Cancel a run that waits for approval: nobody could ever give it."""
    if _asked_for(reading.telling.response()):
        await cancelled(web, reading.id.run)


def _asked_for(response: Json) -> str:
    """The tool that waits for approval; "" if none does."""
    asked = (item for item in response["output"] if item["type"] == "mcp_approval_request")
    return next((str(item["name"]) for item in asked), "")


# --- whole ----------------------------------------------------------------------------------------


def _completion(response: Json) -> Json:
    said, refused = _texts(response, "text"), _texts(response, "refusal")
    if name := _asked_for(response):
        said.append(NO_APPROVAL.format(name=name))
    message: Json = {
        "role": "assistant",
        "content": BETWEEN.join(said) if said or not refused else None,
        "refusal": BETWEEN.join(refused) or None,
        "annotations": [],
    }
    finish = _finish(response)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    about = _about(response, "chat.completion")
    return about | {"choices": [choice], "usage": _usage(response)}


def _texts(response: Json, key: str) -> list[str]:
    """What was said; a draft that was given up was not."""
    whole = response["status"] == "completed"
    messages = (item for item in response["output"] if item["type"] == "message")
    return [
        part[key]
        for item in messages
        if item["status"] == "completed" or (not whole and item is response["output"][-1])
        for part in item["content"]
        if part.get(key)
    ]


def _about(response: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{response['id'].removeprefix('resp_')}",
        "object": kind,
        "created": response["created_at"],
        "model": response["model"],
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _finish(response: Json) -> str:
    details = response["incomplete_details"]
    return _FINISHED[details["reason"]] if details else "stop"


def _usage(response: Json) -> Json:
    usage = response["usage"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            **usage["output_tokens_details"],
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


# --- streamed -------------------------------------------------------------------------------------


async def _told(
    web: Web, begun: Begun, asked: TurnRequest, *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """The turn as chunks. What was said of a reply that was then given up cannot be taken back."""
    reading = begun.reading
    chunks = _Chunks(reading.telling.response(), with_usage=with_usage)
    yield data(chunks.of({"role": "assistant", "content": "", "refusal": None}))
    async with aclosing(reading.events(begun.see_to_it)) as batches:
        async for batch in batches:
            for event in batch:
                for delta in chunks.deltas(event):
                    yield data(chunks.of(delta))
    response = reading.telling.response()
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


class _Chunks:
    """The chunks of one completion; `with_usage`: each has the member that the last one fills."""

    def __init__(self, response: Json, *, with_usage: bool) -> None:
        self._about = _about(response, "chat.completion.chunk")
        self._with_usage = with_usage
        self._message: int | None = None

    def of(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._with_usage else {}
        return self._about | {"choices": [choice]} | usage

    def deltas(self, event: Json) -> Iterator[Json]:
        key = {
            "response.output_text.delta": "content",
            "response.refusal.delta": "refusal",
        }.get(event["type"])
        if key is None:
            return
        if self._message not in (None, event["output_index"]):
            yield {"content": BETWEEN}
        self._message = event["output_index"]
        yield {key: event["delta"]}

    def last(self, response: Json) -> Iterator[Json]:
        if error := _error(response):
            fault = ApiError(500, error, code="server_error")
            yield fault.body
            return
        if name := _asked_for(response):
            between = BETWEEN if self._message is not None else ""
            yield self.of({"content": between + NO_APPROVAL.format(name=name)})
        yield self.of({}, _finish(response))
        if self._with_usage:
            yield self._about | {"choices": [], "usage": _usage(response)}


ROUTES: list[BaseRoute] = [Route("/v1/chat/completions", create, methods=["POST"])]
