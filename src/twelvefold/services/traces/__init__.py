"""Traces over OTLP, if the standard variables of OpenTelemetry name a collector.

OpenTelemetry is imported only then: it takes half a second, and is an extra.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twelvefold.core import Store
from twelvefold.observe.log import get_logger

if TYPE_CHECKING:
    from twelvefold.services.traces.exports import TraceExporter

log = get_logger(__name__)
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
INSTALL = "pip install 'twelvefold[otel]'"


def wants_traces(environ: Mapping[str, str]) -> bool:
    """Return whether the variables of OpenTelemetry ask for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter in ("", "otlp"):
        return exporter == "otlp" or any(environ.get(name, "").strip() for name in ENDPOINTS)
    return exporter == "console"


def find_problem(environ: Mapping[str, str]) -> str:
    """Return why traces that the variables ask for cannot be exported; "" if they can."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter not in ("", "none", "otlp", "console"):
        return f"OTEL_TRACES_EXPORTER: {exporter!r} is not known; use otlp, console or none"
    if not wants_traces(environ):
        return ""
    protocol = next((value for name in PROTOCOLS if (value := environ.get(name, "").strip())), HTTP)
    if protocol != HTTP and exporter != "console":
        return f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not supported; use {HTTP}"
    return "" if _is_installed() else f"OpenTelemetry is not installed: {INSTALL}"


def _is_installed() -> bool:
    from importlib.util import find_spec

    names = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        return all(find_spec(name) for name in names)
    except ModuleNotFoundError:
        return False


def open_traces(store: Store, environ: Mapping[str, str], version: str) -> "TraceExporter | None":
    """Start the export of traces if the variables ask for it. Close it.

    What prevents it is logged, not raised: a run does not fail for its traces.
    """
    if problem := find_problem(environ):
        log.warning("traces_off", why=problem)
        return None
    if not wants_traces(environ):
        return None
    from twelvefold.services.traces.exports import TraceExporter
    from twelvefold.services.traces.otlp import SpanSink

    return TraceExporter(store, SpanSink(environ, version))
