"""The handlers of the API's routes, and what several of them share."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request

from twelvefold.core import ThreadHead, Workflow
from twelvefold.web.http import caller_of, principal_of, require_workflow
from twelvefold.web.ids import parse_conversation_id
from twelvefold.web.runs.visibility import load_visible_head
from twelvefold.web.schemas import TurnRequest
from twelvefold.web.state import web_of


async def load_path_head(request: Request) -> ThreadHead:
    """Return the conversation that the request's path names.

    Raises NotFound, and ApiError with 403 if the request's key does not allow to change it.
    """
    thread = parse_conversation_id(request.path_params["conversation_id"])
    store, principal = web_of(request).services.store, principal_of(request)
    head = await load_visible_head(store, principal, thread)
    require_workflow(request, head.workflow)
    return head


def offered_to(request: Request) -> Mapping[str, Workflow]:
    """Return the workflows that the request's key may start, by name."""
    caller, offered = caller_of(request), web_of(request).services.offered
    if caller.workflows is None:
        return offered
    return {name: one for name, one in offered.items() if name in caller.workflows}


def for_caller(turn: TurnRequest, request: Request) -> TurnRequest:
    """Return the turn with the tools that the request's key allows, and its priority."""
    caller = caller_of(request)
    return replace(turn, allowed_tools=caller.tools, priority=caller.priority)
