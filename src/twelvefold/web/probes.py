"""Whether the process lives, whether it can work, and which release it is."""

from starlette.requests import Request
from starlette.responses import Response

from twelvefold import __version__
from twelvefold.boot import SCHEMA, commit
from twelvefold.web.http.errors import json_response
from twelvefold.web.state import web_of


async def healthz(request: Request) -> Response:
    """Alive: the process answers. What it stands on is `readyz`'s to say."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether to send requests here: 200, or 503 with what is missing."""
    web = web_of(request)
    if web.draining.is_set():
        return json_response({"status": "stopping"}, 503, {"retry-after": "1"})
    found = await web.readiness.look()
    answer = {
        "status": "ready" if found.ready else "not_ready",
        "database": "answers" if found.answers else "does not answer",
        "schema": found.schema,
        "schema_needed": SCHEMA,
    }
    return json_response(answer, 200 if found.ready else 503)


async def version(request: Request) -> Response:
    """Which release this is, what it was built of, and which schema it was made for."""
    release = web_of(request).services.release
    return json_response(
        {
            "name": "twelvefold",
            "version": __version__,
            "commit": commit(),
            "release": release,
            "schema": SCHEMA,
        }
    )
