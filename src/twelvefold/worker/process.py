"""The worker of one process, from its settings."""

from collections.abc import Callable

from twelvefold.config import Settings
from twelvefold.core import Listener, Mailer, NullListener, RunId
from twelvefold.engine import Services
from twelvefold.worker.loop import Worker


def make_worker(
    services: Services,
    settings: Settings,
    mailer: Mailer | None,
    *,
    listen: Callable[[RunId], Listener] = lambda run: NullListener(),
    until_idle: bool = False,
) -> Worker:
    """Return a worker with the limits of the settings; the arguments are those of `Worker`."""
    return Worker(
        services,
        settings.max_runs,
        max_run_bytes=settings.max_run_bytes,
        max_per_principal=settings.max_runs_per_principal,
        grace_s=settings.grace_s,
        mailer=mailer,
        listen=listen,
        until_idle=until_idle,
    )
