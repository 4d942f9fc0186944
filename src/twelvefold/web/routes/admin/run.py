"""`/v1/admin/runs/{run_id}`: one run of any principal, and what an operator does with it."""

from collections.abc import AsyncIterator
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from twelvefold.core import RunId
from twelvefold.engine import retry_unavailable
from twelvefold.engine.export import export_thread
from twelvefold.errors import NotFound
from twelvefold.web.history.journal import Journal
from twelvefold.web.history.thread_reader import open_thread_reader
from twelvefold.web.http import check_oldest_first, json_response, parse_integer, require_admin
from twelvefold.web.ids import ResponseId, conversation_id
from twelvefold.web.runs import operator
from twelvefold.web.runs.run_detail import describe_run
from twelvefold.web.schemas import Json, read_body
from twelvefold.web.schemas.admin.runs import ForkRun, ResumeRun, SettleRun
from twelvefold.web.state import Web, web_of

MAX_ENTRIES = 500
"""The most entries on a page of the journal."""
PATH = "/v1/admin/runs/{run_id}"


async def _run_of(request: Request) -> RunId:
    """Return the run that the path names, by the id of any of its responses.

    Raises NotFound, also if its conversation was deleted.
    """
    run = ResponseId.parse(request.path_params["run_id"]).run
    try:
        await retry_unavailable(partial(web_of(request).services.store.thread, run.thread))
    except NotFound as error:
        raise NotFound(f"no run {run}") from error
    return run


async def show(request: Request) -> Response:
    """`GET /v1/admin/runs/{run_id}`: with timeline, failure, children and possible actions."""
    caller, web = require_admin(request), web_of(request)
    return json_response(await describe_run(web, caller.principal, await _run_of(request)))


async def list_entries(request: Request) -> Response:
    """`GET /v1/admin/runs/{run_id}/journal`: the entries of the run after a position."""
    require_admin(request)
    web, run, query = web_of(request), await _run_of(request), request.query_params
    check_oldest_first(query)
    after = parse_integer(query, "after", 0, 0)
    limit = parse_integer(query, "limit", MAX_ENTRIES, 1)
    store, settings = web.services.store, web.settings
    record = await retry_unavailable(lambda: store.run(run))
    head = await retry_unavailable(lambda: store.thread(run.thread))
    reader = await open_thread_reader(store, head)
    workflow = web.services.workflows.get(head.workflow)
    journal = Journal(reader, store, workflow, settings.tool_outputs, settings.input_files)
    start = max(after, record.began - 1)
    page = await journal.page(start, min(limit, MAX_ENTRIES), to=record.last_position)
    return json_response(page)


async def export(request: Request) -> Response:
    """`GET /v1/admin/runs/{run_id}/export`: the whole conversation and the runs below, as lines."""
    require_admin(request)
    store, run = web_of(request).services.store, await _run_of(request)
    await retry_unavailable(lambda: store.run(run))  # raises NotFound before the response begins
    lines = _encoded(export_thread(store, run.thread))
    name = f'attachment; filename="{conversation_id(run.thread)}.jsonl"'
    headers = {"content-disposition": name}
    return StreamingResponse(lines, headers=headers, media_type="application/x-ndjson")


async def _encoded(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield f"{line}\n".encode()


# --- actions --------------------------------------------------------------------------------------


async def retry(request: Request) -> Response:
    """`POST /v1/admin/runs/{run_id}/retry`: the same input again, in the same conversation."""
    caller, web = require_admin(request), web_of(request)
    return await _answer(web, await operator.retry(web, caller, await _run_of(request)))


async def cancel(request: Request) -> Response:
    """`POST /v1/admin/runs/{run_id}/cancel`; a second time it changes nothing."""
    caller, web, run = require_admin(request), web_of(request), await _run_of(request)
    await operator.cancel(web, caller, run)
    return await _answer(web, run)


async def resume(request: Request) -> Response:
    """`POST /v1/admin/runs/{run_id}/resume`: approve or deny a call."""
    caller, web, run = require_admin(request), web_of(request), await _run_of(request)
    await operator.resume(web, caller, run, await read_body(request, ResumeRun))
    return await _answer(web, run)


async def settle(request: Request) -> Response:
    """`POST /v1/admin/runs/{run_id}/settle`: the outcome of a call that is unknown."""
    caller, web, run = require_admin(request), web_of(request), await _run_of(request)
    await operator.settle_call(web, caller, run, await read_body(request, SettleRun))
    return await _answer(web, run)


async def fork(request: Request) -> Response:
    """`POST /v1/admin/runs/{run_id}/fork`: a conversation that continues from an entry."""
    caller, web, run = require_admin(request), web_of(request), await _run_of(request)
    body = await read_body(request, ForkRun, may_be_empty=True)
    new = await operator.fork(web, caller, run, body.position)
    return json_response(_action(new, new, None))


async def _answer(web: Web, run: RunId) -> Response:
    record = await retry_unavailable(lambda: web.services.store.run(run))
    return json_response(_action(str(run), conversation_id(run.thread), record.status))


def _action(id: str, thread: str, status: str | None) -> Json:
    return {"object": "admin.action", "id": id, "thread": thread, "status": status}


ROUTES: list[BaseRoute] = [
    Route(PATH, show, methods=["GET"]),
    Route(f"{PATH}/journal", list_entries, methods=["GET"]),
    Route(f"{PATH}/export", export, methods=["GET"]),
    Route(f"{PATH}/retry", retry, methods=["POST"]),
    Route(f"{PATH}/cancel", cancel, methods=["POST"]),
    Route(f"{PATH}/resume", resume, methods=["POST"]),
    Route(f"{PATH}/settle", settle, methods=["POST"]),
    Route(f"{PATH}/fork", fork, methods=["POST"]),
]
