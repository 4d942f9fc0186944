"""A stand-in for a mail server on loopback: takes every mail and keeps its subject.

It speaks as much SMTP as a client needs without a login and TLS. Source: RFC 5321.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twelvefold.factors.harness.tcp_server import listening

_END = b"\r\n.\r\n"


class Letterbox:
    """The server, in the checks' own process."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Letterbox"]:
        async with listening(self._connected) as self.port:
            yield self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 letterbox\r\n")
        while verb := (await reader.readline())[:4].upper():
            if verb == b"DATA":
                writer.write(b"354 go ahead\r\n")
                self._keep(await reader.readuntil(_END))
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            await writer.drain()

    def _keep(self, content: bytes) -> None:
        found = re.search(rb"(?im)^subject:(.*)$", content)
        self.subjects.append(found[1].decode().strip() if found else "")
