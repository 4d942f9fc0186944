"""A collector of OpenTelemetry for tests: receives OTLP over HTTP, and decodes it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as the collector has it; times in nanoseconds since 1970."""

    trace: str
    id: str
    parent: str
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any] = field(hash=False)
    is_error: bool
    kind: int


@dataclass
class Collector:
    """What was received. `status` is the answer to requests; `headers` those of the last one.

    `refusals` answer the next requests before that, each with a status and headers. `rejects` is
    the number of spans that an answer says were rejected.
    """

    url: str = ""
    status: int = 200
    spans: list[ReceivedSpan] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    hold: threading.Event | None = None
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    rejects: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, headers: dict[str, str], body: bytes) -> int:
        if self.hold is not None:
            self.hold.wait(30)
        with self._lock:
            self.requests += 1
            self.headers = headers
            if self.status == 200:
                request = ExportTraceServiceRequest.FromString(body)
                for group in request.resource_spans:
                    self.resources.append(_attributes(group.resource.attributes))
                    for scoped in group.scope_spans:
                        self.spans += map(_span, scoped.spans)
            return self.status

    def next_refusal(self) -> tuple[int, dict[str, str]]:
        """Return the status and the headers of a refusal; 0 if the request is received."""
        with self._lock:
            if not self.refusals:
                return 0, {}
            self.requests += 1
            return self.refusals.pop(0)

    def answer(self) -> bytes:
        response = ExportTraceServiceResponse()
        if self.rejects:
            response.partial_success.rejected_spans = self.rejects
        answer: bytes = response.SerializeToString()
        return answer

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of a process that exports to this collector, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            **more,
        }

    def by_id(self) -> dict[str, ReceivedSpan]:
        """Return each span once. Fails if two different spans have one id."""
        with self._lock:
            received = [*self.spans]
        found: dict[str, ReceivedSpan] = {}
        for span in received:
            assert found.setdefault(span.id, span) == span, (found[span.id], span)
        return found


def _span(span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        span.status.code == 2,
        span.kind,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Receive on a free port of loopback while the body runs."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            refusal, more = collector.next_refusal()
            self.send_response(refusal or collector.receive(headers, body))
            answer = collector.answer()
            for name, value in {**more, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
