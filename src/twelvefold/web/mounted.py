"""The service inside another ASGI app, or on any ASGI server.

The server that carries it limits connections, disconnects clients that do not read, and knows the
addresses of proxies. Everything else is as in `twelvefold web`: the routes, the page, API keys, the
limits of requests and of bodies.
"""

import asyncio
from contextlib import suppress

from starlette.types import Receive, Scope, Send

from twelvefold.web.app import create_app
from twelvefold.web.state import Web


class MountedService:
    """The requests of an app that another server carries, while its context is open."""

    def __init__(self, web: Web) -> None:
        self._app = create_app(web)
        self._active = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._active += 1
        self._is_idle.clear()
        try:
            await self._app(at_root(scope), receive, send)
        finally:
            self._active -= 1
            if not self._active:
                self._is_idle.set()

    async def wait_until_idle(self, timeout_s: float) -> None:
        """Wait for the requests in progress, at most `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()


def at_root(scope: Scope) -> Scope:
    """Return the scope of a request as if the service were not below a path.

    The path of a request includes `root_path`, but older servers leave it out. Source: the ASGI
    specification, "HTTP connection scope". The state is new: the other app has a state of its own.
    """
    prefix, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path = path[len(prefix) :] or "/"
    return {**scope, "path": path, "root_path": "", "state": {}}
