"""The handlers of the API's routes, and the conversation that several of them work on."""

from starlette.requests import Request

from twelvefold.core import ThreadHead
from twelvefold.web.http import principal_of
from twelvefold.web.ids import parse_conversation_id
from twelvefold.web.runs.visibility import load_visible_head
from twelvefold.web.state import web_of


async def load_path_head(request: Request) -> ThreadHead:
    """Return the conversation that the request's path names. Raises NotFound."""
    thread = parse_conversation_id(request.path_params["conversation_id"])
    return await load_visible_head(web_of(request).services.store, principal_of(request), thread)
