"""A mock of a model's server with scripted behaviours.

    async with MockServer() as server:
        server.will(refuses(503), streams(events))

Each request uses the next behaviour. The last one is used for all further requests.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Self

from tests.loop_clock import LoopClock
from tests.services.model.builders import TIMEOUT_S
from tests.waiting import HANG_S

SSE = "text/event-stream; charset=utf-8"
_RESET = struct.pack("ii", 1, 0)


class Call:
    """One request and its connection."""

    def __init__(
        self, path: str, headers: Mapping[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        self.path = path
        self.headers = headers
        self.raw = body
        self.gone = asyncio.Event()
        self.has_stalled = False
        self._writer = writer

    @property
    def body(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} OK", *(f"{k}: {v}" for k, v in headers.items())]
        await self._write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def chunk(self, piece: bytes) -> None:
        await self._write(b"%x\r\n%s\r\n" % (len(piece), piece))

    async def raw_bytes(self, piece: bytes) -> None:
        await self._write(piece)

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Reset the connection, as if the server had crashed."""
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()

    async def _write(self, piece: bytes) -> None:
        self._writer.write(piece)
        await self._writer.drain()


Behaviour = Callable[[Call], Awaitable[None]]


class MockServer:
    """Listens on loopback. `calls` has the requests so far, `open` counts open connections."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._tls = tls
        self._host = host
        self.calls: list[Call] = []
        self.connections = 0
        self.open = 0
        self._behaviours: list[Behaviour] = []
        self._server: asyncio.Server | None = None

    def will(self, *behaviours: Behaviour) -> None:
        self._behaviours = list(behaviours)
        self.calls.clear()

    @property
    def url(self) -> str:
        assert self._server is not None
        scheme = "https" if self._tls else "http"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self.port}/v1"

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for call in self.calls:
            call.close()
        async with asyncio.timeout(HANG_S):
            while self.open:
                await asyncio.sleep(0.005)

    async def let_time_out(self, number: int, loop_clock: LoopClock) -> None:
        """Let the time pass in which a call has to be answered, once it has stalled."""
        while len(self.calls) <= number or not self.calls[number].has_stalled:
            await asyncio.sleep(0.005)
        loop_clock.let_pass(3 * TIMEOUT_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while call := await _read_call(reader, writer):
                self.calls.append(call)
                behaviours = self._behaviours
                behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
                await _answer(behaviour, call, reader)
        finally:
            self.open -= 1
            writer.close()


async def _read_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines if line]
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Call(first.split(" ")[1], headers, body, writer)


async def _answer(behaviour: Behaviour, call: Call, reader: asyncio.StreamReader) -> None:
    """Run a behaviour until it ends or the client disconnects."""
    answering = asyncio.ensure_future(behaviour(call))
    disconnecting = asyncio.ensure_future(_disconnected(reader))
    await asyncio.wait([answering, disconnecting], return_when=asyncio.FIRST_COMPLETED)
    if disconnecting.done():
        call.gone.set()
    for task in (answering, disconnecting):
        task.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await task


async def _disconnected(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.005)


def streams(
    events: Iterable[bytes],
    *,
    pause_s: float = 0.0,
    headers: Mapping[str, str] | None = None,
    complete: bool = True,
) -> Behaviour:
    """Send these pieces as a stream, and its end unless `complete` is False."""

    async def behave(call: Call) -> None:
        await call.head(
            200, {"content-type": SSE, "transfer-encoding": "chunked", **(headers or {})}
        )
        for event in events:
            await call.chunk(event)
            await asyncio.sleep(pause_s)
        if complete:
            await call.raw_bytes(b"0\r\n\r\n")

    return behave


def cuts(events: Iterable[bytes]) -> Behaviour:
    """Send these pieces, then close the connection."""
    return _then(streams(events, complete=False), Call.close)


def resets(events: Iterable[bytes]) -> Behaviour:
    """Send these pieces, then break the connection."""
    return _then(streams(events, complete=False), Call.reset)


def stalls(events: Iterable[bytes] = ()) -> Behaviour:
    """Send these pieces and keep the connection open."""
    begin = streams(events, complete=False)

    async def behave(call: Call) -> None:
        if events:
            await begin(call)
        call.has_stalled = True
        await asyncio.Event().wait()

    return behave


def drops() -> Behaviour:
    """Close the connection without a response."""

    async def behave(call: Call) -> None:
        call.close()

    return behave


def refuses(
    status: int, error: object = None, *, headers: Mapping[str, str] | None = None
) -> Behaviour:
    """Respond with a status and OpenAI's error object."""
    body = json.dumps({"error": error or {"message": "Not today"}}).encode()
    return answers(status, body, headers=headers)


def answers(
    status: int,
    body: bytes,
    *,
    kind: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Behaviour:
    """Respond with this body in one piece."""

    async def behave(call: Call) -> None:
        length = {"content-type": kind, "content-length": str(len(body))}
        await call.head(status, {**length, **(headers or {})})
        await call.raw_bytes(body)

    return behave


def _then(begin: Behaviour, end: Callable[[Call], None]) -> Behaviour:
    async def behave(call: Call) -> None:
        await begin(call)
        await asyncio.sleep(0.02)  # lets the sent data arrive first
        end(call)

    return behave
