"""Accepts connections on one listening socket, as many as there may be."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from twelvefold.observe.log import get_logger
from twelvefold.web.http.server.connections import Connections, Place
from twelvefold.web.http.summary_log import SummaryLog

log = get_logger(__name__)
BATCH_SIZE = 64
"""Connections accepted before other work gets its turn."""
HANDSHAKE_TIMEOUT_S = 10.0
RETRY_S = 0.2
"""How long to accept nothing after the process had no file descriptor left."""
LINGER_S = 0.5
LINGERING = 32
"""Refused connections that may stay open until their client has read the answer."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

MakeProtocol = Callable[[Place], asyncio.Protocol]


class Listener:
    """Accepts from `start` until `close`. `refusal` is sent over plain TCP where there is no room.

    Has the methods of `asyncio.Server` that uvicorn calls.
    """

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        make_protocol: MakeProtocol,
        *,
        refusal: Callable[[], bytes],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = listening
        self._connections = connections
        self._make_protocol = make_protocol
        self._refusal = refusal
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._lingering: dict[socket.socket, asyncio.TimerHandle] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._failed = SummaryLog("accept_failed")

    def start(self, backlog: int) -> None:
        """Listen, and accept what comes."""
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        self._loop.add_reader(self._socket, self._accept_all)

    def close(self) -> None:
        """Accept no more. Connections that are open stay so."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._socket)
        for task in self._opening:
            task.cancel()
        for one in list(self._lingering):
            self._end_linger(one)

    async def wait_closed(self) -> None:
        """Return when no connection is being opened any more."""
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
        """Make room where there is no file descriptor, and try again in a moment."""
        self._failed.add(error=str(error), connections=len(self._connections))
        if error.errno in _EXHAUSTED:
            self._connections.close_waiting()
        self._loop.remove_reader(self._socket)
        self._retry = self._loop.call_later(RETRY_S, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._socket, self._accept_all)

    def _open(self, accepted: socket.socket, address: str) -> None:
        accepted.setblocking(False)
        place = self._connections.open(address, accepted.close)
        if place is None:
            self._refuse(accepted)
            return
        task = self._loop.create_task(self._connect(accepted, place))
        place.close = partial(_cancel, task)
        self._opening.add(task)
        task.add_done_callback(partial(self._opened, accepted, place))

    async def _connect(self, accepted: socket.socket, place: Place) -> None:
        await self._loop.connect_accepted_socket(
            lambda: self._make_protocol(place),
            accepted,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._tls else None,
        )

    def _opened(self, accepted: socket.socket, place: Place, task: asyncio.Task[None]) -> None:
        """Forget a connection that was not made: its client left, was too slow, or spoke no TLS."""
        self._opening.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            return
        place.leave()
        accepted.close()
        if error is not None and not isinstance(error, OSError):
            log.error("connection_not_opened", error=repr(error))

    def _refuse(self, accepted: socket.socket) -> None:
        """Answer at once and close. The answer is not encrypted, so over TLS there is none."""
        if self._tls is not None:
            accepted.close()
            return
        with suppress(OSError):
            accepted.send(self._refusal())
            accepted.shutdown(socket.SHUT_WR)
        if len(self._lingering) >= LINGERING:
            accepted.close()
            return
        self._lingering[accepted] = self._loop.call_later(LINGER_S, self._end_linger, accepted)

    def _end_linger(self, accepted: socket.socket) -> None:
        self._lingering.pop(accepted).cancel()
        accepted.close()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
