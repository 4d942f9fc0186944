"""Server-sent events: what a response tells, written one event at a time as it comes.

A reader that is slow is waited for, and only its own answer waits: nothing is kept for it that the
journal does not have anyway.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from twelvefold.web.reading import Aside, Reading, nothing
from twelvefold.web.shapes import Json

HEARTBEAT_S = 15.0
"""The longest silence: proxies close connections that say nothing for a minute."""
DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still here\n\n"
LEAVING = b": this process is about to end; go on with GET and starting_after\n\n"
_encode = msgspec.json.Encoder().encode


def encoded(event: Json) -> bytes:
    """An event as it goes over the wire; `event` and `type` are the same word."""
    return b"event: %s\n" % event["type"].encode() + data(event)


def data(value: Any) -> bytes:
    """A value as the data of an event without a name."""
    body = _encode(value)
    # Clients that split lines as Unicode has them would break an event in two.
    if b"\xe2\x80" in body:
        body = body.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return b"data: %s\n\n" % body


async def pieces(
    reading: Reading, *, after: int = -1, aside: Aside = nothing
) -> AsyncGenerator[bytes, None]:
    """A response's events with a greater number than `after`, each whole, to its end."""
    async with aclosing(reading.events(aside)) as batches:
        async for batch in batches:
            told = [event for event in batch if event["sequence_number"] > after]
            for event in told:
                yield encoded(event)
            if not told:
                yield b""
    yield DONE if reading.over else LEAVING


class EventStream(Response):
    """An answer that is written as it is made.

    A piece without bytes says that there is nothing new. `left` is called if the client goes away
    before the end.
    """

    media_type = "text/event-stream"

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], left: Callable[[], Awaitable[None]] = nothing
    ) -> None:
        # nginx would keep the events back until it has a page of them.
        self.status_code = 200
        self.background = None
        self.init_headers({"x-accel-buffering": "no", "cache-control": "no-store"})
        self._pieces = pieces
        self._left = left
        self._ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(self._write(send)), group.create_task(_gone(receive))}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        if not self._ended:
            await self._left()

    async def _write(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        loop = asyncio.get_running_loop()
        written_at = loop.time()
        with suppress(OSError):
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    if piece or loop.time() - written_at >= HEARTBEAT_S:
                        body = {"type": "http.response.body", "body": piece or HEARTBEAT}
                        await send(body | {"more_body": True})
                        written_at = loop.time()
            self._ended = True
            await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    """Until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
