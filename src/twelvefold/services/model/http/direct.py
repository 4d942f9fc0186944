"""Requests to the model's server over direct connections."""

import asyncio
import encodings.idna  # noqa: F401 - the first encoding of a host name would import it
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote, urlsplit

from twelvefold.observe.trace_context import current_traceparent
from twelvefold.services.model.http.connection import Connection
from twelvefold.services.model.http.connection_errors import (
    ServerUnreachable,
    certificate_error,
    connection_dropped,
    describe_error,
    invalid_address,
    reply_broken,
    tls_context,
    tls_error,
)
from twelvefold.services.model.http.content_encoding import decompressor
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.http.pool import ConnectionPool

_DRAIN_TIMEOUT_S = 0.2
_SAFE_IN_URL = "/?:@!$&'()*+,;=~%[]"
_BREAKS_HEADER = re.compile("[\r\n\0]").search


class DirectTransport:
    """Sends requests to one server over pooled connections."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float) -> None:
        self._endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._tls: ssl.SSLContext | None = None
        self._pool: ConnectionPool | None = None
        self._heads: dict[tuple[object, ...], bytes] = {}
        self._heads_key = ""

    def prepare(self) -> None:
        """Load the trusted certificates. Raises ModelUnavailable if their file cannot be used."""
        if self._tls is None and urlsplit(self._endpoint.base_url).scheme == "https":
            self._tls = tls_context(self._endpoint.ca_file)

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator["DirectResponse"]:
        """Send a request to a path below the base URL."""
        try:
            head = _with_trace(self._head(method, path, headers))
            pool = self._pool or self._open()
        except ValueError:
            raise invalid_address(self._endpoint) from None
        connection = pool.take_idle() or await self._connect(pool)
        try:
            await _exchange(pool, connection, _with_body(head, body))
            yield DirectResponse(connection)
            await _drain(connection)
        finally:
            pool.release(connection)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        # Encoding a head costs more than the rest of a request, and few different ones are sent.
        if (api_key := self._endpoint.key) != self._heads_key:
            self._heads, self._heads_key = {}, api_key
        key = (method, path, *headers.items())
        if key not in self._heads:
            self._heads[key] = encode_head(method, self._endpoint, path, headers)
        return self._heads[key]

    def _open(self) -> ConnectionPool:
        self.prepare()
        parts = urlsplit(self._endpoint.base_url)
        port = parts.port or (443 if self._tls else 80)
        self._pool = ConnectionPool(parts.hostname or "", port, self._tls)
        return self._pool

    async def _connect(self, pool: ConnectionPool) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await pool.connect()
        except ssl.SSLCertVerificationError as error:
            raise certificate_error(self._endpoint, error) from None
        except ssl.SSLError as error:
            raise tls_error(error) from None
        except TimeoutError:
            problem = f"no connection in {self._connect_timeout_s:g} s"
            raise ServerUnreachable(problem).loggable() from None
        except OSError as error:
            raise ServerUnreachable(describe_error(error)).loggable() from None


class DirectResponse:
    """A response over a connection of the pool."""

    def __init__(self, connection: Connection) -> None:
        self.status = connection.status
        self.headers = connection.headers
        self._read = connection.read
        encoding = self.headers.get("content-encoding")
        self._decompressor = decompressor(encoding) if encoding else None

    async def read(self) -> bytes:
        try:
            if self._decompressor is None:
                return await self._read()
            return await self._decompressor.read(self._read)
        except OSError as error:
            raise reply_broken(error) from None


def encode_head(method: str, endpoint: Endpoint, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the request line and the headers. Raises ValueError if the URL or a header is invalid.

    Characters that a URL must not contain are percent-encoded. Encoded ones stay as they are.
    """
    parts = urlsplit(endpoint.url(path))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"no address of a server: {endpoint.name}")
    target = quote(parts._replace(scheme="", netloc="", fragment="").geturl(), _SAFE_IN_URL)
    host = parts.netloc.rpartition("@")[2].encode("idna").decode()
    sent = {"host": host, **endpoint.request_headers(), **headers}
    lines = [f"{name}: {value}" for name, value in sent.items()]
    if any(map(_BREAKS_HEADER, lines)):
        raise ValueError("a line break in a header")
    return "\r\n".join((f"{method} {target} HTTP/1.1", *lines, "")).encode()


def _with_trace(head: bytes) -> bytes:
    """Return the head with the span that the request belongs to; each request has another."""
    traceparent = current_traceparent()
    return b"%straceparent: %s\r\n" % (head, traceparent.encode()) if traceparent else head


def _with_body(head: bytes, body: bytes | None) -> bytes:
    if body is None:
        return head + b"\r\n"
    return b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)


async def _exchange(pool: ConnectionPool, connection: Connection, request: bytes) -> None:
    """Send a request and receive the head of its response. Raises ConnectionDropped."""
    try:
        connection.send(request)
        await connection.receive_head()
    except OSError as error:
        # The server may have closed the idle connections as well.
        pool.close_idle()
        raise connection_dropped(error) from None


async def _drain(connection: Connection) -> None:
    """Read the last bytes after a complete reply, so that the connection can be reused."""
    if not connection.is_complete:
        with suppress(OSError):
            async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                while await connection.read():
                    pass
