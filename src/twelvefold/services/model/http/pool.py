"""Connections to one server, which later requests use again."""

import asyncio
import socket
import ssl
from collections import deque
from typing import Any

from aiohappyeyeballs import start_connection

from twelvefold.services.model.http.connection import Connection

_KEEP_ALIVE_S = 60.0
_ADDRESSES_TTL_S = 10.0
_HAPPY_EYEBALLS_DELAY_S = 0.25
"""Delay before the next address is tried as well. Source: RFC 8305, section 5."""


class ConnectionPool:
    """Opens connections to a server, over TLS unless `tls` is None."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._resolving = asyncio.Lock()
        self._addresses: list[Any] = []
        self._resolved_at = 0.0

    def take_idle(self) -> Connection | None:
        """Return an idle connection, None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable:
                return connection
        return None

    def release(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it if it cannot be used again."""
        if not connection.is_reusable:
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        self._expiry = self._expiry or self._loop.call_later(_KEEP_ALIVE_S, self._expire)

    def close_idle(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().abort()

    async def close(self) -> None:
        """Close all connections."""
        self.close_idle()
        if self._expiry is not None:
            self._expiry.cancel()
        closing = [connection.closed for connection in self._open]
        for connection in self._open:
            connection.abort()
        if closing:
            await asyncio.wait(closing)  # unlike `gather`, it does not cancel them

    def _expire(self) -> None:
        limit = self._loop.time() - _KEEP_ALIVE_S
        while self._idle and self._idle[0].idle_since <= limit:
            self._idle.popleft().abort()
        at = self._idle[0].idle_since + _KEEP_ALIVE_S if self._idle else 0.0
        self._expiry = self._loop.call_at(at, self._expire) if self._idle else None

    async def connect(self) -> Connection:
        """Return a new connection. Raises OSError if none can be established."""
        delay_s = _HAPPY_EYEBALLS_DELAY_S
        connected = await start_connection(await self._resolve(), happy_eyeballs_delay=delay_s)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, connection = await self._loop.create_connection(
                Connection,
                sock=connected,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            connected.close()
            raise
        # Only now: uvloop does not report the loss of a connection whose opening was cancelled.
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _resolve(self) -> list[Any]:
        """Return the server's addresses. Connections that are opened at once share one lookup."""
        async with self._resolving:
            if not self._addresses or self._loop.time() > self._resolved_at + _ADDRESSES_TTL_S:
                self._addresses = await self._lookup()
                self._resolved_at = self._loop.time()
        return self._addresses

    async def _lookup(self) -> list[Any]:
        return await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
