"""A model server that bills each request when it arrives, and reports what it billed.

It never bills more than the output cap of the request, nor more input tokens than bytes.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twelvefold.factors.harness.tcp_server import serve_tcp

BYTES_PER_TOKEN = 4
SLOW_REPLIES = 7
"""Every so many requests the reply breaks off in the middle, after it was billed."""
PACE_S = 0.05


class BillingModel:
    """`billed` are the tokens of each request; `uncapped` counts those without an output cap."""

    def __init__(self) -> None:
        self.port = 0
        self.billed: list[int] = []
        self.uncapped = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["BillingModel"]:
        async with serve_tcp(self._on_connect) as self.port:
            yield self

    async def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        body = await reader.readexactly(length)
        cap = json.loads(body).get("max_output_tokens")
        self.uncapped += cap is None
        number, read, written = len(self.billed), length // BYTES_PER_TOKEN, cap or 1
        if number % 2:
            written = max(written // 3, 1)
        self.billed.append(read + written)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"connection: close\r\n\r\n")
        created, *rest = _events(read, written)
        writer.write(created)
        await writer.drain()
        await asyncio.sleep(PACE_S)
        if number % SLOW_REPLIES:
            writer.write(b"".join(rest))


def _events(read: int, written: int) -> list[bytes]:
    part = {"type": "output_text", "text": "Done.", "annotations": []}
    item = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
    response = {"id": "r", "object": "response", "model": "billing", "status": "in_progress"}
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    done = {**item, "content": [part]}
    completed = {**response, "status": "completed", "output": [done], "usage": usage}
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    return [
        _event("response.created", response=response),
        _event("response.output_item.added", output_index=0, item={**item, "content": []}),
        _event("response.output_text.delta", **place, delta="Done."),
        _event("response.output_item.done", output_index=0, item=done),
        _event("response.completed", response=completed),
    ]


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
