"""A fake SMTP server on loopback: accepts every message and keeps its subject.

Supports what a client needs without authentication and TLS. Source: RFC 5321.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twelvefold.factors.harness.tcp_server import serve_tcp

_END_OF_DATA = b"\r\n.\r\n"


class FakeSMTPServer:
    """Runs in the process of the checks."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self._port = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["FakeSMTPServer"]:
        async with serve_tcp(self._on_connect) as self._port:
            yield self

    async def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while verb := (await reader.readline())[:4].upper():
            if verb == b"DATA":
                writer.write(b"354 start mail input\r\n")
                self._store_subject(await reader.readuntil(_END_OF_DATA))
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            await writer.drain()

    def _store_subject(self, message: bytes) -> None:
        found = re.search(rb"(?im)^subject:(.*)$", message)
        self.subjects.append(found[1].decode().strip() if found else "")
