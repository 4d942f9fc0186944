"""Direct connections: faults of servers, and data that is not HTTP."""

import asyncio
import random
import socket
from contextlib import suppress

import pytest

from tests.services.model.http.direct_client import FORMS, TEXT, serving
from tests.services.model.http.raw_server import (
    CHUNKED,
    HEAD,
    Exchange,
    repeats,
    sends,
)
from tests.waiting import HANG_S
from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.http import ConnectionDropped


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1", HEAD, HEAD + b"Content-Len"])
async def test_a_connection_closed_before_the_response_is_reported(head: bytes) -> None:
    async with serving(sends(head, close=True)) as (_, client):
        problem = await client.dropped()

    assert problem == "the connection was dropped: the server closed the connection"


@pytest.mark.parametrize(
    "start",
    [
        HEAD + b"Content-Length: 501\r\n\r\n" + TEXT,
        CHUNKED + b"1f5\r\n" + TEXT,
        CHUNKED + b"1f4\r\n" + TEXT,
        CHUNKED + b"1f4\r\n" + TEXT + b"\r\n",
        CHUNKED + b"1f4\r\n" + TEXT + b"\r\n0\r\n",
    ],
)
@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_connection_closed_within_a_body_is_reported(start: bytes, is_reset: bool) -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.send(start)
        await asyncio.sleep(0.02)  # lets the sent data arrive first
        if is_reset:
            exchange.writer.transport.abort()
            linger = b"\1\0\0\0\0\0\0\0"
            with suppress(OSError):
                connection = exchange.writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        exchange.writer.close()

    async with (
        serving(respond) as (_, client),
        client.request("POST", "/", b"", {}) as response,
    ):
        received = b""
        while len(received) < len(TEXT):
            received += await response.read()
        with pytest.raises(RetryableError, match="connection broke during the reply: ") as error:
            await response.read()

    assert received == TEXT
    assert not isinstance(error.value, ConnectionDropped)
    assert "broke during the reply" in error.value.logged


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x00\x05",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
    ],
)
async def test_a_response_that_is_not_http_is_reported(response: bytes) -> None:
    async with serving(sends(response)) as (server, client):
        problem = await client.dropped()
        await server.wait_closed()

    assert problem.startswith("the connection was dropped: invalid HTTP: ")


@pytest.mark.parametrize("size", [b"zz", b"-1", b"", b"f" * 17])
async def test_an_invalid_chunk_is_reported(size: bytes) -> None:
    body = CHUNKED + b"1\r\na\r\n" + size + b"\r\nabc\r\n"
    async with serving(sends(body)) as (server, client):
        with pytest.raises(RetryableError, match="broke during the reply: invalid HTTP: "):
            await client.reply()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEAD + b"X: ", b"x" * 1000),
        (HEAD, b"X-Name: value\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"", b"\r\n"),
    ],
    ids=["header", "headers", "hints", "newlines"],
)
async def test_an_endless_head_is_not_read_to_its_end(start: bytes, piece: bytes) -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.send(start)
        await repeats(piece * (10_000 // len(piece)))(exchange)

    async with serving(respond) as (server, client):
        problem = await client.dropped()
        await server.wait_closed()

    assert problem == "the connection was dropped: more than 131072 bytes of headers"


@pytest.mark.parametrize("start", [b"5;name=", b"0\r\nX-Trailer: "], ids=["extension", "trailer"])
async def test_endless_data_between_chunks_is_not_read_to_its_end(start: bytes) -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.send(CHUNKED + b"1\r\na\r\n" + start)
        await repeats(b"x" * 10_000)(exchange)

    async with serving(respond) as (server, client):
        with pytest.raises(RetryableError, match="more than 131072 bytes of headers"):
            await client.reply()
        await server.wait_closed()


async def test_random_changes_of_a_response_never_block_or_escape() -> None:
    random_source = random.Random(7)
    served: list[bytes] = []

    async def respond(exchange: Exchange) -> None:
        data = bytearray(random_source.choice(list(FORMS.values())))
        for _ in range(random_source.randint(1, 3)):
            data[random_source.randrange(min(len(data), 120))] = random_source.randrange(256)
        served.append(bytes(data))
        await sends(bytes(data), close=True)(exchange)

    async with serving(respond) as (server, client):
        for _ in range(300):
            with suppress(RetryableError):
                async with asyncio.timeout(HANG_S):
                    await client.reply()
            await client.close()
        await server.wait_closed()

    assert len(served) == 300
