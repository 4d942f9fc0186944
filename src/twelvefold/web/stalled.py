"""Drops clients that do not read their answers, which would hold memory and connections."""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
CHECKS = 4
"""How often a client is checked within its limit."""


@dataclass(frozen=True, slots=True)
class _Unsent:
    """So many bytes, which were as many at `since` already."""

    size: int
    since: float


class StalledClients:
    """Drops connections whose socket has accepted no byte for `limit_s`.

    A client that reads slowly stays. Only bytes that hold something up count: those of a whole
    answer, and those behind which a stream waits. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        connections: Collection[HttpToolsProtocol],
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._limit_s = limit_s
        self._clock = clock
        self._unsent: dict[HttpToolsProtocol, _Unsent] = {}

    async def poll(self) -> None:
        """Check the connections for ever."""
        while True:
            await asyncio.sleep(self._limit_s / CHECKS)
            self.check()

    def check(self) -> None:
        """Drop those that have stalled for too long."""
        now, before, self._unsent = self._clock(), self._unsent, {}
        for connection in tuple(self._connections):
            if not (size := _size_of_unsent(connection)):
                continue
            unsent = before.get(connection)
            if unsent is None or unsent.size != size:
                unsent = _Unsent(size, now)
            if now - unsent.since >= self._limit_s:
                _drop(connection, size, now - unsent.since)
            else:
                self._unsent[connection] = unsent


def _size_of_unsent(connection: HttpToolsProtocol) -> int:
    """How many bytes wait for the client and for nothing else."""
    cycle = connection.cycle
    goes_on = cycle is not None and not cycle.response_complete
    if goes_on and not connection.flow.write_paused:
        return 0  # more may be written, so its size says nothing about what was taken
    return connection.transport.get_write_buffer_size()


def _drop(connection: HttpToolsProtocol, size: int, waited_s: float) -> None:
    client = connection.client[0] if connection.client else ""
    log.warning("client_stalled", client=client, unsent_bytes=size, waited_s=round(waited_s, 1))
    connection.transport.abort()
