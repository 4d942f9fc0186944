"""Accepts connections on one listening socket, up to the limit of connections."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from twelvefold.observe.log import get_logger
from twelvefold.web.http.server.connections import Connections, ConnectionSlot
from twelvefold.web.http.summary_log import SummaryLog

log = get_logger(__name__)
BATCH_SIZE = 64
"""Connections accepted in one iteration of the event loop."""
HANDSHAKE_TIMEOUT_S = 10.0
RETRY_DELAY_S = 0.2
"""How long to pause after the process has run out of file descriptors."""
LINGER_S = 0.5
MAX_LINGERING = 32
"""Rejected connections that stay open until their client has read the response."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

MakeProtocol = Callable[[ConnectionSlot], asyncio.Protocol]


class Listener:
    """Accepts connections from `start` until `close`.

    `rejection` returns the response to a connection above the limit; it is sent without TLS only.
    The class has the methods of `asyncio.Server` that uvicorn calls.
    """

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        make_protocol: MakeProtocol,
        *,
        rejection: Callable[[], bytes],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = listening
        self._connections = connections
        self._make_protocol = make_protocol
        self._rejection = rejection
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._lingering: dict[socket.socket, asyncio.TimerHandle] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._failures = SummaryLog("accept_failed")

    def start(self, backlog: int) -> None:
        """Listen and accept connections."""
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        self._loop.add_reader(self._socket, self._accept_all)

    def close(self) -> None:
        """Stop accepting. Open connections stay open."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._socket)
        for task in self._opening:
            task.cancel()
        for lingering in list(self._lingering):
            self._end_linger(lingering)

    async def wait_closed(self) -> None:
        """Return when no connection is being opened."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _accept_all(self) -> None:
        for _ in range(BATCH_SIZE):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._open(accepted, str(address[0]))

    def _pause(self, error: OSError) -> None:
        """Pause for a moment; close a waiting connection if file descriptors have run out."""
        self._failures.add(error=str(error), connections=len(self._connections))
        if error.errno in _EXHAUSTED:
            self._connections.close_waiting()
        self._loop.remove_reader(self._socket)
        self._retry = self._loop.call_later(RETRY_DELAY_S, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._socket, self._accept_all)

    def _open(self, accepted: socket.socket, address: str) -> None:
        accepted.setblocking(False)
        slot = self._connections.open(address, accepted.close)
        if slot is None:
            self._reject(accepted)
            return
        task = self._loop.create_task(self._connect(accepted, slot))
        slot.close = partial(_cancel, task)
        self._opening.add(task)
        task.add_done_callback(partial(self._on_opened, accepted, slot))

    async def _connect(self, accepted: socket.socket, slot: ConnectionSlot) -> None:
        await self._loop.connect_accepted_socket(
            lambda: self._make_protocol(slot),
            accepted,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._tls else None,
        )

    def _on_opened(
        self, accepted: socket.socket, slot: ConnectionSlot, task: asyncio.Task[None]
    ) -> None:
        """Release a failed connection: its client left, was too slow, or did not use TLS."""
        self._opening.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            return
        slot.release()
        accepted.close()
        if error is not None and not isinstance(error, OSError):
            log.error("connection_not_opened", error=repr(error))

    def _reject(self, accepted: socket.socket) -> None:
        """Send the rejection and close. Under TLS nothing is sent: there was no handshake yet."""
        if self._tls is not None:
            accepted.close()
            return
        with suppress(OSError):
            accepted.send(self._rejection())
            accepted.shutdown(socket.SHUT_WR)
        if len(self._lingering) >= MAX_LINGERING:
            accepted.close()
            return
        self._lingering[accepted] = self._loop.call_later(LINGER_S, self._end_linger, accepted)

    def _end_linger(self, accepted: socket.socket) -> None:
        self._lingering.pop(accepted).cancel()
        accepted.close()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
