"""Whether the client of a request still waits for the answer, and still may have it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from twelvefold.web.http.authentication import Authenticator
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.key_watch import KeyWatch


class ClientWatch:
    """Watches the client of one request, whose body was read."""

    def __init__(self, authenticator: Authenticator, keys: KeyWatch, request: Request) -> None:
        self._authenticator = authenticator
        self._keys = keys
        self._request = request

    async def check(self) -> None:
        """Raise ClientDisconnect if the client has left, ApiError if its key was revoked."""
        if await self._request.is_disconnected():
            raise ClientDisconnect
        client = self._request.client
        await self._authenticator.caller(self._request.headers, client.host if client else "")

    async def ended(self) -> ApiError | None:
        """Return when the client leaves, or with the reason why it may have no answer any more."""
        disconnected = disconnect(self._request.receive)
        _, revoked = await first_done(disconnected, self._keys.revoked(self._request))
        return None if revoked.cancelled() else revoked.result()

    async def wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work as long as the client waits for it.

        Raises ClientDisconnect once the client has left, ApiError once its key was revoked.
        """
        working, ended = await first_done(work, self.ended())
        if not working.cancelled():
            working.result()
            return
        if refusal := ended.result():
            raise refusal
        raise ClientDisconnect


async def first_done(*works: Coroutine[Any, Any, Any]) -> list["asyncio.Task[Any]"]:
    """Do several things side by side until one is done; the others are cancelled then."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return tasks


async def disconnect(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
