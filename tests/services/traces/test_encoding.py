"""Spans as bytes: what the encoder of the SDK makes of the same spans."""

import gzip
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tests.collector import Collector, collecting
from twelvefold.core.ids import RunId
from twelvefold.core.trace_ids import RunTrace
from twelvefold.observe.run_spans import Span
from twelvefold.services.traces.exporters import (
    Origin,
    OTLPSender,
    QueuedSpan,
    SDKSender,
    SpanSender,
    open_sender,
    sender_of,
)
from twelvefold.services.traces.receipts import Receipt

RUN = RunId.parse("resp_" + "0" * 44 + "1")
TRACE = RunTrace(RUN, "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
ORIGIN = Origin(
    Resource({"service.name": "désk", "service.version": "1"}, "https://schema/1"),
    InstrumentationScope("twelvefold", "0.1.0"),
)
PLAIN = Span("00f067aa0ba902b7", None, "invoke_agent désk", 1_000_000, 2_500_001, {})
FULL = Span(
    "00f067aa0ba902b8",
    "b7ad6b7169203331",
    "chat",
    1_790_000_000_000_001,
    1_790_000_000_900_000,
    {
        "text": "naïve",
        "long": "x" * 100_000,
        "empty": "",
        "yes": True,
        "no": False,
        "one": 1,
        "zero": 0,
        "byte": 128,
        "large": 2**62,
        "below": -1,
        "half": 0.5,
        "reasons": ("stop", "length"),
    },
    "client",
    "TimeoutError",
)


def queued(*spans: Span) -> list[QueuedSpan]:
    receipt = Receipt(RUN, lambda export: None)
    return [QueuedSpan(TRACE, span, receipt) for span in spans]


def encoded_by_sdk(spans: Sequence[QueuedSpan]) -> ExportTraceServiceRequest:
    found: list[ReadableSpan] = []

    class Exporter:
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            found.extend(spans)
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None: ...

    assert SDKSender(Exporter(), ORIGIN).send(spans)
    return encode_spans(found)


def encoded(spans: Sequence[QueuedSpan]) -> ExportTraceServiceRequest:
    bodies: list[bytes] = []

    class Result:
        success = True

    def post(body: bytes) -> Any:
        bodies.append(body)
        return Result

    assert OTLPSender(None, post, ORIGIN).send(spans)
    (body,) = bodies
    request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
    return request


@pytest.mark.parametrize("spans", [(PLAIN,), (FULL,), (PLAIN, FULL, FULL)])
def test_spans_are_encoded_as_by_the_sdk(spans: tuple[Span, ...]) -> None:
    assert encoded(queued(*spans)) == encoded_by_sdk(queued(*spans))


def test_limits_of_attributes_are_those_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")

    found = encoded(queued(FULL))

    assert found == encoded_by_sdk(queued(FULL))
    (span,) = found.resource_spans[0].scope_spans[0].spans
    assert (len(span.attributes), span.dropped_attributes_count) == (4, 9)


def test_text_that_is_no_unicode_does_not_fail_the_batch() -> None:
    span = PLAIN._replace(attributes={"id": "half \ud800"})

    (found,) = encoded(queued(span)).resource_spans[0].scope_spans[0].spans

    assert found.attributes[0].value.string_value == "half ?"


# --- what sends them ------------------------------------------------------------------------------


def opened(collector: Collector, monkeypatch: pytest.MonkeyPatch, **more: str) -> SpanSender:
    for name, value in collector.environ(**more).items():
        monkeypatch.setenv(name, value)
    return open_sender({}, ORIGIN)


def test_the_release_of_opentelemetry_in_the_lock_sends_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        sender = opened(collector, monkeypatch)

        assert isinstance(sender, OTLPSender)
        assert sender.send(queued(PLAIN, FULL))

    assert [span.name for span in collector.spans] == [PLAIN.name, FULL.name]
    assert collector.resources[0]["service.name"] == "désk"


class Printed:
    """An exporter of the SDK without the client that this release knows."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.result = SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.names += [span.name for span in spans]
        return self.result


def test_another_release_of_opentelemetry_encodes_the_spans_itself() -> None:
    exporter = Printed()
    sender = sender_of(exporter, ORIGIN)

    assert sender.send(queued(PLAIN, FULL))
    exporter.result = SpanExportResult.FAILURE
    assert not sender.send(queued(PLAIN))

    assert exporter.names == [PLAIN.name, FULL.name, PLAIN.name]


def test_spans_are_printed_as_those_of_the_sdk() -> None:
    sender = open_sender({"OTEL_TRACES_EXPORTER": "console"}, ORIGIN)

    assert isinstance(sender, SDKSender)
    assert sender.send(queued(PLAIN))


def test_the_variables_of_the_exporter_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        sender = opened(
            collector,
            monkeypatch,
            OTEL_EXPORTER_OTLP_HEADERS="x-team=desk",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        )
        bodies: list[bytes] = []

        def receive(headers: dict[str, str], body: bytes) -> int:
            bodies.append(body)
            assert headers["x-team"] == "desk"
            assert headers["content-encoding"] == "gzip"
            assert headers["content-type"] == "application/x-protobuf"
            return 200

        monkeypatch.setattr(collector, "receive", receive)
        assert sender.send(queued(PLAIN))

    (body,) = bodies
    request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
    assert request == encoded_by_sdk(queued(PLAIN))


@pytest.mark.parametrize("status", [429, 503])
def test_a_collector_that_is_busy_is_asked_again(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        sender = opened(collector, monkeypatch)
        collector.refusals = [(status, {"retry-after": "0"})] * 2

        assert sender.send(queued(PLAIN))

    assert collector.requests == 3
    assert len(collector.spans) == 1


def test_a_collector_that_is_busy_for_longer_than_the_timeout_has_not_the_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        sender = opened(collector, monkeypatch)
        collector.refusals = [(503, {"retry-after": "3600"})]

        assert not sender.send(queued(PLAIN))

    assert collector.requests == 1


def test_spans_that_a_collector_rejects_are_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A partial success: OTLP forbids to send the request again."""
    with collecting() as collector:
        sender = opened(collector, monkeypatch)
        collector.rejects = 1

        assert sender.send(queued(PLAIN))

    assert collector.requests == 1
