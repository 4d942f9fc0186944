"""The service as an ASGI app: opened and closed with the app, or by a server's lifespan."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from twelvefold.app.service import open_service
from twelvefold.config import Settings
from twelvefold.engine import ExitLimit, Services
from twelvefold.web.mounted import MountedService
from twelvefold.web.process import drain

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


@asynccontextmanager
async def open_mounted(services: Services, settings: Settings) -> AsyncIterator["ASGIApp"]:
    """Open the service for another server. Raises SettingsError as `open_service` does.

    At the end the requests in progress and their runs may take GRACE_S to the end of their step.
    """
    # Draining the service begins a limit, which does not end the other runs of the app.
    opened, stop = services, asyncio.Event()
    services = replace(opened, exit_limit=ExitLimit())
    services.gate.follow(opened.gate)
    async with open_service(services, settings, stop) as web, asyncio.TaskGroup() as group:
        mounted = MountedService(web)
        web.serving.set()
        preparation = group.create_task(web.executor.prepare(after=web.serving))
        try:
            yield mounted
        finally:
            preparation.cancel()
            stop.set()
            await drain(web)
            await mounted.wait_until_idle(settings.grace_s)


class AppASGI:
    """An ASGI app that serves what `opened` returns, and opens and closes it in a lifespan.

    A server that runs the lifespan of this app opens it. Inside another app no lifespan arrives:
    then the other app opens and closes it.
    """

    def __init__(
        self,
        opened: "Callable[[], Awaitable[ASGIApp]]",
        open: Callable[[], Awaitable[Callable[[], Awaitable[None]]]],
    ) -> None:
        """`open` opens the app unless it is open, and returns a function that closes it again."""
        self._opened = opened
        self._open = open

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            service = await self._opened()
            await service(scope, receive, send)

    async def _live(self, receive: "Receive", send: "Send") -> None:
        await receive()
        try:
            close = await self._open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await close()
        await send({"type": "lifespan.shutdown.complete"})
