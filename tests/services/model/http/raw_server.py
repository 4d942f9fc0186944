"""A server that sends scripted bytes in place of correct HTTP.

async with RawServer(sends(b"HTTP/1.1 200 OK\\r\\n...")) as server:
    ...
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from tests.waiting import HANG_S

Handler = Callable[["Exchange"], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Exchange:
    """One request that the server received, and the connection to respond on."""

    def __init__(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head = head
        self.body = body
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


class RawServer:
    """Each request uses the next handler; the last one is used for all further requests.

    `requests` has the heads, `connections` counts all connections, `open` the open ones.
    """

    def __init__(
        self, *handlers: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self._handlers = list(handlers)
        self._host = host
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await _let_callbacks_run()  # of connections that were just accepted
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _let_callbacks_run()

    async def wait_closed(self) -> None:
        """Return when the client has closed every connection."""
        async with asyncio.timeout(HANG_S):
            while self.open:
                await asyncio.sleep(0.002)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                while not writer.is_closing():
                    await self._respond(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        _, _, length = head.lower().partition(b"content-length:")
        handlers = self._handlers
        handler = handlers.pop(0) if len(handlers) > 1 else handlers[0]
        unread = handler.__name__ == "respond_early"
        size = int(length.split()[0]) if length and not unread else 0
        body = await reader.readexactly(size)
        await handler(Exchange(head, body, reader, writer))


async def _let_callbacks_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def sends(*pieces: bytes, pause_s: float = 0.0, close: bool = False) -> Handler:
    """Send these pieces, with a pause between them, then close the connection if `close`."""

    async def respond(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            await asyncio.sleep(pause_s)
        if close:
            exchange.writer.close()

    return respond


def hangs(*pieces: bytes) -> Handler:
    """Send these pieces, then nothing until the client closes the connection."""

    async def respond(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
        await exchange.reader.read()
        exchange.writer.close()

    return respond


def repeats(piece: bytes) -> Handler:
    """Send a piece again and again until the client closes the connection."""

    async def respond(exchange: Exchange) -> None:
        while not exchange.writer.is_closing():
            await exchange.send(piece)
            await asyncio.sleep(0)

    return respond


def responds_before_the_body(data: bytes) -> Handler:
    """Respond without reading the body of the request."""

    async def respond_early(exchange: Exchange) -> None:
        await exchange.send(data)
        await asyncio.sleep(0.2)
        await exchange.reader.read()
        exchange.writer.close()

    return respond_early


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a response with a Content-Length."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


def chunks(*pieces: bytes) -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
