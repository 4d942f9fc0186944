"""Connections and requests are freed without the garbage collector.

A collection stops the event loop for all clients: the longer, the more it has to free.
"""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from tests.web.http.raw_client import GET, run_server
from twelvefold.web.http.middleware import LimitedBody
from twelvefold.web.http.server.connections import ReceiveLimits
from twelvefold.web.http.server.framing_limits import FramingLimits
from twelvefold.web.http.server.protocol import HTTPProtocol

HEAD = b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
LIMITS = ReceiveLimits(framing=FramingLimits(head_bytes=1_000))


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def count_instances(kind: type) -> int:
    return sum(type(one) is kind for one in gc.get_objects())


@pytest.mark.parametrize(
    "data",
    [
        GET,
        GET[:20],
        HEAD + b"content-length: 100\r\n\r\n{",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 2_000 + b"\r\n\r\n",
    ],
    ids=["request", "half a head", "half a body", "a head too large"],
)
async def test_a_connection_is_freed_when_it_is_closed(data: bytes) -> None:
    others = count_instances(HTTPProtocol)
    async with run_server(limits=LIMITS) as server:
        for _ in range(3):
            client = await server.connect()
            await client.send(data)
            await asyncio.sleep(0.05)
            client.writer.transport.abort()

        while count_instances(HTTPProtocol) > others:
            await asyncio.sleep(0.02)


async def test_a_rejected_request_is_freed_after_its_response() -> None:
    others = count_instances(LimitedBody)
    async with run_server() as server:
        client = await server.connect()
        for _ in range(3):
            answer = await client.request(HEAD + b"content-length: 2\r\n\r\n{}")
            assert answer.status == 400

        while count_instances(LimitedBody) > others:
            await asyncio.sleep(0.02)
