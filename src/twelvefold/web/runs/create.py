"""Creates the run of a request: once per idempotency key, one turn of a conversation at a time.

Every error that the request can cause is raised before the run is written. After that the run's
journal has the answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import msgspec

from twelvefold.core import (
    Entry,
    IdempotentRequest,
    JournalDelta,
    Principal,
    RunId,
    RunStarted,
    ThreadId,
)
from twelvefold.engine import (
    RunRequest,
    RunSlot,
    SharesTaken,
    enqueue_run,
    retry_unavailable,
    start_run,
)
from twelvefold.errors import Conflict, ConversationTooLarge, InputRefused, NotFound, Repeated
from twelvefold.web.http import CONVERSATION_TOO_LARGE, ApiError, too_many_runs
from twelvefold.web.ids import ResponseId, parse_conversation_id
from twelvefold.web.runs.polling import (
    conversation_locked,
    raise_if_waiting,
    wait_until_thread_free,
)
from twelvefold.web.runs.target import (
    NEW_THREAD,
    ThreadTarget,
    previous_not_found,
    resolve_references,
    resolve_target,
)
from twelvefold.web.schemas import CALL_ITEMS, REFERENCE, TurnRequest, without_repeats
from twelvefold.web.state import ClientWatch, TurnMemory, Web, turn_memory
from twelvefold.web.streaming.lookup import open_response
from twelvefold.web.streaming.reader import ResponseReader, build_view


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run that was created or found for a request, with the reader of the request's response.

    `ends_with_client`: only the waiting client can read the response, so the run is cancelled if
    the client leaves.
    """

    reader: ResponseReader
    ends_with_client: bool = False

    @property
    def run(self) -> RunId:
        return self.reader.id.run


async def start_turn(
    web: Web, principal: Principal, request: TurnRequest, client: ClientWatch
) -> StartedRun:
    """Create the run of a request, or find the run that the same request has created before.

    Raises ApiError, and ClientDisconnect if the client leaves while the turn waits for another.
    """
    input_bytes = len(msgspec.json.encode(request.items))
    with turn_memory(web.executor.memory, principal, input_bytes) as memory:
        await memory.hold()
        turn = _Turn(web, principal, request, memory)
        end = asyncio.get_running_loop().time() + web.waits.thread_s
        while True:
            try:
                return await turn.start()
            except ConversationTooLarge as error:
                at = _place_of_conversation(request)
                raise ApiError(400, str(error), code=CONVERSATION_TOO_LARGE, param=at) from error
            except InputRefused as error:
                at = _place_of_conversation(request) if error.earlier else request.items_at
                raise ApiError(400, str(error), code=error.code, param=at) from error
            except Conflict as error:
                if not request.conversation:
                    raise
                thread = parse_conversation_id(request.conversation)
                if not await _wait_for_previous_turn(web, thread, client, end):
                    message = "the previous turn is not over; try again in a moment"
                    raise conversation_locked(message, repeat=True) from error


async def _wait_for_previous_turn(
    web: Web, thread: ThreadId, client: ClientWatch, end: float
) -> bool:
    """Return whether the previous turn is over by `end`. Raises ApiError if a person must act."""
    on_waiting = partial(raise_if_waiting, web, thread)
    return await wait_until_thread_free(web.services.store, thread, client, end, on_waiting)


def _place_of_conversation(request: TurnRequest) -> str:
    """Return the parameter that names the conversation; that of the items if none does."""
    if request.previous or request.conversation:
        return "previous_response_id" if request.previous else "conversation"
    return request.items_at


