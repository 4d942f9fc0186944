"""One HTTP/1.1 connection to the model's server. httptools parses the responses."""

import asyncio

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_MAX_OVERHEAD_BYTES = 128 << 10
"""Limit of the bytes between two pieces of a body: head, chunk sizes and trailers."""
_MAX_BUFFERED_BYTES = 128 << 10
"""The connection is not read while more of a body than this is unread."""


class ServerDisconnected(ConnectionError):
    """The server closed the connection before the end of the response."""


class InvalidHTTP(ConnectionError):
    """The server sent bytes that are not an HTTP response."""


class Connection(asyncio.Protocol):
    """Sends one request at a time and receives its response.

    `status` is 0 until the response's head is complete. The names in `headers` are in lower case;
    the first of several values counts. `closed` is done when the connection is closed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        # The same as aiohttp: servers send a newline without a carriage return, among others.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._is_paused = self._keeps_alive = False
        self.idle_since = 0.0
        self._begin()
        self.is_complete = True

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_complete = self._ends_at_eof = False
        self._pieces: list[bytes] = []
        self._buffered_bytes = self._overhead_bytes = 0

    @property
    def is_reusable(self) -> bool:
        """Whether the response is complete, and another request can follow."""
        is_idle = self.is_complete and not self._is_paused
        is_open = self._keeps_alive and not self._transport.is_closing()
        return is_idle and is_open and not self._transport.get_write_buffer_size()

    def send(self, request: bytes) -> None:
        self._begin()
        self._transport.write(request)

    async def receive_head(self) -> None:
        """Wait until `status` and `headers` are those of the response. Raises OSError."""
        while not self.status:
            await self._receive()

    async def read(self) -> bytes:
        """Return the body received since the last call, b"" at its end. Raises OSError."""
        while not self._pieces:
            if self.is_complete:
                return b""
            await self._receive()
        pieces, self._pieces, self._buffered_bytes = self._pieces, [], 0
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Close the connection without waiting for the server."""
        self._transport.abort()

    async def _receive(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, problem: str) -> None:
        self._error = self._error or InvalidHTTP(problem)
        self._transport.abort()

    # asyncio calls the following methods.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport.
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.is_complete:
            self._fail("data without a request")
            return
        self._overhead_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(f"invalid HTTP: {error}")
        if self._overhead_bytes > _MAX_OVERHEAD_BYTES:
            self._fail(f"more than {_MAX_OVERHEAD_BYTES} bytes of headers")
        if self._buffered_bytes > _MAX_BUFFERED_BYTES and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._error is None and self._ends_at_eof:
            self.is_complete = True
        closed = "the server closed the connection"
        self._error = self._error or exc or ServerDisconnected(closed)
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()

    # httptools calls the following methods.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise InvalidHTTP("data after the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # otherwise it is a trailer
            key = name.decode("latin-1").lower()
            self.headers.setdefault(key, value.decode("utf-8", "surrogateescape"))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.headers = {}  # another response follows
            return
        self.status = status
        is_chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._ends_at_eof = not is_chunked and "content-length" not in self.headers

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._buffered_bytes += len(piece)
        self._overhead_bytes = 0

    def on_message_complete(self) -> None:
        if self.status:
            self.is_complete = True
            self._keeps_alive = self._parser.should_keep_alive()
