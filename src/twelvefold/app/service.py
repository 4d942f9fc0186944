"""The HTTP service of a process: what its requests share, and its worker if it has one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from twelvefold.app.heartbeat import heartbeats
from twelvefold.boot import open_mailer
from twelvefold.config import Settings
from twelvefold.engine import Services
from twelvefold.web.process import open_web
from twelvefold.web.state import Web

if TYPE_CHECKING:
    from twelvefold.worker.loop import Worker


@asynccontextmanager
async def open_service(
    services: Services, settings: Settings, stop: asyncio.Event
) -> AsyncIterator[Web]:
    """Open what requests need, and a worker if the settings want one here.

    The worker starts when `Web.serving` is set, and stops when `stop` is. Raises SettingsError if
    the API would be open to everyone.
    """
    async with open_web(services, settings) as web:
        if not settings.web_is_worker:
            async with heartbeats(services, "web", lambda: web.executor.in_flight):
                yield web
            return
        async with _with_worker(web, stop) as served:
            yield served


@asynccontextmanager
async def _with_worker(web: Web, stop: asyncio.Event) -> AsyncIterator[Web]:
    """Run a worker in this process, for systems of one process."""
    from twelvefold.worker.process import make_worker

    async with open_mailer(web.settings) as mailer, asyncio.TaskGroup() as group:
        worker = make_worker(web.services, web.settings, mailer, listen=web.notifier.listener)
        group.create_task(_run_worker(worker, web, stop))
        async with heartbeats(
            web.services, "web", lambda: web.executor.in_flight + worker.in_flight
        ):
            yield replace(web, wake=worker.wake)


async def _run_worker(worker: "Worker", web: Web, stop: asyncio.Event) -> None:
    # The worker's first run imports modules, which would delay the first requests.
    await web.serving.wait()
    await worker.run(stop)
