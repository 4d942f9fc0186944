"""Drops clients that do not read their answers, which would hold memory and connections."""

import asyncio
import socket
import struct
import sys
from collections.abc import Collection
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
CHECKS = 4
"""How often a client is checked within its limit."""
_INFO_BYTES = 148
"""`struct tcp_info` of Linux up to and including `tcpi_notsent_bytes`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a client has taken of its answers: it grows with each byte. `is_complete`: all of it."""

    taken: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Stall:
    """So much was taken at the last check, and at so many checks before."""

    taken: int
    unchanged: int


class StalledClients:
    """Drops connections whose client takes no byte of what waits for it for `limit_s`.

    A client that reads slowly stays, and so does one that has everything.
    """

    def __init__(self, connections: Collection[HttpToolsProtocol], limit_s: float) -> None:
        self._connections = connections
        self._limit_s = limit_s
        self._stalls: dict[HttpToolsProtocol, _Stall] = {}

    async def poll(self) -> None:
        """Check the connections for ever."""
        while True:
            await asyncio.sleep(self._limit_s / CHECKS)
            self.check()

    def check(self) -> None:
        """Drop those that have taken nothing since `CHECKS` checks before.

        Checks are counted, not seconds: while the event loop is blocked nothing is sent.
        """
        before, self._stalls = self._stalls, {}
        for connection in tuple(self._connections):
            delivery = delivery_of(connection.transport)
            if delivery.is_complete:
                continue
            last = before.get(connection)
            unchanged = last.unchanged + 1 if last and last.taken == delivery.taken else 0
            if unchanged >= CHECKS:
                self._drop(connection)
            else:
                self._stalls[connection] = _Stall(delivery.taken, unchanged)

    def _drop(self, connection: HttpToolsProtocol) -> None:
        client = connection.client[0] if connection.client else ""
        log.warning("client_stalled", client=client, waited_s=self._limit_s)
        connection.transport.abort()


def delivery_of(transport: asyncio.Transport) -> Delivery:
    """What the client has taken, by the counters of Linux; elsewhere by the transport's buffer.

    The buffer alone would not do: under TLS the transport does not count what is encrypted. Source:
    `struct tcp_info` in include/uapi/linux/tcp.h.
    """
    unsent = transport.get_write_buffer_size()
    info = _tcp_info(transport.get_extra_info("socket"))
    if len(info) < _INFO_BYTES:
        return Delivery(-unsent, is_complete=not unsent)
    (unacknowledged,) = struct.unpack_from("=I", info, 24)
    (acknowledged,) = struct.unpack_from("=Q", info, 120)
    (not_sent,) = struct.unpack_from("=I", info, 144)
    return Delivery(acknowledged, is_complete=not (unsent or unacknowledged or not_sent))


def _tcp_info(connected: socket.socket | None) -> bytes:
    """The system's counters of a connection; empty where it has none or the socket is closed."""
    if connected is None or sys.platform != "linux":
        return b""
    try:
        return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except (OSError, ValueError):  # uvloop's has the file descriptor -1 once it is closed
        return b""
