"""Sends the metrics over OTLP, if the standard variables of OpenTelemetry name a collector.

OpenTelemetry is imported only then: it takes half a second, and is an extra.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from twelvefold.observe.log import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from prometheus_client import CollectorRegistry

log = get_logger(__name__)
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
INTERVAL_S = 60.0
CLOSE_S = 2.0
"""How long the end of a process waits for a collector."""
INSTALL = "pip install 'twelvefold[otel]'"


def wants_export(environ: Mapping[str, str]) -> bool:
    """Return whether the variables of OpenTelemetry ask for metrics."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_METRICS_EXPORTER", "").strip().lower()
    has_endpoint = any(environ.get(name, "").strip() for name in ENDPOINTS)
    return exporter == "otlp" or (not exporter and has_endpoint)


def can_export(environ: Mapping[str, str]) -> bool:
    """Return whether the variables ask for metrics that can be sent.

    What prevents it is logged, not raised: a process does not fail for its metrics.
    """
    if not wants_export(environ):
        return False
    if problem := find_problem(environ):
        log.warning("metrics_not_exported", why=problem)
    return not problem


def find_problem(environ: Mapping[str, str]) -> str:
    """Return why metrics that the variables ask for cannot be sent; "" if they can."""
    protocol = next((value for name in PROTOCOLS if (value := environ.get(name, "").strip())), HTTP)
    if protocol != HTTP:
        return f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not supported; use {HTTP}"
    return "" if _is_installed() else f"OpenTelemetry is not installed: {INSTALL}"


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


@asynccontextmanager
async def exported(
    registry: "CollectorRegistry", environ: Mapping[str, str], version: str
) -> AsyncIterator[None]:
    """Send the metrics at intervals while the body runs, and once more at its end."""
    exporter = _Exporter(registry, _interval_s(environ), version)
    # A daemon: a collector that does not answer must not keep the process from its exit.
    thread = threading.Thread(target=exporter.run, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        exporter.stop.set()
        # The thread reads the database in this event loop.
        await asyncio.to_thread(thread.join, CLOSE_S)


def _interval_s(environ: Mapping[str, str]) -> float:
    text = environ.get(INTERVAL, "").strip()
    return int(text) / 1_000 if text.isdecimal() and int(text) else INTERVAL_S


class _Exporter:
    """Sends the metrics from a thread of its own until `stop` is set."""

    def __init__(self, registry: "CollectorRegistry", interval_s: float, version: str) -> None:
        self.stop = threading.Event()
        self._registry = registry
        self._interval_s = interval_s
        self._version = version
        self._started_ns = time.time_ns()
        self._is_failing = False

    def run(self) -> None:
        from opentelemetry.exporter.otlp.proto.http import metric_exporter

        # It logs each failure; once an outage is enough.
        logging.getLogger(metric_exporter.__name__).disabled = True
        exporter = metric_exporter.OTLPMetricExporter()
        while not self.stop.wait(self._interval_s):
            self._export(exporter)
        self._export(exporter)

    def _export(self, exporter: "MetricExporter") -> None:
        """Send the metrics once."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        from twelvefold.observe.metrics.otlp_data import metrics_data

        now_ns = time.time_ns()
        data = metrics_data(self._registry.collect(), self._version, self._started_ns, now_ns)
        is_failing = exporter.export(data) is not MetricExportResult.SUCCESS
        if is_failing != self._is_failing:
            self._is_failing = is_failing
            log.warning("metrics_not_exported" if is_failing else "metrics_exported_again")
