"""The metrics of a process: their names, labels and buckets.

Names of the GenAI conventions are written as OpenTelemetry writes them for Prometheus: with
underscores, and the unit at the end. Others begin with `twelvefold_`.
"""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from twelvefold import __version__
from twelvefold.observe import gen_ai

STEP_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
REQUEST_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
MODEL_LABELS = (gen_ai.OPERATION_NAME, gen_ai.REQUEST_MODEL)
TOKENS = {
    "input_tokens": (gen_ai.METRIC_USAGE_INPUT_TOKENS, "Input tokens, cached ones included."),
    "cached_tokens": (gen_ai.METRIC_USAGE_CACHE_READ, "Input tokens that came from a cache."),
    "output_tokens": (
        gen_ai.METRIC_USAGE_OUTPUT_TOKENS,
        "Output tokens, those of reasoning included.",
    ),
    "reasoning_tokens": (gen_ai.METRIC_USAGE_REASONING, "Output tokens of reasoning."),
}
"""The counters of tokens, by the field of Usage."""


def prometheus_name(name: str, unit: str = "") -> str:
    """Return a name of the conventions as a name of Prometheus."""
    suffix = "_seconds" if unit == gen_ai.UNIT_SECONDS else ""
    return name.replace(".", "_") + suffix


class Labelled:
    """A metric with labels: `metric(*values)` is the child with these values.

    The library checks and locks on each look-up; a cached child costs a tenth.
    """

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Any] = {}

    def __call__(self, *values: str) -> Any:
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values)
        return child


class Instruments:
    """The counters and histograms of a process, registered with `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.runs_started = self._counter(
            "twelvefold_runs_started", "Runs that this process started.", "workflow"
        )
        self.runs_finished = self._counter(
            "twelvefold_runs_finished", "Runs that this process ended.", "workflow", "status"
        )
        self.runs_driven = Gauge(
            "twelvefold_runs_driven", "Runs that this process drives now.", registry=registry
        )
        self.steps = self._histogram(
            "twelvefold_step_duration_seconds",
            "Time of a step: the model or the tools, and the commit.",
            STEP_BUCKETS_S,
            "workflow",
        )
        self.takeovers = self._counter(
            "twelvefold_takeovers",
            "Runs that this process took over from one that did not give them back.",
            "workflow",
        )
        self.lease_losses = Counter(
            "twelvefold_lease_losses",
            "Runs that another process took over from this one.",
            registry=registry,
        )
        self.retries = self._counter(
            "twelvefold_retries", "Requests that were sent again.", "service"
        )
        self._add_model_metrics()
        self._add_tool_metrics()
        self._add_service_metrics()

    def _add_model_metrics(self) -> None:
        duration = prometheus_name(gen_ai.METRIC_INFERENCE_DURATION, gen_ai.UNIT_SECONDS)
        first = prometheus_name(gen_ai.METRIC_TIME_TO_FIRST_CHUNK, gen_ai.UNIT_SECONDS)
        self.model_seconds = self._histogram(
            duration,
            "Time of a model's reply, all attempts included.",
            gen_ai.DURATION_BUCKETS_S,
            *(*MODEL_LABELS, gen_ai.ERROR_TYPE),
        )
        self.first_chunk_seconds = self._histogram(
            first,
            "Time until the first piece of a reply's text.",
            gen_ai.DURATION_BUCKETS_S,
            *MODEL_LABELS,
        )
        self.tokens = {
            field: self._counter(prometheus_name(name), text, *MODEL_LABELS)
            for field, (name, text) in TOKENS.items()
        }
        self.cost = self._counter(
            "twelvefold_cost_usd", "Cost of replies whose price is known.", "workflow", "model"
        )

    def _add_tool_metrics(self) -> None:
        name = prometheus_name(gen_ai.METRIC_EXECUTE_TOOL_DURATION, gen_ai.UNIT_SECONDS)
        self.tool_seconds = self._histogram(
            name, "Time of a tool's function.", gen_ai.DURATION_BUCKETS_S, gen_ai.TOOL_NAME
        )
        self.tool_calls = self._counter(
            "twelvefold_tool_calls", "Tool calls by their result.", "tool", "outcome"
        )

    def _add_service_metrics(self) -> None:
        self.mails = self._counter("twelvefold_mails", "Attempts to send a mail.", "outcome")
        self.requests = self._counter(
            "twelvefold_http_requests", "HTTP requests.", "method", "route", "status"
        )
        self.request_seconds = self._histogram(
            "twelvefold_http_request_duration_seconds",
            "Time from an HTTP request to the end of its response.",
            REQUEST_BUCKETS_S,
            "route",
        )
        self.loop_lag = Histogram(
            "twelvefold_event_loop_lag_seconds",
            "How late the event loop runs a timer.",
            buckets=LAG_BUCKETS_S,
            registry=self._registry,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Labelled:
        return Labelled(Counter(name, text, _names(labels), registry=self._registry))

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Labelled:
        metric = Histogram(name, text, _names(labels), buckets=buckets, registry=self._registry)
        return Labelled(metric)


def _names(labels: tuple[str, ...]) -> list[str]:
    return [prometheus_name(label) for label in labels]


def register_process(registry: CollectorRegistry, release: str) -> None:
    """Register the memory, CPU time and files of the process, and its version."""
    ProcessCollector(registry=registry)
    info = Gauge(
        "twelvefold_build_info",
        "1; the labels say what runs.",
        ["version", "release"],
        registry=registry,
    )
    info.labels(__version__, release).set(1)
