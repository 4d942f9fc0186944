"""Ends the long requests of an API key that is revoked: one look per key, not one per request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import Request

from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.http.authentication import Authenticator, Caller
from twelvefold.web.http.errors import ApiError

log = get_logger(__name__)
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(slots=True)
class _Watched:
    """One key and its requests that wait; `headers` and the address are those of one of them."""

    headers: Headers
    client: str
    requests: set["asyncio.Future[ApiError]"] = field(default_factory=set)


class KeyWatch:
    """Checks every `poll_s` seconds the keys of requests that wait, by way of `Authenticator`.

    `Authenticator` caches a key for at most two seconds and reads it once for all requests. So a
    revoked key is noticed after these two seconds plus `poll_s`.
    """

    def __init__(self, authenticator: Authenticator, poll_s: float) -> None:
        self._doors = authenticator
        self._poll_s = poll_s
        self._watched: dict[str, _Watched] = {}
        self._is_needed = asyncio.Event()

    async def revoked(self, request: Request) -> ApiError:
        """Return the refusal when the request's key is revoked."""
        caller: Caller = request.scope["state"]["caller"]
        client = request.client.host if request.client else ""
        watched = self._watched.setdefault(caller.key, _Watched(request.headers, client))
        refusal: asyncio.Future[ApiError] = asyncio.get_running_loop().create_future()
        watched.requests.add(refusal)
        self._is_needed.set()
        try:
            return await refusal
        finally:
            watched.requests.discard(refusal)
            if not watched.requests:
                self._watched.pop(caller.key, None)

    async def poll(self) -> None:
        """Check the keys for ever; nothing is checked while no request waits."""
        while True:
            if not self._watched:
                self._is_needed.clear()
                await self._is_needed.wait()
            await asyncio.gather(*(self._check(one) for one in [*self._watched.values()]))
            await asyncio.sleep(self._poll_s)

    async def _check(self, watched: _Watched) -> None:
        try:
            await self._doors.caller(watched.headers, watched.client)
        except ApiError as error:
            if error.status in _REFUSED:
                _end(watched, error)
        except ServiceFault as error:
            # Without its database the process cannot tell; a reader ends by itself then.
            log.warning("key_not_checked", error=error)
        except Exception:
            # No other task would check the keys any more.
            log.exception("key_check_failed")


def _end(watched: _Watched, refusal: ApiError) -> None:
    for request in watched.requests:
        if not request.done():
            request.set_result(refusal)


@asynccontextmanager
async def watching_keys(authenticator: Authenticator, poll_s: float) -> AsyncIterator[KeyWatch]:
    """A `KeyWatch` that polls as long as the body runs."""
    watch = KeyWatch(authenticator, poll_s)
    task = asyncio.get_running_loop().create_task(watch.poll(), name="key watch")
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])
