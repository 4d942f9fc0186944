"""`twelvefold web`: serves the API and the page until a signal stops it."""

import asyncio
import sys
from collections.abc import Mapping

import uvloop

from twelvefold.app.opening import open_checked_services
from twelvefold.app.service import open_service
from twelvefold.boot import open_metrics
from twelvefold.cli.command import DONE, configure
from twelvefold.cli.gc_pauses import bound_gc_pauses
from twelvefold.cli.signals import stop_on_signals
from twelvefold.config import Settings
from twelvefold.web.http.server.file_limit import raise_file_limit
from twelvefold.web.server import bind_sockets, load_tls, serve


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
            open_metrics(settings, services),
            open_service(services, settings, stop) as web,
        ):
            started()
            bound_gc_pauses()
            await serve(web, sockets, stop, tls)
    return DONE
