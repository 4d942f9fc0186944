"""Ends requests that wait when their client disconnects or their API key is revoked.

Keys are checked once for all requests that wait with them, not once per request.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.http.authentication import Authenticator, Caller
from twelvefold.web.http.errors import ApiError

log = get_logger(__name__)
_REVOKED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(slots=True)
class _WatchedKey:
    """A key and the requests that wait; headers and address are those of one of them."""

    headers: Headers
    client: str
    requests: set["asyncio.Future[ApiError]"] = field(default_factory=set)


class KeyWatch:
    """Checks the keys of waiting requests every `poll_s` seconds.

    The authenticator caches a key for at most two seconds, so a revoked key is noticed after two
    seconds plus `poll_s`.
    """

    def __init__(self, authenticator: Authenticator, poll_s: float) -> None:
        self._authenticator = authenticator
        self._poll_s = poll_s
        self._keys: dict[str, _WatchedKey] = {}
        self._is_needed = asyncio.Event()

    async def wait_until_revoked(self, request: Request) -> ApiError:
        """Return the error response of the request when its key is revoked."""
        caller: Caller = request.scope["state"]["caller"]
        client = request.client.host if request.client else ""
        watched = self._keys.setdefault(caller.key, _WatchedKey(request.headers, client))
        revoked: asyncio.Future[ApiError] = asyncio.get_running_loop().create_future()
        watched.requests.add(revoked)
        self._is_needed.set()
        try:
            return await revoked
        finally:
            watched.requests.discard(revoked)
            if not watched.requests:
                self._keys.pop(caller.key, None)

    async def poll(self) -> None:
        """Check the keys until cancelled. Does nothing while no request waits."""
        while True:
            if not self._keys:
                self._is_needed.clear()
                await self._is_needed.wait()
            await asyncio.gather(*(self._check(watched) for watched in [*self._keys.values()]))
            await asyncio.sleep(self._poll_s)

    async def _check(self, watched: _WatchedKey) -> None:
        try:
            await self._authenticator.authenticate(watched.headers, watched.client)
        except ApiError as error:
            if error.status in _REVOKED:
                _end_requests(watched, error)
        except ServiceFault as error:
            # The database is unavailable. The readers of runs end by themselves then.
            log.warning("key_not_checked", error=error)
        except Exception:
            # This is the only task that checks keys, so it must not end.
            log.exception("key_check_failed")


def _end_requests(watched: _WatchedKey, error: ApiError) -> None:
    for request in watched.requests:
        if not request.done():
            request.set_result(error)


@asynccontextmanager
async def watch_keys(authenticator: Authenticator, poll_s: float) -> AsyncIterator[KeyWatch]:
    """Yield a `KeyWatch` that polls until the end of the body."""
    watch = KeyWatch(authenticator, poll_s)
    task = asyncio.get_running_loop().create_task(watch.poll(), name="key watch")
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


class ClientWatch:
    """Watches the client of one request whose body was read."""

    def __init__(self, authenticator: Authenticator, keys: KeyWatch, request: Request) -> None:
        self._authenticator = authenticator
        self._keys = keys
        self._request = request

    async def check(self) -> None:
        """Raise ClientDisconnect if the client has disconnected, ApiError if its key is revoked."""
        if await self._request.is_disconnected():
            raise ClientDisconnect
        client = self._request.client
        await self._authenticator.authenticate(self._request.headers, client.host if client else "")

    async def ended(self) -> ApiError | None:
        """Return None when the client disconnects, or an error when its key is revoked."""
        disconnected = wait_for_disconnect(self._request.receive)
        revoked = self._keys.wait_until_revoked(self._request)
        _, revoked_task = await first_done(disconnected, revoked)
        return None if revoked_task.cancelled() else revoked_task.result()

    async def wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        """Await the work as long as the client waits for it.

        Raises ClientDisconnect if the client disconnects, ApiError if its key is revoked.
        """
        working, ended = await first_done(work, self.ended())
        if not working.cancelled():
            working.result()
            return
        if error := ended.result():
            raise error
        raise ClientDisconnect


async def first_done(*works: Coroutine[Any, Any, Any]) -> list["asyncio.Task[Any]"]:
    """Run coroutines concurrently until one is done, cancel the others, and return all tasks."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return tasks


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
