"""A small HTTP/1.1 client on asyncio streams, which takes little processor time itself."""

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

READ_LIMIT = 1 << 20
LOST = (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
"""What a connection fails with that the server has closed, or answered with no HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def head(
    method: str,
    path: str,
    key: str = "",
    length: int | None = None,
    more: str = "",
) -> bytes:
    """The head of a request; `more` are header lines, each with its end."""
    lines = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{more}"
    if key:
        lines += f"authorization: Bearer {key}\r\n"
    if length is not None:
        lines += f"content-type: application/json\r\ncontent-length: {length}\r\n"
    return f"{lines}\r\n".encode()


def request(method: str, path: str, key: str = "", body: Any = None, more: str = "") -> bytes:
    """A whole request. A body that is not bytes is sent as JSON."""
    if body is None:
        return head(method, path, key, more=more)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(method, path, key, len(data), more) + data


class Connection:
    """A connection that is kept between requests, and opened again after it was lost.

    `address` is where it comes from.
    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._port = port
        self._address = address
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as far as is known here."""
        reader = self._reader
        return self._writer is not None and reader is not None and not reader.at_eof()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=READ_LIMIT, local_addr=(self._address, 0)
        )

    async def send(self, data: bytes) -> None:
        """Send bytes as they are. Raises OSError."""
        if not self.is_open:
            self.close()
            await self.open()
        assert self._writer is not None
        self._writer.write(data)
        await self._writer.drain()

    def pause_reading(self) -> None:
        """Take nothing more from the socket, so that the server cannot get rid of its answer."""
        assert self._writer is not None
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # TCP transports can

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read the whole response."""
        await self.send(data)
        return await self.answer()

    async def answer(self) -> Answer:
        """Read the next response to its end. Raises OSError or EOFError where there is none."""
        if (reader := self._reader) is None:
            raise ConnectionResetError("the connection was closed before this response")
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, body)

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        found: list[bytes] = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            found.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(found)

    def close(self) -> None:
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.transport.abort()
