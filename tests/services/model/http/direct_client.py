"""A client of direct connections, and the forms that a response may have."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.services.model.http.raw_server import (
    CHUNKED,
    Handler,
    RawServer,
    chunks,
    whole,
)
from tests.waiting import HANG_S
from twelvefold.services.model.http import ConnectionDropped, Endpoint
from twelvefold.services.model.http.direct import DirectTransport

TEXT = b"0123456789" * 50
Reply = tuple[int, Mapping[str, str], bytes]


class Client(DirectTransport):
    """Posts small bodies. `reply` reads a whole response."""

    async def reply(self, body: bytes = b"{}", **headers: str) -> Reply:
        async with self.request("POST", "/responses", body, headers) as response:
            received = bytearray()
            while piece := await response.read():
                received += piece
        return response.status, response.headers, bytes(received)

    async def body(self) -> bytes:
        return (await self.reply())[2]

    async def dropped(self) -> str:
        with pytest.raises(ConnectionDropped) as caught:
            await self.reply()
        return str(caught.value)


@asynccontextmanager
async def serving(
    *handlers: Handler, timeout_s: float = HANG_S, **server_options: Any
) -> AsyncIterator[tuple[RawServer, Client]]:
    """A server and its client. At the end the client must have closed every connection."""
    async with RawServer(*handlers, **server_options) as server:
        client = Client(Endpoint(server.url, "key"), connect_timeout_s=timeout_s)
        try:
            yield server, client
        finally:
            await client.close()
        await server.wait_closed()


FORMS = {
    "a length": whole(TEXT),
    "an empty body": whole(b""),
    "chunks": CHUNKED + chunks(TEXT[:1], TEXT[1:20], TEXT[20:]),
    "extensions of chunks": CHUNKED + b"1f4;name=value\r\n" + TEXT + b"\r\n0;last\r\n\r\n",
    "spaces after the size of a chunk": CHUNKED + b"1f4  \r\n" + TEXT + b"\r\n0\r\n\r\n",
    "trailers": CHUNKED + chunks(TEXT)[:-2] + b"X-Checksum: 1\r\n\r\n",
    "newlines only": b"HTTP/1.1 200 OK\nContent-Length: 500\nX: y\n\n" + TEXT,
    "names in upper case": b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:500\r\n\r\n" + TEXT,
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 500\r\n\r\n" + TEXT,
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX: z\r\n\r\n" + whole(TEXT),
    "100 and 102": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + whole(TEXT),
}
EXPECTED = {form: b"" if form == "an empty body" else TEXT for form in FORMS}
