"""The objects that the requests of one web process share, from its start to its drain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twelvefold.boot import SCHEMA
from twelvefold.config import Settings
from twelvefold.engine import LoopShares, MemoryBudget, Services
from twelvefold.observe.log import get_logger
from twelvefold.web.http import AdmissionControl, Authenticator, RateLimiter, watch_keys
from twelvefold.web.probes import Readiness
from twelvefold.web.runs.executor import RunExecutor
from twelvefold.web.runs.queue_limit import QueueLimiter
from twelvefold.web.state import WAITS, Waits, Web
from twelvefold.web.streaming.reader import RunNotifier, poll_journal

log = get_logger(__name__)


@asynccontextmanager
async def open_web(
    services: Services, settings: Settings, waits: Waits = WAITS
) -> AsyncIterator[Web]:
    """Open all that the app needs. Raises SettingsError if the API would be open to everyone."""
    authenticator, notifier = (
        await Authenticator.create(services.store, settings),
        RunNotifier(waits),
    )
    per_key, per_principal = settings.rate_per_minute, settings.rate_per_minute_per_principal
    rate = RateLimiter(services.store, per_key, per_principal)
    memory, shares = MemoryBudget(settings.max_run_bytes), LoopShares(settings.max_loop_share)
    slots = settings.max_runs, settings.max_runs_per_principal
    async with (
        RunExecutor(services, *slots, memory=memory, shares=shares) as executor,
        poll_journal(services.store, notifier),
        watch_keys(authenticator, waits.key_poll_s) as keys,
        rate.returning(),
    ):
        yield Web(
            services=services,
            settings=settings,
            authenticator=authenticator,
            executor=executor,
            queue=_queue_limiter(services, settings),
            notifier=notifier,
            rate=rate,
            admission=AdmissionControl(settings.max_concurrent_requests, shares),
            readiness=Readiness(services.store, SCHEMA),
            keys=keys,
            waits=waits,
        )


def _queue_limiter(services: Services, settings: Settings) -> QueueLimiter:
    most, most_per_principal = settings.max_queued, settings.max_queued_per_principal
    return QueueLimiter(services.store, services.workflows, most, most_per_principal)


async def drain(web: Web) -> None:
    """Let requests and runs end their current step within GRACE_S; then give the runs back."""
    grace_s = web.settings.grace_s
    log.info("web_stopping", runs=web.executor.in_flight, grace_s=grace_s)
    web.draining.set()
    web.notifier.notify_all()
    # Also for requests, which may wait for a database that does not answer.
    web.services.exit_limit.begin(grace_s)
    await web.executor.drain(grace_s)
