"""`twelvefold worker`: drives background runs and sends mail until a signal stops it."""

import asyncio
import sys
from collections.abc import Mapping

import uvloop

from twelvefold.app.heartbeat import heartbeats
from twelvefold.app.opening import open_checked_services
from twelvefold.boot import open_mailer, open_metrics
from twelvefold.cli.command import DONE, configure
from twelvefold.cli.gc_pauses import bound_gc_pauses
from twelvefold.cli.signals import stop_on_signals
from twelvefold.config import Settings
from twelvefold.worker.process import make_worker


def worker(environ: Mapping[str, str], *, until_idle: bool) -> int:
    """Work until SIGTERM or SIGINT, or until idle. The log goes to standard output."""
    settings = configure(environ, stream=sys.stdout)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work_until_stopped(settings, until_idle=until_idle))


async def _work_until_stopped(settings: Settings, *, until_idle: bool) -> int:
    stop = asyncio.Event()
    with stop_on_signals(stop, settings.grace_s) as started:
        async with (
            open_checked_services(settings) as services,
            open_metrics(settings, services),
            open_mailer(settings) as mailer,
        ):
            started()
            bound_gc_pauses()
            worker = make_worker(services, settings, mailer, until_idle=until_idle)
            async with heartbeats(services, "worker", lambda: worker.in_flight):
                await worker.run(stop)
    return DONE
