"""Requests to a web process on loopback, each over a connection of its own.

They are made in HTTP/1.0, so an answer ends where its connection does.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from twelvefold.factors.harness.machine_load import scaled

ANSWER_S = 20.0
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and body of an answer."""

    status: int
    text: str

    @property
    def body(self) -> dict[str, Any]:
        found = json.loads(self.text)
        return found if isinstance(found, dict) else {}

    @property
    def said(self) -> str:
        """The text of a response's last message."""
        messages = [one for one in self.body.get("output", ()) if one["type"] == "message"]
        return str(messages[-1]["content"][0]["text"]) if messages else ""


async def get(port: int, path: str) -> Answer:
    async with (
        asyncio.timeout(scaled(ANSWER_S)),
        _sent(port, "GET", path, None) as (status, reader),
    ):
        return Answer(status, (await reader.read()).decode())


async def post(port: int, path: str, **body: object) -> Answer:
    async with (
        asyncio.timeout(scaled(ANSWER_S)),
        _sent(port, "POST", path, body) as (status, reader),
    ):
        return Answer(status, (await reader.read()).decode())


@asynccontextmanager
async def streamed(port: int, path: str, **body: object) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of a response that is asked for, or of one that is read again."""
    method = "POST" if body else "GET"
    async with _sent(port, method, path, body or None) as (_, reader):
        yield _events(reader)


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[Event]:
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))


@asynccontextmanager
async def _sent(
    port: int, method: str, path: str, body: object
) -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    try:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        status = (await reader.readline()).split()
        while (await reader.readline()).strip():
            pass
        yield int(status[1]) if len(status) > 1 else 0, reader
    finally:
        writer.close()
