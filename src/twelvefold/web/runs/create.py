"""From a request to a run under way: once a key, one turn at a time a conversation, never half.

Everything that can be refused is refused before the run is written; from then on the run's journal
is the answer.
"""

import asyncio
import random
from dataclasses import replace
from typing import Any, cast

import msgspec

from twelvefold.core.events import Entry, RunStarted
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import OVER, IdempotentRequest, JournalDelta, Principal
from twelvefold.core.thread import fold
from twelvefold.engine.commands import enqueue_run, start_run
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.memory_budget import Reservation
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import Conflict, ConversationTooLarge, NotFound, Repeated
from twelvefold.web.http.client_watch import ClientWatch
from twelvefold.web.http.errors import CONVERSATION_TOO_LARGE, ApiError
from twelvefold.web.ids import ResponseId, approval_id
from twelvefold.web.runs.supervise import Supervisor
from twelvefold.web.runs.target import ThreadTarget, no_previous, resolve_target, resolved
from twelvefold.web.schemas.call_results import without_repeats
from twelvefold.web.schemas.responses import Request
from twelvefold.web.state import Web
from twelvefold.web.streaming.reader import ResponseReader, opened, view_of
from twelvefold.web.turn_memory import TurnMemory, turn_memory

LOCK_S = 5.0
"""How long a turn waits for the one before it in its conversation."""
POLL_INTERVAL_S = 0.1


class StartedRun:
    """A run under way; `here`: this process has begun to drive it for whoever waits for it."""

    def __init__(self, web: Web, reading: ResponseReader, *, here: bool = False) -> None:
        self.reading = reading
        self.run = reading.id.run
        self.here = here
        self.ensure_progress = Supervisor(web, reading).ensure_progress

    @property
    def unseen_elsewhere(self) -> bool:
        """Whether whoever waits for the run here is the only one who could ever see it."""
        return self.here and not self.reading.view.started.options.store


async def begin(
    web: Web, principal: Principal, request: Request, client: ClientWatch
) -> StartedRun:
    """Start what is asked for, or find what came of it when it was asked for before.

    Raises ApiError, and ClientDisconnect if the client leaves while the turn waits for another.
    """
    input_bytes = len(msgspec.json.encode(request.items))
    with turn_memory(web.executor.memory, principal, input_bytes) as memory:
        await memory.hold()
        try:
            return await _begun_once(web, principal, request, memory, client)
        except ConversationTooLarge as error:
            raise _too_large(error, request) from error


async def _begun_once(
    web: Web, principal: Principal, request: Request, memory: TurnMemory, client: ClientWatch
) -> StartedRun:
    end = asyncio.get_running_loop().time() + LOCK_S
    place: ThreadTarget | None = None
    while True:
        if before := await _made_before(web, principal, request):
            return before
        if place is None:
            request, place = await _placed(web, principal, request, memory)
        try:
            return await _begun(web, principal, request, place, memory)
        except Repeated:
            continue
        except NotFound as error:
            if request.previous:  # its conversation was deleted
                raise no_previous(request.previous) from error
            raise
        except Conflict:
            if request.previous:
                # Somebody else was quicker to go on from there, so this one goes on beside it.
                place = place.as_fork()
            elif place.thread:
                await _wait(web, place.thread, end, client)
                place = None  # the turn before may have had the results that this one brings
            else:
                raise


def _too_large(error: ConversationTooLarge, request: Request) -> ApiError:
    at = request.items_at
    if request.previous or request.conversation:
        at = "previous_response_id" if request.previous else "conversation"
    return ApiError(400, str(error), code=CONVERSATION_TOO_LARGE, param=at)


async def _made_before(web: Web, principal: Principal, request: Request) -> StartedRun | None:
    run = await run_before(web, principal, request.key)
    if run is None:
        return None
    return await found(web, principal, ResponseId(run))


async def run_before(web: Web, principal: Principal, key: IdempotentRequest | None) -> RunId | None:
    """The run that came of the same request. Raises ApiError if the key was another request's."""
    if key is None:
        return None
    store = web.services.store
    made = await retry_unavailable(lambda: store.made_before(principal.id, key.key))
    if made is None:
        return None
    run, body_hash = made
    if body_hash != key.body_hash:
        message = "this Idempotency-Key was used for another request; use a new one"
        raise ApiError(422, message, code="idempotency_key_reused", param="Idempotency-Key")
    return run


async def found(web: Web, principal: Principal, id: ResponseId) -> StartedRun:
    """What came of a request before. Raises ApiError if it was deleted: it is not done again."""
    try:
        reading, _ = await opened(web, principal, id, stored=False)
    except NotFound as error:
        raise deleted_before() from error
    return StartedRun(web, reading)


