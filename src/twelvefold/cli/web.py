"""`twelvefold web`: serves the API and the page until a signal stops it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import uvloop

from twelvefold.boot import open_mailer
from twelvefold.cli.command import DONE, configure, open_checked_services
from twelvefold.cli.gc_pauses import bound_gc_pauses
from twelvefold.cli.signals import stop_on_signals
from twelvefold.config import Settings
from twelvefold.web.http.server.file_limit import raise_file_limit
from twelvefold.web.process import open_web
from twelvefold.web.server import bind_sockets, load_tls, serve
from twelvefold.web.state import Web

if TYPE_CHECKING:
    from twelvefold.worker.loop import Worker


def web(environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT. The log goes to standard output."""
    settings = configure(environ, stream=sys.stdout)
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_until_stopped(settings))


async def _serve_until_stopped(settings: Settings) -> int:
    stop = asyncio.Event()
    tls, sockets = load_tls(settings), bind_sockets(settings.host, settings.port)
    with stop_on_signals(stop, settings.grace_s) as started:
        async with (
            open_checked_services(settings) as services,
            open_web(services, settings) as web,
            _with_worker(web, stop) if settings.web_is_worker else nullcontext(web) as served,
        ):
            started()
            bound_gc_pauses()
            await serve(served, sockets, stop, tls)
    return DONE


@asynccontextmanager
async def _with_worker(web: Web, stop: asyncio.Event) -> AsyncIterator[Web]:
    """Run a worker in this process, for systems of one process."""
    from twelvefold.worker.loop import Worker

    async with open_mailer(web.settings) as mailer, asyncio.TaskGroup() as group:
        worker = Worker(
            web.services,
            web.settings.max_runs,
            max_run_bytes=web.settings.max_run_bytes,
            max_per_principal=web.settings.max_runs_per_principal,
            grace_s=web.settings.grace_s,
            mailer=mailer,
            listen=web.notifier.listener,
        )
        group.create_task(_run_worker(worker, web, stop))
        yield replace(web, wake=worker.wake)


async def _run_worker(worker: "Worker", web: Web, stop: asyncio.Event) -> None:
    # The worker's first run imports modules, which would delay the first requests.
    await web.serving.wait()
    await worker.run(stop)
