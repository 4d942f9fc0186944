"""Measures the process and serves `/metrics`, if the settings say so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from twelvefold.boot.models import model_names, prices_of
from twelvefold.config import Settings
from twelvefold.core import DEFAULT_MODEL
from twelvefold.engine import Services
from twelvefold.services.model.prices import price_of

if TYPE_CHECKING:
    from twelvefold.observe.metrics.recorder import KnownNames


@asynccontextmanager
async def open_metrics(settings: Settings, services: Services) -> AsyncIterator[int | None]:
    """Serve the metrics at METRICS_PORT while the body runs; yield the port, None without one.

    Without METRICS_PORT nothing is measured and nothing is imported. Raises SettingsError.
    """
    if settings.metrics_port is None:
        yield None
        return
    from prometheus_client import CollectorRegistry, disable_created_metrics

    from twelvefold.observe import metrics
    from twelvefold.observe.metrics.database import DatabaseCollector
    from twelvefold.observe.metrics.endpoint import serve_metrics
    from twelvefold.observe.metrics.instruments import Instruments, register_process
    from twelvefold.observe.metrics.loop_lag import measured_lag
    from twelvefold.observe.metrics.recorder import Recorder

    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
    registry = CollectorRegistry()
    register_process(registry, services.release)
    recorder = Recorder(Instruments(registry), _known_names(settings, services))
    loop = asyncio.get_running_loop()
    registry.register(DatabaseCollector(services.store, list(services.workflows), loop))
    with (
        serve_metrics(registry, settings.host, settings.metrics_port) as port,
        metrics.reported_to(recorder),
    ):
        async with measured_lag(recorder.loop_lag):
            yield port


def _known_names(settings: Settings, services: Services) -> "KnownNames":
    from twelvefold.observe.metrics.recorder import KnownNames

    workflows = services.workflows
    tools = frozenset(tool.name for workflow in workflows.values() for tool in workflow.tools)
    prices = prices_of(services.profiles)
    if settings.model_base_url and (price := price_of(settings.openai_model)):
        prices[DEFAULT_MODEL] = price
    return KnownNames(frozenset(workflows), tools, model_names(settings), prices)
