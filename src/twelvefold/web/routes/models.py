"""`/v1/models`: each workflow as a model, and with each model that a caller may choose."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import FILE, IMAGE, Workflow
from twelvefold.web.http import check_list_parameters, json_response
from twelvefold.web.schemas import Json, chosen_model, model_names, workflow_of
from twelvefold.web.state import Web, offered_to, web_of


async def list_models(request: Request) -> Response:
    """`GET /v1/models`: those that the key allows, in the order of WORKFLOWS."""
    check_list_parameters(request.query_params)
    web, workflows = web_of(request), offered_to(request)
    data = [_model(web, workflows, name) for name in model_names(workflows)]
    return json_response({"object": "list", "data": data})


async def get_model(request: Request) -> Response:
    """`GET /v1/models/{model}`."""
    name = request.path_params["model"]
    return json_response(_model(web_of(request), offered_to(request), name))


def _model(web: Web, workflows: Mapping[str, Workflow], name: str) -> Json:
    """Return a model: the inputs beside text that it takes, and its examples. Raises ApiError."""
    workflow, chosen = workflow_of(name, workflows), chosen_model(name, workflows)
    choices = web.accepted_inputs(workflow.name, chosen)
    accepts = [kind for kind in (IMAGE, FILE) if any(kind in taken for taken in choices)]
    # Clients require a number; a workflow has no date.
    fixed = {"object": "model", "created": 0, "owned_by": "twelvefold"}
    return {"id": name, **fixed, "accepts": accepts, "examples": list(workflow.examples)}


ROUTES: list[BaseRoute] = [
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]
