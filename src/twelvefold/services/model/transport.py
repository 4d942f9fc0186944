"""How a request gets to the model's server: HTTP by aiohttp, or anything that obeys `Transport`.

Knows connections and nothing of what is said over them. aiohttp takes a fifth of a second of CPU
to import, so that is done by `prepare`, or else with the first request.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.wire import TryAgain

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

    def __init__(self, base_url: str, api_key: str, *, connect_timeout_s: float) -> None:
        url = urlsplit(base_url)
        self.name = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._connect_timeout_s = connect_timeout_s
        self._session: ClientSession | None = None

    def prepare(self) -> None:
        """Import aiohttp, which makes its TLS contexts then."""
        import aiohttp  # noqa: F401 - for its import

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator["HttpAnswer"]:
        response = await self._send(self._base_url + path, body, headers)
        try:
            yield HttpAnswer(response)
            await _drain(response)
        finally:
            # A connection whose answer was not read to its end is closed, not kept.
            response.release()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> "ClientResponse":
        import aiohttp

        session = self._session or self._open()
        try:
            return await session.post(url, data=body, headers=headers, allow_redirects=False)
        except (ValueError, aiohttp.NonHttpUrlClientError):
            problem = f"OPENAI_BASE_URL {self.name!r} or OPENAI_API_KEY cannot be sent as it is"
            raise ModelUnavailable(problem) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(_reason(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Dropped(f"the connection was dropped: {_reason(error)}") from None

    def _open(self) -> "ClientSession":
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        headers = {
            "Accept": "text/event-stream",
            # A proxy that compresses also waits until it has something to compress.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "twelvefold",
        }
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        self._session = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            cookie_jar=DummyCookieJar(),
            headers=headers,
            timeout=ClientTimeout(total=None, connect=self._connect_timeout_s),
        )
        return self._session


class Unreachable(TryAgain):
    """No connection came about; that seldom changes within seconds."""


class Dropped(TryAgain):
    """The connection ended before an answer began, as one does that was kept for too long."""


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
            raise TryAgain(f"the connection broke in mid-reply: {_reason(error)}") from None


async def _drain(response: "ClientResponse") -> None:
    """Read the last bytes behind a whole reply, so that the connection can be used again."""
    if response.content.at_eof():
        return
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_S):
            await response.content.read()


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)
    if number and number > 0:
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
