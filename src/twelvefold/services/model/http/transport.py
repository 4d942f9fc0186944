"""Transports of a request to the model's server: the `Transport` protocol, and HTTP by aiohttp.

The import of aiohttp takes a fifth of a second of CPU. `prepare` imports it, otherwise the first
request does.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.http.connection_errors import (
    ConnectionDropped,
    ServerUnreachable,
    certificate_error,
    certificate_verification,
    describe_error,
    proxy_connection_error,
    proxy_refusal_error,
    tls_error,
)
from twelvefold.services.model.http.endpoint import Endpoint

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_DRAIN_TIMEOUT_S = 0.2
_KEEP_ALIVE_S = 60.0


class Response(Protocol):
    """A response whose body is being received. The names in `headers` are in lower case."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    async def read(self) -> bytes:
        """Return the next piece of the body, b"" at its end.

        Raises RetryableError if the connection breaks.
        """
        ...


class Transport(Protocol):
    """Sends requests to one server. `name` is its address, without secrets."""

    @property
    def name(self) -> str: ...

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Response]:
        """Send JSON to a path below the base URL. Leaving the context early closes the connection.

        Raises RetryableError if the server cannot be reached or drops the connection.
        """
        ...

    async def close(self) -> None: ...


class HTTPTransport:
    """Sends requests to one server over pooled connections."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._session: ClientSession | None = None

    def prepare(self) -> None:
        """Import aiohttp, which creates its TLS contexts on import."""
        import aiohttp  # noqa: F401 - imported early

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager["HTTPResponse"]:
        """Implement `Transport.post`."""
        return self._request("POST", path, body, headers)

    def get(self, path: str) -> AbstractAsyncContextManager["HTTPResponse"]:
        """Send a GET request to a path below the base URL. Raises the same errors as `post`."""
        return self._request("GET", path, None, {"accept": "application/json"})

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator["HTTPResponse"]:
        response = await self._send(method, self._endpoint.url(path), body, headers)
        try:
            yield HTTPResponse(response)
            await _drain(response)
        finally:
            # Closes the connection if the response was not read to its end.
            response.release()

    async def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> "ClientResponse":
        import aiohttp

        session = self._session or self._open()
        try:
            return await session.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                proxy=self._endpoint.proxy,
            )
        # Before ValueError, because a certificate error is one.
        except aiohttp.ClientConnectorCertificateError as error:
            raise certificate_error(self._endpoint, error) from None
        except (ValueError, aiohttp.NonHttpUrlClientError):
            problem = f"OPENAI_BASE_URL {self.name!r} or OPENAI_API_KEY has invalid characters"
            raise ModelUnavailable(problem).loggable() from None
        except aiohttp.ClientHttpProxyError as error:
            raise proxy_refusal_error(self._endpoint, error) from None
        except aiohttp.ClientProxyConnectionError as error:
            raise proxy_connection_error(self._endpoint, error) from None
        except aiohttp.ClientConnectorSSLError as error:
            raise tls_error(error) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ServerUnreachable(
                describe_error(error) + self._proxy_suffix()
            ).loggable() from None
        except (aiohttp.ClientError, OSError) as error:
            logged = f"the connection was dropped: {type(error).__name__}{self._proxy_suffix()}"
            problem = f"the connection was dropped: {describe_error(error)}{self._proxy_suffix()}"
            raise ConnectionDropped(problem).loggable(logged) from None

    def _proxy_suffix(self) -> str:
        name = self._endpoint.proxy_name
        return f" (through the proxy {name})" if name else ""

    def _open(self) -> "ClientSession":
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        self._session = ClientSession(
            connector=TCPConnector(
                limit=0,
                keepalive_timeout=_KEEP_ALIVE_S,
                ssl=certificate_verification(self._endpoint.ca_file),
            ),
            cookie_jar=DummyCookieJar(),
            headers=self._endpoint.request_headers(),
            timeout=ClientTimeout(total=None, connect=self._connect_timeout_s),
        )
        return self._session


class HTTPResponse:
    """A response of aiohttp."""

    def __init__(self, response: "ClientResponse") -> None:
        from aiohttp import ClientError

        self._faults = (ClientError, OSError)
        self._response = response
        self.status = response.status
        self.headers = response.headers

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except self._faults as error:
            logged = f"the connection broke during the reply: {type(error).__name__}"
            problem = f"the connection broke during the reply: {describe_error(error)}"
            raise RetryableError(problem).loggable(logged) from None


async def _drain(response: "ClientResponse") -> None:
    """Read the last bytes after a complete reply, so that the connection can be reused."""
    if response.content.at_eof():
        return
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            await response.content.read()
