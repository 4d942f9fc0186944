"""The limit of open connections, and which connection makes room for a new one."""

import asyncio
import contextlib
import errno
import json
import logging
import socket
from typing import Any

import pytest

from tests.web.http.raw_client import GET, RawClient, RunningServer, error_of, run_server
from twelvefold.config import Settings
from twelvefold.web.http.client_address import TrustedAddresses
from twelvefold.web.http.server.connections import Connections, ConnectionSlot, ReceiveLimits
from twelvefold.web.http.server.file_limit import DEFAULT_MAX_CONNECTIONS, connection_limit
from twelvefold.web.http.server.listener import Listener

MANY_LINES = 10
"""One is logged at once, further ones every ten seconds: more if the machine is slow."""
TICKS = b"GET /ticks HTTP/1.1\r\nhost: a\r\n\r\n"


class Clients:
    """Opens connections, and records which of them were closed to make room."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.closed: list[str] = []

    def open(self, name: str, address: str = "203.0.113.1") -> ConnectionSlot | None:
        return self.connections.open(address, lambda: self.closed.append(name))


def of_two() -> Clients:
    return Clients(Connections(2, TrustedAddresses(("0.0.0.0/0",))))


async def test_the_connection_that_has_waited_longest_makes_room() -> None:
    clients = of_two()
    first, second = clients.open("first"), clients.open("second")
    assert first
    assert second

    first.set_busy()
    first.set_waiting()
    assert clients.open("third")

    assert clients.closed == ["second"]
    assert len(clients.connections) == 2


async def test_busy_connections_make_no_room() -> None:
    clients = of_two()
    slots = [clients.open("first"), clients.open("second")]
    for slot in slots:
        assert slot
        slot.set_busy()

    assert clients.open("third") is None
    assert clients.closed == []
    assert slots[0]
    slots[0].release()
    slots[0].release()
    assert clients.open("third")


async def test_one_client_may_hold_half() -> None:
    clients = Clients(Connections(4))
    for name in ("a1", "a2", "a3"):
        clients.open(name, "203.0.113.1")
    for name in ("b1", "b2"):
        clients.open(name, "203.0.113.2")

    assert clients.closed == ["a1"]
    assert clients.open("b3", "::ffff:203.0.113.2")
    assert clients.closed == ["a1", "b1"]


async def test_a_client_with_a_busy_half_is_rejected_and_others_are_not() -> None:
    clients = Clients(Connections(4))
    for name in ("a1", "a2"):
        slot = clients.open(name, "203.0.113.1")
        assert slot
        slot.set_busy()

    assert clients.open("a3", "203.0.113.1") is None
    assert clients.open("b1", "203.0.113.2")


async def test_an_evicted_slot_does_not_come_back() -> None:
    clients = of_two()
    first = clients.open("first")
    assert first
    clients.open("second")
    clients.open("third")

    first.set_waiting()
    first.set_busy()
    first.release()

    assert len(clients.connections) == 2


@pytest.mark.parametrize(
    ("settings", "files", "expected"),
    [
        (Settings(), 1_048_576, DEFAULT_MAX_CONNECTIONS),
        (Settings(max_connections=10_000), 1_048_576, 10_000),
        (Settings(max_connections=10_000), 1_024, 512),
        (Settings(database_url="mysql://u@h/d"), 1_024, 678),
        (Settings(), 256, 128),
        (Settings(max_connections=5), 256, 5),
        (Settings(), 1, 1),
    ],
)
def test_the_limit_reserves_open_files(settings: Settings, files: int, expected: int) -> None:
    assert connection_limit(settings, files) == expected


async def connect_all(server: RunningServer, data: bytes, count: int) -> list[RawClient]:
    clients = [await server.connect() for _ in range(count)]
    for client in clients:
        await client.send(data)
    return clients


async def test_half_open_requests_do_not_block_others(caplog: pytest.LogCaptureFixture) -> None:
    async with run_server(max_connections=8) as server:
        half = await connect_all(server, b"GET / HT", 30)

        answer = await (await server.connect()).request(GET)

        assert answer.status == 200
        assert await half[0].read_to_end() == b""
    lines = [one for one in caplog.records if one.getMessage() == "connections_closed_for_others"]
    assert 1 <= len(lines) <= MANY_LINES
    assert lines[0].__dict__["fields"] == {"count": 1, "limit": 8, "full": "client"}


async def test_idle_connections_make_room() -> None:
    async with run_server(max_connections=8) as server:
        idle = []
        for _ in range(10):
            idle.append(await server.connect())
            assert (await idle[-1].request(GET)).status == 200

        assert await idle[0].read_to_end() == b""
        assert (await idle[-1].request(GET)).status == 200


async def test_a_connection_above_the_limit_gets_503_immediately(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_server(max_connections=4) as server:
        streams = await connect_all(server, TICKS, 2)
        for client in streams:
            await client.reader.readuntil(b"tick\n\n")

        answers = []
        for _ in range(50):
            client = await server.connect()
            answers.append(await client.read_response())
            assert await client.read_to_end() == b""

        assert {one.status for one in answers} == {503}
        assert error_of(answers[0])["code"] == "service_unavailable"
        assert answers[0].headers["retry-after"] == "1"
        streams[0].writer.close()
        while not await served(server):
            await asyncio.sleep(0.01)
        server.stop.set()
    lines = [one for one in caplog.records if one.getMessage() == "connections_refused"]
    assert 1 <= len(lines) <= MANY_LINES


async def served(server: RunningServer) -> bool:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        return (await (await server.connect()).request(GET)).status == 200
    return False


async def test_a_body_that_arrives_too_slowly_ends_the_connection() -> None:
    limits = ReceiveLimits(progress_s=0.1, progress_bytes=100)
    async with run_server(limits=limits) as server:
        client = await server.connect()
        await client.send(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx")

        assert await client.read_to_end() == b""


class Full(socket.socket):
    """A listening socket that runs out of file descriptors once."""

    full = 1

    def accept(self) -> Any:
        if self.full:
            self.full -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


async def test_a_process_without_file_descriptors_accepts_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listening = Full(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    clients = Clients(Connections(8))
    clients.open("waiting")
    protocols: list[asyncio.Protocol] = []

    def make(slot: ConnectionSlot) -> asyncio.Protocol:
        protocols.append(asyncio.Protocol())
        return protocols[-1]

    listener = Listener(listening, clients.connections, make, rejection=lambda: b"")
    with caplog.at_level(logging.WARNING):
        listener.start(10)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        while not protocols:
            await asyncio.sleep(0.01)

    assert clients.closed == ["waiting"]
    [line] = [one for one in caplog.records if one.getMessage() == "accept_failed"]
    assert "too many open files" in json.dumps(line.__dict__["fields"])
    writer.close()
    listener.close()
    await listener.wait_closed()
    listening.close()
