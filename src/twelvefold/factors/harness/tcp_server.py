"""A TCP server on loopback for the duration of a check."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve_tcp(handler: Handler) -> AsyncIterator[int]:
    """Serve connections with the handler and yield the port.

    Each connection is closed after its handler returns, and all of them at the end. A client that
    disconnects early is not an error.
    """
    tasks: set[asyncio.Task[Any]] = set()

    async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await handler(reader, writer)
                await writer.drain()
            finally:
                writer.close()

    server = await asyncio.start_server(on_connect, "127.0.0.1", 0, backlog=256)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        remaining = list(tasks)
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
