"""`/v1/admin/workers`: the processes that work on the database."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import Process
from twelvefold.engine import retry_unavailable
from twelvefold.web.http import (
    check_list_parameters,
    json_response,
    list_object,
    require_admin,
)
from twelvefold.web.schemas import Json
from twelvefold.web.state import web_of

MICRO = 1_000_000


async def list_workers(request: Request) -> Response:
    """`GET /v1/admin/workers`: web processes and workers, the last to start first."""
    require_admin(request)
    check_list_parameters(request.query_params)
    processes = await retry_unavailable(web_of(request).services.store.processes)
    return json_response(list_object([_process(one) for one in processes], has_more=False))


def _process(process: Process) -> Json:
    return {
        "id": process.id,
        "object": "admin.process",
        "kind": process.kind,
        "release": process.release,
        "host": process.host,
        "pid": process.pid,
        "runs": process.runs,
        "started_at": process.started_at_us / MICRO,
        "heartbeat_at": process.heartbeat_at_us / MICRO,
        "heartbeat_age_s": process.age_s,
    }


ROUTES: list[BaseRoute] = [Route("/v1/admin/workers", list_workers, methods=["GET"])]
