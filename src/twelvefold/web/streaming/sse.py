"""Server-sent events: what a response tells, written one event at a time as it comes.

A reader that is slow is waited for, and only its own answer waits: nothing is kept for it that the
journal does not have anyway.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from twelvefold.observe.log import get_logger
from twelvefold.web.http.admission import PLACE
from twelvefold.web.http.client_watch import ClientWatch, first_done
from twelvefold.web.http.errors import ApiError
from twelvefold.web.schemas.types import Json
from twelvefold.web.streaming.reader import Aside, ResponseReader, nothing

log = get_logger(__name__)
Leave = Callable[[], Awaitable[None]]
"""What is done when a client does not wait for the end."""
HEARTBEAT_S = 15.0
"""The longest silence: proxies close connections that say nothing for a minute."""
DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still here\n\n"
LEAVING = b": the response is not over, but this stream; go on with GET and starting_after\n\n"
REVOKED = b": the API key is not valid any more, so this stream ends before the response\n\n"
_encode = msgspec.json.Encoder().encode


async def stay() -> None:
    """Do nothing when a client leaves: the run goes on."""


def _revoked(error: ApiError) -> bytes:
    return REVOKED


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
    reading: ResponseReader, *, after: int = -1, aside: Aside = nothing
) -> AsyncGenerator[bytes, None]:
    """A response's events with a greater number than `after`, each whole, to its end."""
    async with aclosing(reading.events(aside)) as batches:
        async for batch in batches:
            told = [event for event in batch if event["sequence_number"] > after]
            for event in told:
                yield encoded(event)
    yield DONE if reading.over else LEAVING


class EventStream(Response):
    """An answer that is written as it is made, each silence broken by a comment.

    `leave` is called if the client leaves before the end, or its key is revoked. In the second case
    the stream ends with `last_words`.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        client: ClientWatch,
        leave: Leave = stay,
        last_words: Callable[[ApiError], bytes] = _revoked,
    ) -> None:
        # nginx would keep the events back until it has a page of them.
        self.status_code = 200
        self.background = None
        self.init_headers({"x-accel-buffering": "no", "cache-control": "no-store"})
        self._pieces = pieces
        self._client = client
        self._leave = leave
        self._last_words = last_words
        self._ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        voice, place = _Voice(send), scope.get("state", {}).get(PLACE)
        write = partial(self._write, voice)
        writing, _, ended = await first_done(
            place.measured(write) if place else write(),
            voice.breaks_silence(),
            self._client.ended(),
        )
        if not writing.cancelled():
            writing.result()
        if self._ended:
            return
        await self._leave()
        if not ended.cancelled() and (refusal := ended.result()):
            log.info("stream_ended_by_key", status=refusal.status)
            with suppress(OSError):
                await voice.say(self._last_words(refusal), more=False)

    async def _write(self, voice: "_Voice") -> None:
        with suppress(OSError):
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    await voice.say(piece)
            self._ended = True
            await voice.say(b"", more=False)


class _Voice:
    """What is said to one client, one piece after the other."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._now = asyncio.get_running_loop().time
        self._saying = asyncio.Lock()
        self._said_at = self._now()

    async def say(self, piece: bytes, *, more: bool = True) -> None:
        async with self._saying:
            await self._say(piece, more)

    async def breaks_silence(self) -> None:
        """Say now and then that nothing has broken, whatever keeps the pieces from coming."""
        with suppress(OSError):
            while True:
                await asyncio.sleep(self._said_at + HEARTBEAT_S - self._now())
                # A client that is slow to take the last piece is told nothing more meanwhile.
                async with self._saying:
                    if self._now() - self._said_at >= HEARTBEAT_S:
                        await self._say(HEARTBEAT, more=True)

    async def _say(self, piece: bytes, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        self._said_at = self._now()
