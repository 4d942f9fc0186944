"""One connection without a network, to which a test sends bytes in any segments."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.routing import Route
from uvicorn import Config
from uvicorn.server import ServerState

from tests.web.doubles import Keys, web_on, with_routes
from tests.web.http.raw_client import read_all
from twelvefold.web.http.server.connections import Connections, ReceiveLimits
from twelvefold.web.http.server.framing_limits import FramingLimits
from twelvefold.web.http.server.protocol import HTTPProtocol
from twelvefold.web.http.token_buckets import TokenBuckets

TURNS = 8
"""Iterations of the event loop within which the handler has responded."""


class Pipe(asyncio.Transport):
    """A transport that records what is written; reading can be paused."""

    def __init__(self) -> None:
        super().__init__({"peername": ("203.0.113.7", 5_000)})
        self.written = bytearray()
        self.is_paused = False
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


Connect = Callable[[], tuple[HTTPProtocol, Pipe]]


@asynccontextmanager
async def connecting(
    framing: FramingLimits | None = None, **settings: Any
) -> AsyncIterator[Connect]:
    """Yield a function that connects to an app with the route /read."""
    endless = TokenBuckets(10**9, 1)
    limits = ReceiveLimits(framing=framing or FramingLimits(), rejections=endless)
    state = ServerState()
    async with web_on(Keys(), **settings) as web:
        app = with_routes(web, Route("/read", read_all, methods=["POST"]))
        config = Config(app, http=HTTPProtocol, ws="none", lifespan="off", log_config=None)
        config.load()

        def connect() -> tuple[HTTPProtocol, Pipe]:
            pipe, slot = Pipe(), Connections(1).open("203.0.113.7", lambda: None)
            assert slot is not None
            protocol = HTTPProtocol(config, state, {}, slot=slot, limits=limits)
            protocol.connection_made(pipe)
            return protocol, pipe

        yield connect


async def answers_to(connect: Connect, segments: Iterable[bytes]) -> list[str]:
    """Return status and body of each response, and whether the connection is closed."""
    protocol, pipe = connect()
    for segment in segments:
        protocol.data_received(segment)
        for _ in range(TURNS):
            await asyncio.sleep(0)
    state = "closed" if pipe.is_closed else "open"
    protocol.connection_lost(None)
    return [*_parsed(bytes(pipe.written)), state]


def _parsed(written: bytes) -> Iterator[str]:
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(cast("tuple[str, str]", tuple(line.split(": ", 1))) for line in lines)
        length = int(headers.get("content-length", 0))
        yield f"{status.split()[1]} {rest[:length].decode()}"
        written = rest[length:]


def cuts(data: bytes, seed: int = 1, how_many: int = 12) -> Iterator[list[bytes]]:
    """Yield the bytes in one segment, byte by byte, in two at each position, and at random."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    source = random.Random(seed)
    for _ in range(how_many):
        positions = sorted(source.sample(range(1, len(data)), min(len(data) - 1, 6)))
        yield [data[a:b] for a, b in zip([0, *positions], [*positions, len(data)], strict=True)]
