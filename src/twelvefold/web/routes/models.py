"""`/v1/models`: each workflow as a model."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.web.http import check_list_parameters, json_response
from twelvefold.web.schemas import Json, workflow_of
from twelvefold.web.state import web_of


async def list_models(request: Request) -> Response:
    """`GET /v1/models`: in the order of WORKFLOWS."""
    check_list_parameters(request.query_params)
    names = web_of(request).services.offered
    return json_response({"object": "list", "data": [_model(name) for name in names]})


async def get_model(request: Request) -> Response:
    """`GET /v1/models/{model}`."""
    workflow = workflow_of(request.path_params["model"], web_of(request).services.offered)
    return json_response(_model(workflow.name))


def _model(name: str) -> Json:
    # Clients require a number; a workflow has no date.
    return {"id": name, "object": "model", "created": 0, "owned_by": "twelvefold"}


ROUTES: list[BaseRoute] = [
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]