class _Turn:
    """A turn that is about to start."""

    def __init__(
        self,
        web: Web,
        principal: Principal,
        request: TurnRequest,
        memory: TurnMemory,
    ) -> None:
        self._web = web
        self._principal = principal
        self._request = request
        self._memory = memory

    async def start(self) -> StartedRun:
        """Start the turn. Raises Conflict while the conversation's previous turn is not over."""
        target: ThreadTarget | None = None
        while True:
            if repeated := await self._find_repeated():
                return repeated
            if target is None:
                # Again after each wait: the previous turn may have had the same results of calls.
                request, target = await self._resolve()
            try:
                return await self._write(request, target)
            except Repeated:
                continue
            except NotFound as error:
                if request.previous:  # its conversation was deleted
                    raise previous_not_found(request.previous) from error
                raise
            except Conflict:
                if not request.previous:
                    raise
                # Another turn has continued the conversation from there, so this one forks it.
                target = target.as_fork()

    async def _find_repeated(self) -> StartedRun | None:
        run = await find_repeated_run(self._web, self._principal, self._request.key)
        if run is None:
            return None
        return await open_repeated(self._web, self._principal, ResponseId(run))

    async def _resolve(self) -> tuple[TurnRequest, ThreadTarget]:
        """Return the request with its references replaced, and its target. Raises ApiError."""
        web, principal, request, target = self._web, self._principal, self._request, NEW_THREAD
        if any(item["type"] == REFERENCE for item in request.items):
            choices = web.accepted_inputs(request.workflow.name, request.options.model)
            items = await resolve_references(web, principal, request.items, choices)
            request = replace(request, items=items)
        if request.previous or request.conversation:
            target = await resolve_target(web.services, principal, request, self._memory)
        if any(item["type"] in CALL_ITEMS for item in request.items):
            request = replace(request, items=without_repeats(request.items, target.calls))
        return request, target

    async def _write(self, request: TurnRequest, target: ThreadTarget) -> StartedRun:
        web, run = self._web, _run_request(self._principal, request, target)
        if request.background:
            async with reserve_queue_slot(web, self._principal):
                id, first = await enqueue_run(web.services, run)
            # Nothing is read here: once written, the run does not depend on the database's answer.
            return StartedRun(_reader_of_new_run(web, id, first, background=True))
        with web.executor.slot(self._principal):
            async with run_slot(web, self._principal) as slot:
                held = await start_run(web.services, run)
            if slot is not None:
                await slot.fill(held.run)
            first = next(one for one in held.thread.latest if isinstance(one.event, RunStarted))
            reader = _reader_of_new_run(web, held.run, first, background=False)
            web.start_drive(held, self._memory.reservation)
            is_private = request.key is None and not request.options.store
            return StartedRun(reader, ends_with_client=is_private)


@asynccontextmanager
async def reserve_queue_slot(web: Web, principal: Principal) -> AsyncIterator[None]:
    """Reserve a slot in the queue for the run that the body queues, then wake the worker."""
    async with web.queue.slot(principal):
        yield
    web.wake()


@asynccontextmanager
async def run_slot(
    web: Web, principal: Principal, key_id: str | None = None, run: RunId | None = None
) -> AsyncIterator[RunSlot | None]:
    """Take a slot of the principal and one of the key for a run that the body claims.

    `key_id` None: the key of the request. Yields None if there is no key and no limit of a
    principal. Raises ApiError with 429 if all are taken.
    """
    shares, key = web.services.run_shares, principal.key_id if key_id is None else key_id
    if not key and web.services.limits.active_runs_per_principal is None:
        yield None
        return
    try:
        async with shares.slot(principal.id, key, run) as slot:
            yield slot
    except SharesTaken as taken:
        raise too_many_runs(str(taken)) from taken


def _run_request(principal: Principal, request: TurnRequest, target: ThreadTarget) -> RunRequest:
    """Return a turn as the engine's commands take it."""
    return RunRequest(
        request.workflow.name,
        principal,
        request.items,
        target.thread,
        request.options,
        request.key,
        position=target.end,
        fork=target.fork,
        allowed_tools=request.allowed_tools,
        priority=request.priority,
        trace=request.trace,
    )


def _reader_of_new_run(web: Web, run: RunId, first: Entry, *, background: bool) -> ResponseReader:
    started = cast("RunStarted", first.event)
    view = build_view(web.settings, started, background=background)
    reader = ResponseReader(web, ResponseId(run), view, first, first.position)
    reader.apply(JournalDelta((), (first,)))
    return reader


# --- requests that were made before -------------------------------------------------------------


async def find_repeated_run(
    web: Web, principal: Principal, key: IdempotentRequest | None
) -> RunId | None:
    """Return the run that the same request has created before.

    Raises ApiError if the key was used for another request.
    """
    if key is None:
        return None
    store = web.services.store
    found = await retry_unavailable(partial(store.find_request, principal.id, key.key))
    if found is None:
        return None
    run, body_hash = found
    if body_hash != key.body_hash:
        message = "this Idempotency-Key was used for another request; use a new one"
        raise ApiError(422, message, code="idempotency_key_reused", param="Idempotency-Key")
    return run


async def open_repeated(web: Web, principal: Principal, id: ResponseId) -> StartedRun:
    """Read the response of a repeated request. Raises ApiError if it was deleted."""
    try:
        reader, _ = await open_response(web, principal, id, only_stored=False)
    except NotFound as error:
        raise response_deleted() from error
    return StartedRun(reader)


def response_deleted() -> ApiError:
    """Return the error for a repeated request whose response was deleted: it is not done again."""
    message = "the response to this Idempotency-Key was deleted; use a new one"
    return ApiError(422, message, code="response_deleted", param="Idempotency-Key")
