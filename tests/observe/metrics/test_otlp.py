"""The metrics over OTLP: what a collector receives, and when none is asked for."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.observe.metrics.exposition import scrape
from twelvefold import Settings
from twelvefold.app.opening import open_checked_services
from twelvefold.boot import open_metrics
from twelvefold.observe import metrics
from twelvefold.observe.metrics.otlp import can_export, find_problem, wants_export


class Collector:
    """What a collector has received; `status` is its answer."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.received = threading.Event()
        self.requests: list[ExportMetricsServiceRequest] = []

    def receive(self, path: str, body: bytes) -> int:
        assert path == "/v1/metrics"
        self.requests.append(ExportMetricsServiceRequest.FromString(body))
        self.received.set()
        return self.status

    @property
    def resource(self) -> dict[str, str]:
        [group] = self.requests[-1].resource_metrics
        return {one.key: one.value.string_value for one in group.resource.attributes}

    def points(self, name: str) -> list[tuple[dict[str, str], Any]]:
        """Return the attributes and the point of each series of a metric."""
        found: list[tuple[dict[str, str], Any]] = []
        for metric in self.requests[-1].resource_metrics[0].scope_metrics[0].metrics:
            if metric.name == name:
                data = getattr(metric, metric.WhichOneof("data") or "")
                for point in data.data_points:
                    labels = {one.key: one.value.string_value for one in point.attributes}
                    found.append((labels, point))
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    with serving(Collector()) as found:
        yield found


@contextmanager
def serving(collector: Collector) -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                raise AssertionError("the exporter compresses only if it is asked to")
            self.send_response(collector.receive(self.path, body))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_the_metrics_are_sent_with_the_names_of_the_conventions(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    settings = Settings(database_url=f"sqlite:///{tmp_path}/journal.db", metrics_port=0)

    async with (
        open_checked_services(settings, with_model=False) as services,
        open_metrics(settings, services) as port,
    ):
        assert metrics.active is not None
        metrics.active.model("default", 0.03, 0.02, "")
        metrics.active.model("default", 500.0, None, "ModelUnavailable")
        metrics.active.retried("model")
        assert port
        assert await scrape(port)

    assert collector.resource["service.name"] == "twelvefold"
    durations = collector.points("gen_ai.client.inference.duration")
    model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "demo"}
    (_, reply), (failed, late) = sorted(durations, key=lambda one: len(one[0]))
    assert durations[0][0] == model
    assert failed == {**model, "error.type": "ModelUnavailable"}
    assert (reply.count, reply.sum, sum(reply.bucket_counts)) == (1, 0.03, 1)
    assert reply.bucket_counts[2] == 1  # over 0.02 s and up to 0.04 s
    assert (late.count, late.bucket_counts[-1]) == (1, 1)
    assert len(reply.bucket_counts) == len(reply.explicit_bounds) + 1
    retries = {
        labels["service"]: point.as_double
        for labels, point in collector.points("twelvefold.retries")
    }
    assert retries == {"database": 0, "model": 1, "mail": 0, "tool": 0}
    [(_, up)] = collector.points("twelvefold.database_up")
    assert up.as_double == 1


async def test_metrics_are_sent_at_intervals_without_a_port(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
    settings = Settings(database_url=f"sqlite:///{tmp_path}/journal.db")

    async with (
        open_checked_services(settings, with_model=False) as services,
        open_metrics(settings, services) as port,
    ):
        assert port is None
        assert await asyncio.to_thread(collector.received.wait, 30)
        assert collector.points("twelvefold.build_info")


async def test_a_collector_that_refuses_is_logged_once(
    collector: Collector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector.status = 404
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
    settings = Settings(database_url=f"sqlite:///{tmp_path}/journal.db")

    async with (
        open_checked_services(settings, with_model=False) as services,
        open_metrics(settings, services),
    ):
        while len(collector.requests) < 2:
            await asyncio.sleep(0.01)

    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("metrics_not_exported") == 1
    assert not [message for message in messages if "Failed to export" in message]


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_the_standard_variables_ask_for_metrics(environ: dict[str, str], wanted: bool) -> None:
    assert wants_export(environ) is can_export(environ) is wanted


def test_a_protocol_that_is_not_supported_is_named(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    assert "'grpc' is not supported; use http/protobuf" in find_problem(environ)
    assert not can_export(environ)
    assert "metrics_not_exported" in caplog.text
