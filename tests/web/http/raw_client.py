"""A real server on a free port, and clients that send raw bytes."""

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
from twelvefold.web.http.server.connections import ReceiveLimits
from twelvefold.web.server import RECEIVE_LIMITS, bind_sockets, load_tls, serve
from twelvefold.web.state import Web, web_of

GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@dataclass
class RunningServer:
    web: Web
    port: int
    stop: asyncio.Event
    ended: "asyncio.Task[None]"
    clients: list["RawClient"] = field(default_factory=list)

    async def connect(self, **options: Any) -> "RawClient":
        client = RawClient(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self.clients.append(client)
        return client

    async def disconnect_all(self) -> None:
        for client in self.clients:
            client.writer.close()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()


@dataclass
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """A client that sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def read_response(self) -> RawResponse:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        return RawResponse(int(status.split()[1]), headers, await self.reader.readexactly(length))

    async def request(self, data: bytes) -> RawResponse:
        await self.send(data)
        return await self.read_response()

    async def read_to_end(self) -> bytes:
        return await self.reader.read()


async def read_all(request: Request) -> Response:
    return json_response(len(await request.body()))


async def client_address(request: Request) -> Response:
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
    Route("/client", client_address),
    Route("/ticks", ticks),
]


@asynccontextmanager
async def run_server(
    keys: Keys | None = None, limits: ReceiveLimits = RECEIVE_LIMITS, **settings: Any
) -> AsyncIterator[RunningServer]:
    """Serve on a free port, without any service but the keys."""
    async with web_on(keys or Keys(), **settings) as web, serve_web(web, limits) as server:
        yield server


@asynccontextmanager
async def serve_web(
    web: Web, limits: ReceiveLimits = RECEIVE_LIMITS, routes: Sequence[BaseRoute] = TEST_ROUTES
) -> AsyncIterator[RunningServer]:
    """Serve a web process with these routes beside its own."""
    stop, sockets, tls = asyncio.Event(), bind_sockets("127.0.0.1", 0), load_tls(web.settings)
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(serve(web, sockets, stop, tls, limits, [*ROUTES, *routes]))
        server = RunningServer(web, sockets[0].getsockname()[1], stop, ended)
        while not sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            await asyncio.sleep(0)
        try:
            yield server
        finally:
            stop.set()
            await server.disconnect_all()


def error_of(answer: RawResponse) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"
    return error
