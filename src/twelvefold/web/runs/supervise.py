"""Waits for a run on behalf of its client, and ensures meanwhile that the run ends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from twelvefold.engine import run_uninterrupted
from twelvefold.errors import NotFound, ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.http import SLOT, ApiError
from twelvefold.web.projection.response import LAST_EVENTS
from twelvefold.web.runs.continuation import IDLE, Continuation
from twelvefold.web.runs.create import StartedRun
from twelvefold.web.schemas import Json
from twelvefold.web.state import ClientWatch, Web, first_done
from twelvefold.web.streaming.child_items import try_nest_child_items
from twelvefold.web.streaming.reader import (
    DONE,
    INTERRUPTED,
    REVOKED,
    SSE_HEADERS,
    SSEWriter,
    encode_data,
    encode_event,
)

log = get_logger(__name__)


class Supervisor:
    """Ensures that the run that a client waits for ends. `clock` gives monotonic seconds."""

    def __init__(
        self, web: Web, started: StartedRun, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._web = web
        self._started = started
        self._reader = started.reader
        self._run = started.run
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def start(self) -> None:
        """Supervise the run in a task until the context ends; the second call does nothing."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._supervise(), name=f"supervise {self._run}")

    async def _supervise(self) -> None:
        try:
            if await self._is_driven_until_idle():
                return
            continuation, is_idle = Continuation(self._web, self._started, clock=self._clock), False
            while not is_idle:
                # A check is not interrupted: a run that it has claimed is driven.
                check = continuation.ensure_progress()
                pause_s = await run_uninterrupted(check, self._web.services.exit_limit)
                await self._pause(pause_s)
                is_idle = await self._is_driven_until_idle()
        except Exception:
            log.exception("supervision_failed", run=str(self._run))
            self._reader.stop()

    async def _is_driven_until_idle(self) -> bool:
        """Wait while this process drives the run; return whether it is over or waits then."""
        outcome = None
        while task := self._web.executor.drive_of(self._run):
            await asyncio.wait([task])
            outcome = None if task.cancelled() else task.result()
        return outcome is not None and outcome.status in IDLE

    async def _pause(self, pause_s: float) -> None:
        """Wait, but not beyond the moment at which the process begins to drain."""
        draining = self._web.draining
        if draining.is_set():
            await asyncio.sleep(pause_s)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await draining.wait()


async def read_supervised(web: Web, started: StartedRun) -> AsyncGenerator[list[Json], None]:
    """Yield the events of a response as its reader does, while its run is supervised."""
    reader = started.reader
    events = reader.events(while_draining=started.ends_with_client)
    async with aclosing(events) as batches, Supervisor(web, started) as supervisor:
        async for batch in batches:
            if not reader.over:
                supervisor.start()
            yield batch


async def wait_for_end(web: Web, started: StartedRun, client: ClientWatch) -> None:
    """Wait for the end of the response, or of the process, as long as the client does.

    Raises ClientDisconnect if the client leaves, ApiError if its key is revoked.
    """
    try:
        await client.wait_for(_read_to_end(web, started))
    except (ClientDisconnect, ApiError):
        await on_disconnect(web, started)
        raise


async def _read_to_end(web: Web, started: StartedRun) -> None:
    # The events of a run that is driven here are not needed before its end.
    while task := web.executor.drive_of(started.run):
        await asyncio.wait([task])
    reading = asyncio.get_running_loop().create_task(_read_all(web, started))
    limit_s = web.services.limits.deadline_s
    try:
        while not (await asyncio.wait([reading], timeout=limit_s))[0]:
            if await _waits(web, started):
                return  # in progress: what it waits for may take days
        await reading
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def _read_all(web: Web, started: StartedRun) -> None:
    async with aclosing(read_supervised(web, started)) as batches:
        async for _ in batches:
            pass


async def _waits(web: Web, started: StartedRun) -> bool:
    """Return whether the run waits for a time or an event, and a client can read it later."""
    if started.ends_with_client:
        return False
    with suppress(ServiceFault, NotFound):
        return (await web.services.store.run(started.run)).status == "waiting"
    return False


async def on_disconnect(web: Web, started: StartedRun) -> None:
    """Cancel a run whose client has left, if only that client could read its response."""
    if not started.ends_with_client:
        return
    log.info("client_gone", response=str(started.reader.id), stored=False)
    try:
        await web.cancel(started.run)
    except ServiceFault as error:
        log.warning("run_not_cancelled", run=str(started.run), error=error)


# --- streams ------------------------------------------------------------------------------------


async def encode_events(
    web: Web, started: StartedRun, *, after: int = -1
) -> AsyncGenerator[bytes, None]:
    """Yield a response's events with a greater number than `after`, encoded, and the end mark."""
    async with aclosing(read_supervised(web, started)) as batches:
        async for batch in batches:
            for event in batch:
                if event["sequence_number"] > after:
                    yield encode_event(await _with_child_items(web, started, event))
    yield DONE if started.reader.over else INTERRUPTED


async def _with_child_items(web: Web, started: StartedRun, event: Json) -> Json:
    """Return an event; the last one has the response as `GET` returns it."""
    if event["type"] not in LAST_EVENTS.values() or not started.reader.projection.children:
        return event
    response = await try_nest_child_items(web, started.reader, event["response"])
    return event | {"response": response}


class EventStream(Response):
    """Sends the pieces of a stream of server-sent events to the client that waits for a run.

    A stream whose key is revoked ends with a comment, or, `with_error`, with an error object.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        web: Web,
        started: StartedRun,
        pieces: AsyncGenerator[bytes, None],
        client: ClientWatch,
        *,
        with_error: bool = False,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(SSE_HEADERS)
        self._web = web
        self._started = started
        self._pieces = pieces
        self._client = client
        self._with_error = with_error
        self._is_complete = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = SSEWriter(send, self._web.waits.heartbeat_s)
        await writer.start(self.raw_headers)
        slot, write = scope.get("state", {}).get(SLOT), partial(self._write, writer)
        writing, _, ended = await first_done(
            slot.measure(write) if slot else write(),
            writer.write_heartbeats(),
            self._client.ended(),
        )
        if not writing.cancelled():
            writing.result()
        if self._is_complete:
            return
        await on_disconnect(self._web, self._started)
        if not ended.cancelled() and (refusal := ended.result()):
            log.info("stream_ended_by_key", status=refusal.status)
            last = encode_data(refusal.body) if self._with_error else REVOKED
            with suppress(OSError):
                await writer.write(last, more=False)

    async def _write(self, writer: SSEWriter) -> None:
        with suppress(OSError):
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    await writer.write(piece)
            self._is_complete = True
            await writer.write(b"", more=False)
