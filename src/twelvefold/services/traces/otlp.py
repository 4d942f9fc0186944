"""Spans of runs as spans of the OpenTelemetry SDK, and their export. Imports OpenTelemetry.

The SDK reads the standard variables: exporter, headers, timeouts, queue and batch sizes, sampler,
limits and resource attributes. Its queue is bounded and its thread a daemon, so a collector that is
down or hangs delays no run.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from twelvefold.core.trace_ids import RunTrace
from twelvefold.core.trace_ids import SpanContext as SpanId
from twelvefold.observe import gen_ai
from twelvefold.observe.run_spans import Span
from twelvefold.observe.trace_context import TRACEPARENT
from twelvefold.services.traces.exporters import LoggedExporter, Origin, QueuedSpan, open_sender
from twelvefold.services.traces.receipts import Receipt

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

SCOPE = "twelvefold"
CLOSE_S = 2.0
"""How long the end of a process waits for a collector. What it lacks is exported later."""
_CONTENT_IN_SPANS = ("true", "span_only", "span_and_event")


class SpanSink:
    """Exports spans in the background, as the variables of `environ` say."""

    def __init__(self, environ: Mapping[str, str], version: str) -> None:
        provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._sampler = provider.sampler
        origin = Origin(provider.resource, InstrumentationScope(SCOPE, version))
        self._exporter = LoggedExporter(open_sender(environ, origin))
        self._processor = BatchSpanProcessor(cast("SpanExporter", self._exporter))
        capture = environ.get(gen_ai.CAPTURE_CONTENT, "").strip().lower()
        self.captures_content = capture in _CONTENT_IN_SPANS

    @property
    def is_failing(self) -> bool:
        """Whether the last export failed."""
        return self._exporter.is_failing

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
        self._processor.on_end(cast("ReadableSpan", QueuedSpan(trace, span, receipt)))

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
