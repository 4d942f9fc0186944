"""How a request gets to the model's server: HTTP by aiohttp, or anything that obeys `Transport`.

Knows connections and nothing of what is said over them. aiohttp takes a fifth of a second of CPU
to import, so that is done by `prepare`, or else with the first request.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.http.connection_errors import (
    Dropped,
    Unreachable,
    no_proxy,
    no_tls,
    reason_of,
    refused_by_proxy,
    trusting,
    untrusted,
)
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.openai.wire import TryAgain

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_DRAIN_S = 0.2
_KEEP_ALIVE_S = 60.0


class Answer(Protocol):
    """An answer whose body is still coming in. Ask for `headers` in lower case."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    async def read(self) -> bytes:
        """What has come in of the body since, nothing at its end. Raises TryAgain if it is cut."""
        ...


class Transport(Protocol):
    """The way to one server. `name` is its address, as an operator may read it."""

    @property
    def name(self) -> str: ...

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Answer]:
        """Send JSON below the base URL; leaving the context early closes the connection.

        Raises TryAgain if the server cannot be reached or drops the connection.
        """
        ...

    async def close(self) -> None: ...


class HttpTransport:
    """Connections to one server, opened as they are needed and kept for the next request."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._session: ClientSession | None = None

    def prepare(self) -> None:
        """Import aiohttp, which makes its TLS contexts then."""
        import aiohttp  # noqa: F401 - for its import

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager["HttpAnswer"]:
        """As `Transport` says."""
        return self._answer("POST", path, body, headers)

    def get(self, path: str) -> AbstractAsyncContextManager["HttpAnswer"]:
        """Ask for what is at a path below the base URL; raises as `post` does."""
        return self._answer("GET", path, None, {"accept": "application/json"})

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator["HttpAnswer"]:
        response = await self._send(method, self._endpoint.url(path), body, headers)
        try:
            yield HttpAnswer(response)
            await _drain(response)
        finally:
            # A connection whose answer was not read to its end is closed, not kept.
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
        # A certificate error is a ValueError, too.
        except aiohttp.ClientConnectorCertificateError as error:
            raise untrusted(self._endpoint, error) from None
        except (ValueError, aiohttp.NonHttpUrlClientError):
            problem = f"OPENAI_BASE_URL {self.name!r} or OPENAI_API_KEY cannot be sent as it is"
            raise ModelUnavailable(problem).loggable() from None
        except aiohttp.ClientHttpProxyError as error:
            raise refused_by_proxy(self._endpoint, error) from None
        except aiohttp.ClientProxyConnectionError as error:
            raise no_proxy(self._endpoint, error) from None
        except aiohttp.ClientConnectorSSLError as error:
            raise no_tls(error) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(reason_of(error) + self._through()).loggable() from None
        except (aiohttp.ClientError, OSError) as error:
            logged = f"the connection was dropped: {type(error).__name__}{self._through()}"
            problem = f"the connection was dropped: {reason_of(error)}{self._through()}"
            raise Dropped(problem).loggable(logged) from None

    def _through(self) -> str:
        name = self._endpoint.proxy_name
        return f" (through the proxy {name})" if name else ""

    def _open(self) -> "ClientSession":
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        self._session = ClientSession(
            connector=TCPConnector(
                limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=trusting(self._endpoint.ca_file)
            ),
            cookie_jar=DummyCookieJar(),
            headers=self._endpoint.request_headers(),
            timeout=ClientTimeout(total=None, connect=self._connect_timeout_s),
        )
        return self._session


class HttpAnswer:
    """aiohttp's answer."""

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
            logged = f"the connection broke in mid-reply: {type(error).__name__}"
            problem = f"the connection broke in mid-reply: {reason_of(error)}"
            raise TryAgain(problem).loggable(logged) from None


async def _drain(response: "ClientResponse") -> None:
    """Read the last bytes behind a whole reply, so that the connection can be used again."""
    if response.content.at_eof():
        return
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_S):
            await response.content.read()
