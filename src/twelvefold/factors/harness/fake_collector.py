"""A fake collector of OpenTelemetry on loopback, which keeps what it receives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twelvefold.factors.harness.tcp_server import serve_tcp


class FakeCollector:
    """Runs in the process of the checks. `received` are the bodies; texts in them are UTF-8."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._port = 0
        self._changed = asyncio.Event()

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a process that exports to this collector, soon."""
        url = f"http://127.0.0.1:{self._port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["FakeCollector"]:
        async with serve_tcp(self._on_connect) as self._port:
            yield self

    async def wait_for(self, text: bytes) -> None:
        """Wait until this text was received."""
        while not self.has(text):
            self._changed.clear()
            await self._changed.wait()

    def has(self, text: bytes) -> bool:
        return any(text in body for body in self.received)

    async def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            self.received.append(await reader.readexactly(length))
            self._changed.set()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
