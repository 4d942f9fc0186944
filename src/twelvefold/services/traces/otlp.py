"""Spans of runs as spans of the OpenTelemetry SDK, and their export. Imports OpenTelemetry.

The SDK reads the standard variables: exporter, headers, timeouts, queue and batch sizes, sampler,
limits and resource attributes. Its queue is bounded and its thread a daemon, so a collector that is
down or hangs delays no run.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status, StatusCode

from twelvefold.core.trace_ids import RunTrace
from twelvefold.core.trace_ids import SpanContext as SpanId
from twelvefold.observe import gen_ai
from twelvefold.observe.log import get_logger
from twelvefold.observe.run_spans import Span
from twelvefold.observe.trace_context import TRACEPARENT
from twelvefold.services.traces.receipts import Receipt

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

log = get_logger(__name__)
SCOPE = "twelvefold"
CLOSE_S = 2.0
"""How long the end of a process waits for a collector. What it lacks is exported later."""
_RECEIPT = "twelvefold_receipt"
_KINDS = {"internal": otel.SpanKind.INTERNAL, "client": otel.SpanKind.CLIENT}
_FEW = 32
"""So many attributes are within the limit, unless an operator has set a lower one."""
_UNSET, _ERROR = Status(), Status(StatusCode.ERROR)
_CONTENT_IN_SPANS = ("true", "span_only", "span_and_event")
_exporting = threading.local()


class SpanSink:
    """Exports spans in the background, as the variables of `environ` say."""

    def __init__(self, environ: Mapping[str, str], version: str) -> None:
        self._exporter = _Exporter(_open_exporter(environ))
        self._processor = BatchSpanProcessor(cast("SpanExporter", self._exporter))
        provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._sampler, self._resource = provider.sampler, provider.resource
        self._limits = SpanLimits()
        self._scope = InstrumentationScope(SCOPE, version)
        capture = environ.get(gen_ai.CAPTURE_CONTENT, "").strip().lower()
        self.captures_content = capture in _CONTENT_IN_SPANS

    def flags(self, trace: RunTrace, name: str) -> int:
        """Return the flags of a trace: 1 if it is sampled. The caller's span decides, if any."""
        parent = otel_context.Context()
        if trace.caller:
            parent = otel.set_span_in_context(_remote(trace.caller), parent)
        number = int(trace.trace, 16)
        result = self._sampler.should_sample(parent, number, name, otel.SpanKind.INTERNAL, {}, ())
        is_sampled: bool = result.decision.is_sampled()  # type: ignore[no-untyped-call, unused-ignore]  # the SDK has no type for it
        return int(is_sampled)

    def emit(self, trace: RunTrace, span: Span, receipt: Receipt) -> None:
        """Queue a span of a trace that is sampled; it counts in the receipt once exported."""
        parent = None if span.parent is None else _context(SpanId(trace.trace, span.parent))
        readable = ReadableSpan(
            name=span.name,
            context=_context(SpanId(trace.trace, span.id)),
            parent=parent,
            resource=self._resource,
            attributes=self._attributes(span),
            kind=_KINDS[span.kind],
            status=_ERROR if span.error else _UNSET,
            start_time=span.start_us * 1_000,
            end_time=span.end_us * 1_000,
            instrumentation_scope=self._scope,
        )
        vars(readable)[_RECEIPT] = receipt
        self._processor.on_end(readable)

    def _attributes(self, span: Span) -> Mapping[str, Any]:
        given: dict[str, Any] = span.attributes
        if span.error:
            given[gen_ai.ERROR_TYPE] = span.error
        limits = self._limits
        if limits.max_span_attribute_length is None and len(given) <= _FEW:
            return given
        length = limits.max_span_attribute_length
        return BoundedAttributes(limits.max_span_attributes, given, max_value_len=length)

    def flush(self) -> None:
        """Export what is queued now. Blocks as long as the collector does."""
        self._processor.force_flush()

    def close(self) -> None:
        """Export what is queued, for `CLOSE_S` at most. Blocks."""
        # The SDK waits for its thread much longer, which may hang in a request.
        thread = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        thread.start()
        thread.join(CLOSE_S)


class CurrentSpan:
    """Makes a span the current one of OpenTelemetry, and the one of `current_traceparent`.

    A class: a generator takes longer than what it does.
    """

    __slots__ = ("_own", "_span", "_token")

    def __init__(self, span: SpanId) -> None:
        self._span = span

    def __enter__(self) -> None:
        here = otel.set_span_in_context(otel.NonRecordingSpan(_context(self._span)))
        self._token, self._own = otel_context.attach(here), TRACEPARENT.set(str(self._span))

    def __exit__(self, *_: object) -> None:
        TRACEPARENT.reset(self._own)
        otel_context.detach(self._token)


def current_span() -> str:
    """Return the `traceparent` of the current span of OpenTelemetry; "" if there is none."""
    context = otel.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    flags = int(context.trace_flags) & 1
    return str(SpanId(f"{context.trace_id:032x}", f"{context.span_id:016x}", flags))


def _context(span: SpanId, *, is_remote: bool = False) -> "SpanContext":
    flags = otel.TraceFlags(span.flags)
    return otel.SpanContext(int(span.trace, 16), int(span.span, 16), is_remote, flags)


def _remote(span: SpanId) -> otel.Span:
    return otel.NonRecordingSpan(_context(span, is_remote=True))


def _resource(version: str) -> Resource:
    """Return the resource of the variables; the service is "twelvefold" if they do not name it."""
    resource = Resource.create()
    named = str(resource.attributes.get(SERVICE_NAME, ""))
    own: dict[str, Any] = {SERVICE_VERSION: version}
    if named.startswith("unknown_service"):
        own[SERVICE_NAME] = SCOPE
    given = {name: value for name, value in own.items() if name not in resource.attributes}
    given |= {SERVICE_NAME: SCOPE} if SERVICE_NAME in own else {}
    return resource.merge(Resource(given))


def _open_exporter(environ: Mapping[str, str]) -> SpanExporter:
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    logging.getLogger(trace_exporter.__name__).addFilter(_is_of_others)
    return trace_exporter.OTLPSpanExporter()


def _is_of_others(record: logging.LogRecord) -> bool:
    """Leave out what the exporter logs about each batch of this process: once is enough."""
    return not getattr(_exporting, "is_ours", False)


class _Exporter:
    """Counts exported spans in their receipts; logs the first failure, and the end of failures."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        _exporting.is_ours = True
        try:
            result = self._exporter.export(spans)
        finally:
            _exporting.is_ours = False
        is_failure = result is not SpanExportResult.SUCCESS
        if is_failure and not self._is_failing:
            log.warning("traces_not_exported", spans=len(spans))
        elif self._is_failing and not is_failure:
            log.info("traces_exported_again", spans=len(spans))
        self._is_failing = is_failure
        if not is_failure:
            for span in spans:
                exported: Callable[[], None] = vars(span)[_RECEIPT].exported
                exported()
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
