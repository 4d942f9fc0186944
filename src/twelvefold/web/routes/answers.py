"""`/v1/answers`: no part of the OpenAI API."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.web.http import caller_of, json_response, require_scope
from twelvefold.web.runs.answers import answer_for_person
from twelvefold.web.schemas import AnswerQuestion, read_body
from twelvefold.web.state import web_of


async def answer(request: Request) -> Response:
    """`POST /v1/answers`: the answer to a question that a tool asks the key's principal."""
    web = web_of(request)
    require_scope(request, "approve")
    body = await read_body(request, AnswerQuestion)
    await answer_for_person(web, caller_of(request), body.call_id, body.output)
    return json_response({"object": "answer", "call_id": body.call_id})


ROUTES: list[BaseRoute] = [Route("/v1/answers", answer, methods=["POST"])]
