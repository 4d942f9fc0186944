"""What sends spans to a collector, or prints them. Imports OpenTelemetry.

The exporter of the SDK reads the standard variables and sends: endpoint, headers, certificates,
compression and timeout; it tries again after 429, 502, 503 and 504, as `Retry-After` says.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from opentelemetry import trace as otel
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status, StatusCode

from twelvefold.core.trace_ids import RunTrace
from twelvefold.observe import gen_ai
from twelvefold.observe.log import get_logger
from twelvefold.observe.run_spans import Span
from twelvefold.services.traces.encoding import encode_request, encode_span
from twelvefold.services.traces.receipts import Receipt

log = get_logger(__name__)
_KINDS = {"internal": otel.SpanKind.INTERNAL, "client": otel.SpanKind.CLIENT}
_FEW = 32
"""So many attributes are within the limit, unless an operator has set a lower one."""
_UNSET, _ERROR = Status(), Status(StatusCode.ERROR)
_SAMPLED = otel.SpanContext(1, 1, is_remote=False, trace_flags=otel.TraceFlags(1))
_exporting = threading.local()


class QueuedSpan(NamedTuple):
    """A span of a sampled trace in the queue of the SDK; it counts in the receipt once exported."""

    trace: RunTrace
    span: Span
    receipt: Receipt

    @property
    def context(self) -> otel.SpanContext:
        """A sampled one, for the queue."""
        return _SAMPLED


class Origin(NamedTuple):
    """What all spans of a process have in common."""

    resource: Resource
    scope: InstrumentationScope


class SpanSender(Protocol):
    """Exports spans; returns whether a collector has them."""

    def send(self, spans: Sequence[QueuedSpan]) -> bool: ...

    def shutdown(self) -> None: ...


def open_sender(environ: Mapping[str, str], origin: Origin) -> SpanSender:
    """Return the exporter that OTEL_TRACES_EXPORTER names."""
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "console":
        return SDKSender(ConsoleSpanExporter(), origin)
    logging.getLogger(trace_exporter.__name__).addFilter(_is_of_others)
    return sender_of(trace_exporter.OTLPSpanExporter(), origin)


def sender_of(exporter: Any, origin: Origin) -> SpanSender:
    """Return what sends spans by an OTLP exporter of the SDK.

    The SDK has no public way to send bytes. If a later release keeps its client elsewhere, its own
    encoder is used, which is slower.
    """
    post = getattr(getattr(exporter, "_client", None), "export", None)
    return SDKSender(exporter, origin) if post is None else OTLPSender(exporter, post, origin)


class SDKSender:
    """Exports spans as those of the SDK."""

    def __init__(self, exporter: Any, origin: Origin) -> None:
        self._exporter = exporter
        self._origin = origin
        self._limits = SpanLimits()

    def send(self, spans: Sequence[QueuedSpan]) -> bool:
        found = [_readable(one, self._origin, self._limits) for one in spans]
        return bool(self._exporter.export(found) is SpanExportResult.SUCCESS)

    def shutdown(self) -> None:
        self._exporter.shutdown()


class OTLPSender:
    """Encodes spans, and sends them by the HTTP client of the SDK's exporter."""

    def __init__(self, exporter: Any, post: Callable[[bytes], Any], origin: Origin) -> None:
        self._exporter = exporter
        self._post = post
        self._limits = SpanLimits()
        self._resource, self._scope = _encode_origin(origin)

    def send(self, spans: Sequence[QueuedSpan]) -> bool:
        encoded = [_encode(one, self._limits) for one in spans]
        return bool(self._post(encode_request(self._resource, self._scope, encoded)).success)

    def shutdown(self) -> None:
        self._exporter.shutdown()


class LoggedExporter:
    """What the queue of the SDK exports to: counts exported spans in their receipts.

    Logs the first failure, and the end of failures.
    """

    def __init__(self, sender: SpanSender) -> None:
        self._sender = sender
        self.is_failing = False

    def export(self, spans: Sequence[QueuedSpan]) -> SpanExportResult:
        _exporting.is_ours = True
        try:
            is_failure = not self._sender.send(spans)
        finally:
            _exporting.is_ours = False
        if is_failure and not self.is_failing:
            log.warning("traces_not_exported", spans=len(spans))
        elif self.is_failing and not is_failure:
            log.info("traces_exported_again", spans=len(spans))
        self.is_failing = is_failure
        if is_failure:
            return SpanExportResult.FAILURE
        for one in spans:
            one.receipt.exported()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._sender.shutdown()


def _is_of_others(record: logging.LogRecord) -> bool:
    """Leave out what the exporter logs about each batch of this process: once is enough."""
    return not getattr(_exporting, "is_ours", False)


# --- one span -------------------------------------------------------------------------------------


def _encode(one: QueuedSpan, limits: SpanLimits) -> bytes:
    span, attributes = one.span, _attributes(one.span, limits)
    return encode_span(
        trace=one.trace.trace,
        span=span.id,
        parent=span.parent,
        name=span.name,
        kind=span.kind,
        start_ns=span.start_us * 1_000,
        end_ns=span.end_us * 1_000,
        attributes=attributes,
        dropped=getattr(attributes, "dropped", 0),
        is_error=bool(span.error),
    )


def _readable(one: QueuedSpan, origin: Origin, limits: SpanLimits) -> ReadableSpan:
    trace, span = one.trace, one.span
    return ReadableSpan(
        name=span.name,
        context=_context(trace, span.id),
        parent=None if span.parent is None else _context(trace, span.parent),
        resource=origin.resource,
        attributes=_attributes(span, limits),
        kind=_KINDS[span.kind],
        status=_ERROR if span.error else _UNSET,
        start_time=span.start_us * 1_000,
        end_time=span.end_us * 1_000,
        instrumentation_scope=origin.scope,
    )


def _context(trace: RunTrace, span: str) -> otel.SpanContext:
    return otel.SpanContext(int(trace.trace, 16), int(span, 16), False, otel.TraceFlags(1))


def _attributes(span: Span, limits: SpanLimits) -> Any:
    """Return the attributes of a span, within the limits of OpenTelemetry's variables."""
    given = span.attributes | {gen_ai.ERROR_TYPE: span.error} if span.error else span.attributes
    length = limits.max_span_attribute_length
    if length is None and len(given) <= min(limits.max_span_attributes or _FEW, _FEW):
        return given
    return BoundedAttributes(limits.max_span_attributes, given, max_value_len=length)


def _encode_origin(origin: Origin) -> tuple[bytes, bytes]:
    """Return a `ResourceSpans` and a `ScopeSpans` without spans, as bytes."""
    only = ReadableSpan("", _SAMPLED, resource=origin.resource, instrumentation_scope=origin.scope)
    (group,) = encode_spans([only]).resource_spans
    (scope,) = group.scope_spans
    del scope.spans[:]
    encoded = scope.SerializeToString()
    del group.scope_spans[:]
    return group.SerializeToString(), encoded
