"""Clients that read nothing are dropped; slow ones are not."""

import asyncio
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import uvloop
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.certificates import make_certificates
from tests.web.doubles import Keys, web_on
from tests.web.http.raw_client import serve_web
from tests.web.serving import Json, Rules, Serve, Served
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.web.http.server.stalled_clients import CHECKS, Delivery, StalledClients, delivery_of
from twelvefold.web.http.server.stalled_clients import Connection as ClientConnection
from twelvefold.web.state import Waits

BIG = 12_000_000
SOON = Waits(stalled_s=0.4)


@dataclass(eq=False)
class Connection:
    """A connection on a system without TCP counters."""

    unsent: int = 0
    is_dropped: bool = False
    client: tuple[str, int] | None = ("10.0.0.7", 5_000)

    @property
    def transport(self) -> "Connection":
        return self

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> None:
        return None

    def abort(self) -> None:
        self.is_dropped = True


def stalled_clients(*connections: Connection) -> StalledClients:
    return StalledClients(cast("list[ClientConnection]", connections), 60.0)


def test_a_client_that_receives_nothing_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    one = Connection(70_000)
    stalled = stalled_clients(one)

    is_dropped = []
    for _ in range(CHECKS + 1):
        stalled.check()
        is_dropped.append(one.is_dropped)

    assert is_dropped == [False, False, False, False, True]
    [line] = caplog.records
    assert line.getMessage() == "client_stalled"
    assert line.__dict__["fields"] == {"client": "10.0.0.7", "waited_s": 60.0}


def test_a_client_that_reads_slowly_is_not_dropped() -> None:
    one = Connection(70_000)
    stalled = stalled_clients(one)

    for check in range(50):
        stalled.check()
        one.unsent -= check % CHECKS == CHECKS - 1

    assert not one.is_dropped


def test_a_client_that_has_everything_is_not_dropped() -> None:
    one = Connection(0)
    stalled = stalled_clients(one)

    for _ in range(50):
        stalled.check()

    assert not one.is_dropped


# --- real connections -----------------------------------------------------------------------------


class Mute:
    """A client that sends a request and reads nothing, or slowly."""

    def __init__(
        self, port: int, method: str, path: str, body: Json | None = None, buffer: int = 4_096
    ) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.connect(("127.0.0.1", port))
        data = json.dumps(body).encode() if body else b""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n"
        self._socket.sendall(f"{head}content-type: application/json\r\n\r\n".encode() + data)
        self._socket.setblocking(False)

    def __enter__(self) -> "Mute":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    async def read(self, size: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, size)


def port_of(api: Served) -> int:
    return int(api.address.rpartition(":")[2])


async def dropped(caplog: pytest.LogCaptureFixture) -> Json:
    """Return the fields of the log line about a dropped client, once it is there."""
    while True:
        lines = [one for one in caplog.records if one.getMessage() == "client_stalled"]
        if lines:
            return cast("Json", lines[0].__dict__["fields"])
        await asyncio.sleep(0.01)


async def test_an_unread_stream_is_dropped_and_its_run_continues(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    api = await serve(model=Rules(chars=500_000), worker=False, waits=SOON)
    body = {"model": "shop", "input": f"tell {BIG}", "stream": True}

    with Mute(port_of(api), "POST", "/v1/responses", body):
        line = await dropped(caplog)
        [run] = await api.web.services.store.runs(limit=1)
        done = await api.settled(str(run.run))

    assert line == {"client": "127.0.0.1", "waited_s": SOON.stalled_s}
    assert done["status"] == "completed"


class Endless(Rules):
    """A model whose reply never ends."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        await self._say("x" * BIG, listener)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_run_that_is_not_stored_is_cancelled_when_its_client_is_dropped(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    api = await serve(model=Endless(chars=500_000), worker=False, waits=SOON)
    body = {"model": "shop", "input": "hi", "stream": True, "store": False}

    with Mute(port_of(api), "POST", "/v1/responses", body):
        await dropped(caplog)
        [run] = await api.web.services.store.runs(limit=1)
        while run.status == "running":
            await asyncio.sleep(0.01)
            [run] = await api.web.services.store.runs(limit=1)

    assert run.status == "cancelled"


async def huge(request: Request) -> Response:
    return Response(b"x" * BIG)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_unread_response_is_dropped_on_uvloop(
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    tls: bool,
) -> None:
    certificates = make_certificates(tmp_path)
    paths = {"tls_cert": certificates.path("host"), "tls_key": certificates.path("host-key")}
    settings = paths if tls else {}

    async def scenario() -> tuple[Json, bytes]:
        async with (
            web_on(Keys(), waits=SOON, **settings) as web,
            serve_web(web, routes=[Route("/huge", huge)]) as server,
        ):
            ca = certificates.path("ca")
            context = ssl.create_default_context(cafile=ca) if tls else None
            client = await server.connect(limit=1_000, ssl=context)
            await client.send(b"GET /huge HTTP/1.1\r\nhost: localhost\r\n\r\n")
            line = await dropped(caplog)
            return line, await client.read_to_end()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        line, rest = runner.run(scenario())

    assert line == {"client": "127.0.0.1", "waited_s": SOON.stalled_s}
    assert len(rest) < BIG


async def test_a_slow_reader_receives_everything(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    api = await serve(model=Rules(chars=100_000), worker=False, waits=SOON)
    body = {"model": "shop", "input": "tell 2000000", "stream": True}

    text = b""
    with Mute(port_of(api), "POST", "/v1/responses", body, buffer=100_000) as client:
        while b"[DONE]" not in text[-1_000:]:
            text += await client.read(100_000)
            await asyncio.sleep(0.01)

    assert b"response.completed" in text
    assert "client_stalled" not in [one.getMessage() for one in caplog.records]


async def closed_delivery() -> Delivery:
    """Return the delivery of a connection that was closed before the check."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        transport, _ = await loop.create_connection(asyncio.Protocol, *address[:2])
        transport.abort()
        while transport.get_extra_info("socket").fileno() >= 0:
            await asyncio.sleep(0.01)
        return delivery_of(transport)


def test_a_closed_connection_counts_as_complete() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(closed_delivery()).is_complete
