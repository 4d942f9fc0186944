"""A TCP proxy in front of a MySQL server that counts packets and cuts connections at one of them.

It reads as much of the protocol as it needs: the packets of the client, and of these the text of
COM_QUERY. Source: "Client/Server Protocol" in MariaDB's documentation.
"""

import asyncio
import re
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

COM_QUERY = 3
Place = Literal["before", "inside", "behind"]
"""Where a connection is cut: before the packet reaches the server, when it has half of the packet,
or when it has executed all of it."""


class CuttingProxy:
    """`packets` are the statements of each COM_QUERY, in order."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._cut: tuple[re.Pattern[str], Place] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.packets: list[list[str]] = []

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        user = f"{self._server.username}:{self._server.password}"
        netloc = f"{user}@127.0.0.1:{port}"
        self.url = self._server._replace(netloc=netloc).geturl()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, pattern: str, place: Place) -> None:
        """Cut the connection once, at the next packet with a statement that matches."""
        self._cut = re.compile(pattern, re.IGNORECASE), place

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        host, port = self._server.hostname, self._server.port
        server_reader, server_writer = await asyncio.open_connection(host, port)
        back = asyncio.create_task(_copy(server_reader, writer))
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._forward(reader, server_writer, back)
        finally:
            back.cancel()
            server_writer.close()
            writer.close()
            self._tasks.discard(task)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: "asyncio.Task[None]",
    ) -> None:
        while True:
            head = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(head[:3], "little"))
            place = self._place(body) if head[3] == 0 and body[0] == COM_QUERY else None
            if place == "before":
                return
            if place == "inside":
                writer.write((head + body)[: len(body) // 2])
                await writer.drain()
                return
            if place == "behind":
                # The response is lost: the packet was executed before the connection ended.
                back.cancel()
                writer.write(head + body)
                writer.write_eof()
                return
            writer.write(head + body)
            await writer.drain()

    def _place(self, body: bytes) -> Place | None:
        packet = body[1:].decode("utf-8", "replace").split("\n;")
        self.packets.append(packet)
        if self._cut is None or not any(self._cut[0].match(one.strip()) for one in packet):
            return None
        (_, place), self._cut = self._cut, None
        return place


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
