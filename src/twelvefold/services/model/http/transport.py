"""Transports of a request to the model's server: the `Transport` protocol, and HTTP."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

from twelvefold.secret_file import SecretFile
from twelvefold.services.model.http.connection_errors import invalid_address
from twelvefold.services.model.http.direct import DirectTransport
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.http.proxied import ProxiedTransport


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
    """Sends requests to one server over pooled connections, directly or through a proxy."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._chosen: DirectTransport | ProxiedTransport | None = None

    def prepare(self) -> None:
        """Load the trusted certificates, or import the client for proxies.

        Raises ModelUnavailable if a setting is invalid.
        """
        self._choose().prepare()

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Response]:
        """Implement `Transport.post`."""
        return self._request("POST", path, body, headers)

    def get(self, path: str) -> AbstractAsyncContextManager[Response]:
        """Send a GET request to a path below the base URL. Raises the same errors as `post`."""
        return self._request("GET", path, None, {"accept": "application/json"})

    async def close(self) -> None:
        if self._chosen is not None:
            await self._chosen.close()

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Response]:
        request = partial(self._choose().request, method, path, body, headers)
        key = self._endpoint.api_key
        return request() if isinstance(key, str) else _request_with_file(key, request)

    def _choose(self) -> DirectTransport | ProxiedTransport:
        if self._chosen is None:
            transport = ProxiedTransport if self._has_proxy() else DirectTransport
            self._chosen = transport(self._endpoint, connect_timeout_s=self._connect_timeout_s)
        return self._chosen

    def _has_proxy(self) -> bool:
        try:
            return self._endpoint.proxy is not None
        except ValueError:
            raise invalid_address(self._endpoint) from None


@asynccontextmanager
async def _request_with_file(
    key: SecretFile, request: Callable[[], AbstractAsyncContextManager[Response]]
) -> AsyncIterator[Response]:
    """Send a request; once more if the server refuses the key and its file has another one."""
    used, tried_at = key.value(), time.monotonic()
    async with request() as response:
        if response.status not in (401, 403) or not key.is_replaced(used, tried_at):
            yield response
            return
    async with request() as response:
        yield response
