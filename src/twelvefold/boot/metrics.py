"""Measures the process, and serves or sends the metrics, if the settings say so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from twelvefold import __version__
from twelvefold.boot.environment import read_environment
from twelvefold.boot.models import model_names, prices_of
from twelvefold.config import Settings
from twelvefold.core import DEFAULT_MODEL
from twelvefold.engine import Services
from twelvefold.observe.metrics.otlp import can_export, exported
from twelvefold.services.model.prices import price_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from twelvefold.observe.metrics.recorder import KnownNames, Recorder


@asynccontextmanager
async def open_metrics(settings: Settings, services: Services) -> AsyncIterator[int | None]:
    """Measure the process while the body runs; yield the port that serves the metrics, if any.

    They are served at METRICS_PORT, and sent over OTLP if the variables of OpenTelemetry say so.
    Without either nothing is measured and nothing is imported. Raises SettingsError.
    """
    environ = read_environment()
    is_exported = can_export(environ)
    if settings.metrics_port is None and not is_exported:
        yield None
        return
    from twelvefold.observe import metrics
    from twelvefold.observe.metrics.endpoint import serve_metrics
    from twelvefold.observe.metrics.loop_lag import measured_lag

    registry, recorder = _open_registry(settings, services)
    async with AsyncExitStack() as stack:
        port = None
        if settings.metrics_port is not None:
            serving = serve_metrics(registry, settings.host, settings.metrics_port)
            port = stack.enter_context(serving)
        stack.enter_context(metrics.reported_to(recorder))
        await stack.enter_async_context(measured_lag(recorder.loop_lag))
        if is_exported:
            await stack.enter_async_context(exported(registry, environ, __version__))
        yield port


def _open_registry(settings: Settings, services: Services) -> "tuple[CollectorRegistry, Recorder]":
    """Return the metrics of this process, and what fills them."""
    from prometheus_client import CollectorRegistry, disable_created_metrics

    from twelvefold.observe.metrics.database import DatabaseCollector
    from twelvefold.observe.metrics.instruments import Instruments, register_process
    from twelvefold.observe.metrics.recorder import Recorder

    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
    registry = CollectorRegistry()
    register_process(registry, services.release)
    loop = asyncio.get_running_loop()
    registry.register(DatabaseCollector(services.store, list(services.workflows), loop))
    return registry, Recorder(Instruments(registry), _known_names(settings, services))


def _known_names(settings: Settings, services: Services) -> "KnownNames":
    from twelvefold.observe.metrics.recorder import KnownNames

    workflows = services.workflows
    tools = frozenset(tool.name for workflow in workflows.values() for tool in workflow.tools)
    prices = prices_of(services.profiles)
    if settings.model_base_url and (price := price_of(settings.openai_model)):
        prices[DEFAULT_MODEL] = price
    return KnownNames(frozenset(workflows), tools, model_names(settings), prices)
