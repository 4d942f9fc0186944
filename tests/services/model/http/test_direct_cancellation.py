"""Direct connections: cancellation and timeouts leave none open."""

import asyncio
from typing import Any

import pytest

from tests.services.model.http.direct_client import Client, serving
from tests.services.model.http.raw_server import (
    CHUNKED,
    HEAD,
    Handler,
    hangs,
)
from tests.waiting import HANG_S
from twelvefold.services.model.http import Endpoint, ServerUnreachable

POINTS: dict[str, tuple[Handler, dict[str, Any]]] = {
    "before the head": (hangs(), {}),
    "within the head": (hangs(HEAD), {}),
    "within a body": (hangs(CHUNKED + b"5\r\nhello\r\n"), {}),
    "with a full buffer": (hangs(HEAD + b"Content-Length: 9999999\r\n\r\n", bytes(900_000)), {}),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.003, 0.05])
async def test_a_cancelled_request_closes_its_connection(point: str, delay_s: float) -> None:
    async with serving(POINTS[point][0]) as (server, client):
        request = asyncio.create_task(client.reply())
        await asyncio.sleep(delay_s)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

        await server.wait_closed()


async def test_a_cancelled_tls_handshake_closes_its_connection() -> None:
    opened, closed = asyncio.Event(), asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.set()
        while await reader.read(100):
            pass
        closed.set()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        client = Client(Endpoint(f"https://127.0.0.1:{port}/v1"), connect_timeout_s=HANG_S)
        request = asyncio.create_task(client.reply())
        await opened.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

        async with asyncio.timeout(HANG_S):
            await closed.wait()
        await client.close()


async def test_a_server_that_never_completes_the_handshake_is_unreachable() -> None:
    closed = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(100):
            pass
        closed.set()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        client = Client(Endpoint(f"https://127.0.0.1:{port}/v1"), connect_timeout_s=0.2)
        with pytest.raises(ServerUnreachable, match=r"no connection in 0\.2 s"):
            await client.reply()

        async with asyncio.timeout(HANG_S):
            await closed.wait()
        await client.close()


async def test_a_silent_server_is_left_at_the_callers_timeout() -> None:
    async with serving(hangs(CHUNKED + b"5\r\nhello\r\n")) as (server, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.reply()
        await server.wait_closed()


async def test_a_failure_while_reading_closes_the_connection() -> None:
    async with serving(hangs(CHUNKED + b"5\r\nhello\r\n")) as (server, client):

        async def fail() -> None:
            async with client.request("POST", "/", b"", {}) as response:
                assert await response.read() == b"hello"
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        await server.wait_closed()


async def test_closing_the_client_ends_its_requests() -> None:
    async with serving(hangs(HEAD)) as (server, client):
        request = asyncio.create_task(client.dropped())
        while not server.requests:
            await asyncio.sleep(0.002)
        await client.close()

        assert "the connection was dropped" in await request
        await server.wait_closed()


async def test_a_cancelled_close_still_ends_the_requests() -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with serving(hangs(HEAD)) as (server, client):
        request = asyncio.create_task(client.dropped())
        while not server.requests:
            await asyncio.sleep(0.002)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

        async with asyncio.timeout(HANG_S):
            assert "the connection was dropped" in await request
        await server.wait_closed()

    assert failures == []
