"""A server on a free port, and clients that send raw bytes."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from tests.web.doubles import Keys, web_on
from twelvefold.web.app import ROUTES
from twelvefold.web.http.errors import json_response
from twelvefold.web.http.server.receive_limits import ReceiveLimits
from twelvefold.web.server import RECEIVE_LIMITS, bind_sockets, load_tls, serve
from twelvefold.web.state import Web, web_of

GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@dataclass
class Serving:
    web: Web
    port: int
    stop: asyncio.Event
    ended: "asyncio.Task[None]"
    wires: list["Wire"] = field(default_factory=list)

    async def connected(self, **options: Any) -> "Wire":
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self.wires.append(wire)
        return wire

    async def hang_up(self) -> None:
        for wire in self.wires:
            wire.writer.close()
            with contextlib.suppress(OSError):
                await wire.writer.wait_closed()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A client that sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        return Answer(int(status.split()[1]), headers, await self.reader.readexactly(length))

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()


async def read_all(request: Request) -> Response:
    return json_response(len(await request.body()))


async def who(request: Request) -> Response:
    assert request.client is not None
    return json_response([request.client.host, request.url.scheme])


async def ticks(request: Request) -> Response:
    """A stream that ends after its current event when the process drains."""
    draining = web_of(request).draining

    async def events() -> AsyncIterator[bytes]:
        while not draining.is_set():
            yield b"data: tick\n\n"
            await asyncio.sleep(0.01)
        yield b"retry: 100\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


TEST_ROUTES = [
    Route("/read", read_all, methods=["POST"]),
    Route("/who", who),
    Route("/ticks", ticks),
]


@asynccontextmanager
async def serving(
    keys: Keys | None = None, limits: ReceiveLimits = RECEIVE_LIMITS, **settings: Any
) -> AsyncIterator[Serving]:
    """Serve on a free port, without any service but the keys."""
    async with web_on(keys or Keys(), **settings) as web, serving_of(web, limits) as it:
        yield it


@asynccontextmanager
async def serving_of(
    web: Web, limits: ReceiveLimits = RECEIVE_LIMITS, routes: Sequence[BaseRoute] = TEST_ROUTES
) -> AsyncIterator[Serving]:
    """Serve a web process with these routes beside its own."""
    stop, sockets, tls = asyncio.Event(), bind_sockets("127.0.0.1", 0), load_tls(web.settings)
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(serve(web, sockets, stop, tls, limits, [*ROUTES, *routes]))
        it = Serving(web, sockets[0].getsockname()[1], stop, ended)
        while not sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            await asyncio.sleep(0)
        try:
            yield it
        finally:
            stop.set()
            await it.hang_up()


def error_of(answer: Answer) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"
    return error
