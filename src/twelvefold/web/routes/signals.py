"""`/v1/signals`: no part of the OpenAI API."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.engine import send_signal
from twelvefold.errors import RequestError
from twelvefold.web.http import abbreviate, caller_of, json_response, principal_of, raise_invalid
from twelvefold.web.schemas import SendSignal, read_body
from twelvefold.web.state import web_of


async def send(request: Request) -> Response:
    """`POST /v1/signals`: an event for the runs of the key's own principal.

    A repetition is no error: `first` says whether this delivery counts.
    """
    web, principal = web_of(request), principal_of(request, "signal")
    body = await read_body(request, SendSignal)
    known = body.workflow in web.services.workflows
    if not known or not caller_of(request).allows_workflow(body.workflow):
        raise_invalid(f"there is no workflow {abbreviate(body.workflow)}", "workflow")
    try:
        is_first = await send_signal(
            web.services,
            body.key,
            body.payload,
            workflow=body.workflow,
            principal=principal.id,
            sender=principal.id,
        )
    except RequestError as error:
        raise_invalid(str(error), "payload")
    return json_response({"object": "signal", "key": body.key, "first": is_first})


ROUTES: list[BaseRoute] = [Route("/v1/signals", send, methods=["POST"])]
