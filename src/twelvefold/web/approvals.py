"""A call that waits for a person, answered by an item in a request's input.

The run then goes on where it stood; what follows is its next response. Whoever answers twice has
answered once: the second finds nothing that waits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from twelvefold.core.events import Entry, Item
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import Principal
from twelvefold.core.thread import fold
from twelvefold.engine.append import Driven
from twelvefold.engine.commands import answer, take
from twelvefold.engine.patience import patiently
from twelvefold.errors import Conflict, NotFound, ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.checks import refuse, shown
from twelvefold.web.context import Web
from twelvefold.web.faults import ApiError
from twelvefold.web.ids import ResponseId, parse_approval_id
from twelvefold.web.inputs import ANSWER
from twelvefold.web.reading import PATIENCE_S, opened, own_entries
from twelvefold.web.requests import Request
from twelvefold.web.starting import Begun
from twelvefold.web.wire import parts

log = get_logger(__name__)
TAKE_S = 1.0
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call of the principal's that waits for approval. `next` is the response that follows."""

    call: CallId
    next: ResponseId
    workflow: str


def answers(request: Request) -> bool:
    """Whether a request answers a call that waits, or means to."""
    return any(item["type"] == ANSWER for item in request.items)


async def go_on(web: Web, principal: Principal, request: Request) -> Begun:
    """Give the answer, and go on with the run here. Raises ApiError if nothing waits for it."""
    index, asked = await _waiting(web, principal, request.items)
    said = request.items[index]
    if asked.workflow != request.workflow.name:
        refuse(f"the call is one of {asked.workflow!r}, and so must be this turn", "model")
    _refuse_news(request, index)
    run = asked.next.run
    if request.background:
        await _answer(web, principal, asked, said, index)
        web.wake()
        return await _begun(web, principal, asked.next, None)
    with web.drives.slot():
        await _answer(web, principal, asked, said, index)
        return await _begun(web, principal, asked.next, await _taken(web, run))


async def _waiting(web: Web, principal: Principal, items: Sequence[Item]) -> tuple[int, _Asked]:
    """The first answer that something waits for; others were given before and are only told."""
    given = [index for index, item in enumerate(items) if item["type"] == ANSWER]
    for index in given:
        if asked := await _asked(web, principal, items[index]["approval_request_id"]):
            return index, asked
    raise _not_pending(items[given[0]], given[0])


async def _asked(web: Web, principal: Principal, id: str) -> _Asked | None:
    store = web.services.store
    try:
        thread, call = parse_approval_id(id)
        head = await patiently(lambda: store.thread(thread), PATIENCE_S)
        record = await patiently(lambda: store.load(thread), PATIENCE_S)
    except NotFound:
        return None
    told = fold(record.entries)
    waits = any(one.id == call and one.state == "asked" for one in told.pending)
    run = RunId(thread, told.run)
    own: list[Entry] = own_entries(record.entries, run, behind=record.forked_at)
    # On a fork of the thread it is asked no more.
    if head.principal != principal.id or not waits or not own:
        return None
    return _Asked(call, ResponseId(run, len(parts(own))), record.workflow)


def _refuse_news(request: Request, index: int) -> None:
    """Refuse what cannot be said to a run that stands in the middle of a call.

    Who sends no id sends the whole story again, with the answer behind it.
    """
    start = 0 if request.previous or request.conversation else index + 1
    for at, item in enumerate(request.items[start:], start):
        if item["type"] == "message" and item["role"] != "assistant":
            refuse("answer the request for approval first, and say more then", f"input[{at}]")


async def _answer(web: Web, principal: Principal, asked: _Asked, said: Item, index: int) -> None:
    try:
        await answer(
            web.services,
            asked.next.run,
            approved=said["approve"],
            by=principal.id,
            reason=said.get("reason", ""),
            call=asked.call,
        )
    except Conflict as error:
        # Somebody else has just answered, and it goes on; or it was cancelled.
        raise _not_pending(said, index) from error


def _not_pending(said: Item, index: int) -> ApiError:
    message = f"no call waits for the answer to {shown(said['approval_request_id'])}"
    param = f"input[{index}].approval_request_id"
    return ApiError(400, message, code="approval_not_pending", param=param)


async def _taken(web: Web, run: RunId) -> Driven | None:
    """The run, to be driven here; None if a worker was quicker, or will have to do it."""
    end = asyncio.get_running_loop().time() + TAKE_S
    while True:
        try:
            return await take(web.services, run)
        except ServiceFault as error:
            why = str(error)
        except Conflict as error:
            why = str(error)
            # Who has answered at the same time, and in vain, holds the run for a moment.
            if asyncio.get_running_loop().time() < end:
                await asyncio.sleep(LOOK_S)
                continue
        log.info("run_not_taken", run=str(run), error=why)
        return None


async def _begun(web: Web, principal: Principal, id: ResponseId, driven: Driven | None) -> Begun:
    if driven is not None:
        task = web.drives.start(driven, web.news.bell(id.run))
        task.add_done_callback(lambda _: web.news.ring(id.run))
    reading, _ = await opened(web, principal, id, stored=False)
    return Begun(web, reading, here=driven is not None)
