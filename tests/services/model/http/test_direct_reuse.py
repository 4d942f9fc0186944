"""Direct connections: which ones are used again, and how much is buffered."""

import asyncio
import random

import pytest

from tests.services.model.http.direct_client import serving
from tests.services.model.http.raw_server import (
    HEAD,
    Exchange,
    responds_before_the_body,
    sends,
    whole,
)
from twelvefold.services.model.http import pool


@pytest.mark.parametrize(
    "more", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray", b"0\r\n\r\n"]
)
async def test_data_behind_a_response_never_belongs_to_the_next_request(more: bytes) -> None:
    async with serving(sends(whole(b"one") + more), sends(whole(b"two"))) as (server, client):
        bodies = [await client.body() for _ in range(2)]

    assert bodies == [b"one", b"two"]
    assert server.connections == 2


async def test_data_without_a_request_closes_an_idle_connection() -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.send(whole(b"one"))
        await asyncio.sleep(0.02)
        await exchange.send(whole(b"", status=b"408 Request Timeout"))

    async with serving(respond, sends(whole(b"two"))) as (server, client):
        assert await client.body() == b"one"
        await server.wait_closed()
        assert await client.body() == b"two"

    assert server.connections == 2


async def test_a_connection_closed_between_requests_is_replaced() -> None:
    async with serving(sends(whole(b"one"), close=True), sends(whole(b"two"))) as (server, client):
        assert await client.body() == b"one"
        await server.wait_closed()
        await asyncio.sleep(0.05)  # lets the client notice it
        assert await client.body() == b"two"

    assert server.connections == 2


async def test_a_connection_closed_with_the_request_closes_the_other_idle_ones() -> None:
    together = asyncio.Barrier(3)

    async def wait_for_others(exchange: Exchange) -> None:
        await together.wait()
        await exchange.send(whole(b"one"))

    async with serving(*[wait_for_others] * 3, sends(close=True), sends(whole(b"two"))) as (
        server,
        client,
    ):
        await asyncio.gather(*(client.body() for _ in range(3)))
        assert server.open == 3

        await client.dropped()
        await server.wait_closed()
        assert await client.body() == b"two"

    assert server.connections == 4


async def test_requests_at_once_have_their_own_connections() -> None:
    together = asyncio.Barrier(5)

    async def echo(exchange: Exchange) -> None:
        await together.wait()
        await exchange.send(whole(exchange.body))

    async with serving(echo) as (server, client):
        for start in (0, 5):
            bodies = [b"%d" % number for number in range(start, start + 5)]
            replies = await asyncio.gather(*map(client.reply, bodies))
            assert [reply[2] for reply in replies] == bodies

    assert server.connections == 5


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_KEEP_ALIVE_S", 0.05)
    async with serving(sends(whole(b"one"))) as (server, client):
        for connections in (1, 2):
            assert await client.body() == b"one"
            await server.wait_closed()
            assert server.connections == connections


async def test_a_response_before_the_end_of_the_request_is_read() -> None:
    refused = whole(b"too large", status=b"413 Content Too Large")
    early = responds_before_the_body(refused)
    async with serving(early, sends(whole(b"two"))) as (server, client):
        status, _, body = await client.reply(bytes(32 << 20))
        assert (status, body) == (413, b"too large")
        assert await client.body() == b"two"

    assert server.connections == 2


@pytest.mark.parametrize("rest", [b"", b"x" * 300_000])
async def test_a_response_that_is_not_read_is_completed_or_closed(rest: bytes) -> None:
    data = whole(b"a" + rest)
    async with serving(sends(data[:60], data[60:], pause_s=0.01)) as (server, client):
        for _ in range(2):
            async with client.request("POST", "/", b"", {}) as response:
                assert response.status == 200

    assert server.connections == 1


async def test_a_body_larger_than_the_buffer_arrives_whole() -> None:
    body = random.Random(1).randbytes(3 << 20)
    async with serving(sends(whole(body))) as (server, client):
        bodies = [await client.body() for _ in range(2)]

    assert bodies == [body, body]
    assert server.connections == 1


async def test_a_server_is_not_read_faster_than_its_response() -> None:
    sent = 0

    async def respond(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(HEAD + b"\r\n")
        for _ in range(1000):
            await exchange.send(bytes(100_000))
            sent += 100_000
        exchange.writer.close()

    async with (
        serving(respond) as (_, client),
        client.request("POST", "/", b"", {}) as response,
    ):
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        received = 0
        while piece := await response.read():
            received += len(piece)

    # What the sockets' buffers hold is megabytes at most.
    assert before < 50_000_000
    assert received == 100_000_000
