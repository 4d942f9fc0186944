"""Drops clients that do not read their responses: they hold memory and connections."""

import asyncio
import socket
import struct
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
CHECKS = 4
"""Checks of a client within its time limit."""
_INFO_BYTES = 148
"""`struct tcp_info` of Linux up to and including `tcpi_notsent_bytes`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a client has received. `received` grows with each byte; `is_complete`: everything."""

    received: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Stall:
    """The bytes received at the last check, and how many checks before it found the same number."""

    received: int
    unchanged: int


class Connection(Protocol):
    """The part of a protocol that is used here; `client` is its address and port."""

    transport: asyncio.Transport
    client: tuple[str, int] | None


class StalledClients:
    """Drops connections whose client receives nothing for `limit_s` while bytes wait for it.

    A client that reads slowly is not dropped, nor one that has received everything.
    """

    def __init__(self, connections: Collection[Connection], limit_s: float) -> None:
        self._connections = connections
        self._limit_s = limit_s
        self._stalls: dict[Connection, _Stall] = {}

    async def poll(self) -> None:
        """Check the connections until cancelled."""
        while True:
            await asyncio.sleep(self._limit_s / CHECKS)
            self.check()

    def check(self) -> None:
        """Drop the clients that have received nothing in the last `CHECKS` checks.

        Checks are counted instead of seconds: a blocked event loop sends nothing.
        """
        previous, self._stalls = self._stalls, {}
        for connection in tuple(self._connections):
            delivery = delivery_of(connection.transport)
            if delivery.is_complete:
                continue
            last = previous.get(connection)
            unchanged = last.unchanged + 1 if last and last.received == delivery.received else 0
            if unchanged >= CHECKS:
                self._drop(connection)
            else:
                self._stalls[connection] = _Stall(delivery.received, unchanged)

    def _drop(self, connection: Connection) -> None:
        client = connection.client[0] if connection.client else ""
        log.warning("client_stalled", client=client, waited_s=self._limit_s)
        connection.transport.abort()


def delivery_of(transport: asyncio.Transport) -> Delivery:
    """Return what the client has received, by Linux's TCP counters or the transport's buffer.

    The counters are more exact: under TLS the transport does not count encrypted bytes. Source:
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
    """Return the system's counters; empty on other systems and for a closed socket."""
    if connected is None or sys.platform != "linux":
        return b""
    try:
        return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except (OSError, ValueError):  # a closed socket of uvloop has the file descriptor -1
        return b""
