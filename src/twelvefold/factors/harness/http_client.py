"""An HTTP client for one port on loopback.

Sends HTTP/1.0, so that a response ends with its connection.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    text: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the body; empty for any other JSON."""
        found = json.loads(self.text)
        return found if isinstance(found, dict) else {}

    @property
    def output_text(self) -> str:
        """The text of the last message in a response of `/v1/responses`."""
        messages = [item for item in self.body.get("output", ()) if item["type"] == "message"]
        return str(messages[-1]["content"][0]["text"]) if messages else ""


@dataclass(frozen=True, slots=True)
class HTTPClient:
    """Opens a connection for each request. `timeout_s` limits `get` and `post`."""

    port: int
    timeout_s: float

    async def get(self, path: str) -> Response:
        return await self._request("GET", path, None)

    async def post(self, path: str, **body: object) -> Response:
        return await self._request("POST", path, body)

    @asynccontextmanager
    async def stream(self, path: str, **body: object) -> AsyncIterator[AsyncIterator[Event]]:
        """Yield the SSE events of a POST with this body, or of a GET without one."""
        async with self._open("POST" if body else "GET", path, body or None) as (_, reader):
            yield _events(reader)

    async def _request(self, method: str, path: str, body: object) -> Response:
        async with (
            asyncio.timeout(self.timeout_s),
            self._open(method, path, body) as (status, reader),
        ):
            return Response(status, (await reader.read()).decode())

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: object
    ) -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
        """Send a request; yields the status and the body that follows."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            content = b"" if body is None else json.dumps(body).encode()
            head = f"{method} {path} HTTP/1.0\r\nhost: 127.0.0.1:{self.port}\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            status = (await reader.readline()).split()
            while (await reader.readline()).strip():
                pass
            yield int(status[1]) if len(status) > 1 else 0, reader
        finally:
            writer.close()


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[Event]:
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))
