"""Requests to the model's server through a proxy, by aiohttp.

The import of aiohttp takes a fifth of a second of CPU. `prepare` imports it, otherwise the first
request does.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from twelvefold.observe.trace_context import current_traceparent
from twelvefold.services.model.http.connection_errors import (
    ServerUnreachable,
    certificate_error,
    connection_dropped,
    describe_error,
    invalid_address,
    proxy_connection_error,
    proxy_refusal_error,
    reply_broken,
    tls_context,
    tls_error,
)
from twelvefold.services.model.http.endpoint import Endpoint

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_DRAIN_TIMEOUT_S = 0.2
_KEEP_ALIVE_S = 60.0


class ProxiedTransport:
    """Sends requests to one server over pooled connections of one proxy."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float) -> None:
        self._endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._session: ClientSession | None = None

    def prepare(self) -> None:
        """Import aiohttp, which creates its TLS contexts on import."""
        import aiohttp  # noqa: F401 - imported early

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator["ProxiedResponse"]:
        """Send a request to a path below the base URL."""
        sent = {**self._endpoint.request_headers(), **headers}
        response = await self._send(method, self._endpoint.url(path), body, sent)
        try:
            yield ProxiedResponse(response)
            await _drain(response)
        finally:
            # Closes the connection if the response was not read to its end.
            response.release()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> "ClientResponse":
        import aiohttp

        session = self._session or self._open()
        if traceparent := current_traceparent():
            headers = {**headers, "traceparent": traceparent}
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
            raise invalid_address(self._endpoint) from None
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
            raise connection_dropped(error, self._proxy_suffix()) from None

    def _proxy_suffix(self) -> str:
        return f" (through the proxy {self._endpoint.proxy_name})"

    def _open(self) -> "ClientSession":
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        self._session = ClientSession(
            connector=TCPConnector(
                limit=0,
                keepalive_timeout=_KEEP_ALIVE_S,
                ssl=tls_context(self._endpoint.ca_file),
            ),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, connect=self._connect_timeout_s),
        )
        return self._session


class ProxiedResponse:
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
            raise reply_broken(error) from None


async def _drain(response: "ClientResponse") -> None:
    """Read the last bytes after a complete reply, so that the connection can be reused."""
    if response.content.at_eof():
        return
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            await response.content.read()