def deleted_before() -> ApiError:
    """What came of the request before was deleted."""
    message = "the response to this Idempotency-Key was deleted; use a new one"
    return ApiError(422, message, code="response_deleted", param="Idempotency-Key")


async def _placed(
    web: Web, principal: Principal, request: Request, memory: TurnMemory
) -> tuple[Request, ThreadTarget]:
    """Where the turn goes, and all that it says. Raises ApiError for what it cannot refer to."""
    request = replace(request, items=await resolved(web, principal, request.items))
    place = await resolve_target(web.services, principal, request, memory)
    return replace(request, items=without_repeats(request.items, place.calls)), place


async def _begun(
    web: Web, principal: Principal, request: Request, place: ThreadTarget, memory: TurnMemory
) -> StartedRun:
    if request.background:
        return await _enqueued(web, principal, request, place)
    with web.executor.slot(principal):
        driven = await start_run(web.services, **_new_run(principal, request, place))
        return drive_here(web, driven, memory.reservation)


async def _enqueued(
    web: Web, principal: Principal, request: Request, place: ThreadTarget
) -> StartedRun:
    async with web.queue.place(principal):
        run, first = await enqueue_run(web.services, **_new_run(principal, request, place))
    web.wake()
    # Nothing is read: whatever becomes of the database now, what is written is done.
    return StartedRun(web, _reading_of(web, run, first, background=True))


def _new_run(principal: Principal, request: Request, place: ThreadTarget) -> dict[str, Any]:
    """What is asked for, as the engine takes it."""
    return {
        "workflow": request.workflow.name,
        "principal": principal,
        "items": request.items,
        "thread": place.thread,
        "options": request.options,
        "request": request.key,
        "behind": place.end,
        "fork": place.fork,
    }


def drive_here(web: Web, driven: HeldRun, reservation: Reservation) -> StartedRun:
    """Drive a new run in this process, whether or not anybody waits for it; it keeps the bytes."""
    first = next(one for one in driven.thread.latest if isinstance(one.event, RunStarted))
    reading = _reading_of(web, driven.run, first, background=False)
    web.drive(driven, reservation)
    return StartedRun(web, reading, here=True)


def _reading_of(web: Web, run: RunId, first: Entry, *, background: bool) -> ResponseReader:
    started = cast("RunStarted", first.event)
    view = view_of(web.settings, started, background=background)
    reading = ResponseReader(web, ResponseId(run), view, first, first.position)
    reading.apply(JournalDelta((), (first,)))
    return reading


async def _wait(web: Web, thread: ThreadId, end: float, client: ClientWatch) -> None:
    """Wait a moment, and then for the turn before; none of it is loaded meanwhile.

    Raises ApiError if it takes too long or waits itself, and ClientDisconnect.
    """
    is_under_way = await _is_under_way(web, thread)
    while True:
        if asyncio.get_running_loop().time() >= end:
            raise _locked("the turn before is not over; try again in a moment", repeat=True)
        await asyncio.sleep(POLL_INTERVAL_S * random.uniform(1, 3))  # noqa: S311 - jitter, no secret
        await client.check()
        is_under_way = is_under_way and await _is_under_way(web, thread)
        if not is_under_way:
            return


async def _is_under_way(web: Web, thread: ThreadId) -> bool:
    """Whether the thread's last run is not over. Raises ApiError if it waits for a person."""
    store = web.services.store
    try:
        latest = (await retry_unavailable(lambda: store.listed_thread(thread))).latest
    except NotFound:
        return False  # it was deleted; the turn is refused when its place is looked up again
    if latest is None or latest.status in OVER:
        return False
    if latest.status == "waiting":
        await _refuse_waiting(web, thread)
    return True


async def _refuse_waiting(web: Web, thread: ThreadId) -> None:
    """Raise ApiError with what the thread's run waits for, if it still does."""
    record = await retry_unavailable(lambda: web.services.store.load(thread))
    told = fold(record.entries)
    if told.status == "active" and told.waits:
        call = told.pending[0]
        do = f"answer {approval_id(thread, call.id)}"
        if call.state == "unknown":
            do = "have an operator settle what came of its last call"
        message = f"the turn before waits for a person; {do}, or cancel it with ?force=true"
        raise _locked(message, repeat=False)


def _locked(message: str, *, repeat: bool) -> ApiError:
    return ApiError(
        409,
        message,
        code="conversation_locked",
        param="conversation",
        wait_s=1 if repeat else None,
        repeat=repeat,
    )
