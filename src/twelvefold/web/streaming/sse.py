"""Server-sent events: their encoding, and the stream of one client.

A slow client delays its own stream only: the stream buffers nothing, since the journal has it all.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Send

from twelvefold.web.schemas import Json

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still here\n\n"
INTERRUPTED = b": stream closed before the response ended; resume with GET and starting_after\n\n"
REVOKED = b": the API key is no longer valid; stream closed\n\n"
HEADERS = {
    # Without it nginx buffers the events until it has a page of them.
    "x-accel-buffering": "no",
    "cache-control": "no-store",
}
_encode = msgspec.json.Encoder().encode


def encode_event(event: Json) -> bytes:
    """Return an event of the Responses API; the field `event` repeats its type."""
    return b"event: %s\n" % event["type"].encode() + encode_data(event)


def encode_data(value: Any) -> bytes:
    """Return a value as the data of an event without a name."""
    body = _encode(value)
    # Clients that split lines at U+2028 and U+2029 would split the event.
    if b"\xe2\x80" in body:
        body = body.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return b"data: %s\n\n" % body


class SSEWriter:
    """Writes the stream of one client, with a heartbeat where nothing else is written.

    `write` raises OSError once the connection is closed.
    """

    def __init__(self, send: Send, heartbeat_s: float) -> None:
        self._send = send
        self._heartbeat_s = heartbeat_s
        self._now = asyncio.get_running_loop().time
        self._writing = asyncio.Lock()
        self._written_at = self._now()

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Write the status line and the headers."""
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, piece: bytes, *, more: bool = True) -> None:
        """Write a piece of the body; `more` False: the last one."""
        async with self._writing:
            await self._write(piece, more)

    async def write_heartbeats(self) -> None:
        """Write a comment after each `heartbeat_s` without a byte, until the client leaves."""
        with suppress(OSError):
            while True:
                await asyncio.sleep(self._written_at + self._heartbeat_s - self._now())
                # A client that is slow to take the last piece gets no heartbeat behind it.
                async with self._writing:
                    if self._now() - self._written_at >= self._heartbeat_s:
                        await self._write(HEARTBEAT, more=True)

    async def _write(self, piece: bytes, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        self._written_at = self._now()
