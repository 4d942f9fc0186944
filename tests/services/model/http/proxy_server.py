"""A forwarding proxy that sends every request to one port of this machine."""

import asyncio
from contextlib import suppress
from typing import Self


class ProxyServer:
    """Records the request lines in `request_lines` and their headers in `headers`."""

    def __init__(self, target_port: int, *, status: int = 0) -> None:
        self.request_lines: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._target_port = target_port
        self._status = status
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            pairs = [line.partition(":") for line in lines if line]
            self.request_lines.append(first)
            self.headers.append({name.lower(): value.strip() for name, _, value in pairs})
            if self._status:
                writer.write(f"HTTP/1.1 {self._status} No\r\nContent-Length: 0\r\n\r\n".encode())
                return
            await self._forward(first, head, reader, writer)
        finally:
            writer.close()

    async def _forward(
        self, first: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            if first.startswith("CONNECT"):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                to_writer.write(head)
            await asyncio.gather(_pipe(reader, to_writer), _pipe(to_reader, writer))
        finally:
            to_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
        writer.close()
