"""`twelvefold web`: the API and the page, until a signal ends it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import uvloop

from twelvefold.boot import open_mailer
from twelvefold.cli.command import DONE, begin, ready_services
from twelvefold.cli.gc_pauses import bound_gc_pauses
from twelvefold.cli.signals import signals_to
from twelvefold.config import Settings
from twelvefold.web.http.server.file_limit import raise_file_limit
from twelvefold.web.process import open_web
from twelvefold.web.server import bound, serve, tls_of
from twelvefold.web.state import Web

if TYPE_CHECKING:
    from twelvefold.worker.loop import Worker


def web(environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; its log is its output."""
    settings = begin(environ, stream=sys.stdout)
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_web(settings))


async def _web(settings: Settings) -> int:
    stop = asyncio.Event()
    tls, sockets = tls_of(settings), bound(settings.host, settings.port)
    with signals_to(stop, settings.grace_s) as started:
        async with (
            ready_services(settings) as services,
            open_web(services, settings) as opened,
            _with_worker(opened, stop) if settings.web_is_worker else nullcontext(opened) as whole,
        ):
            started()
            bound_gc_pauses()
            await serve(whole, sockets, stop, tls)
    return DONE


async def _work(worker: "Worker", web: Web, stop: asyncio.Event) -> None:
    # What runs need is imported then, which must not keep the first requests waiting.
    await web.serving.wait()
    await worker.run(stop)


@asynccontextmanager
async def _with_worker(web: Web, stop: asyncio.Event) -> AsyncIterator[Web]:
    """A worker beside the web, for set-ups where one process is the whole system."""
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
        group.create_task(_work(worker, web, stop))
        yield replace(web, wake=worker.wake)
