"""The metrics of Prometheus' library in the form of OpenTelemetry. Imports OpenTelemetry.

One set of counters serves both: what a run costs does not depend on where the metrics go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OTelMetric
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric
from prometheus_client.samples import Sample

from twelvefold.observe import gen_ai
from twelvefold.observe.metrics.instruments import prometheus_name

SCOPE = "twelvefold"
_SECONDS = "_seconds"
_NAMES = {
    prometheus_name(name): name
    for key, name in vars(gen_ai).items()
    if isinstance(name, str) and name.startswith(("gen_ai.", "error."))
}
"""The names of the conventions, by those of Prometheus."""
_CUMULATIVE = AggregationTemporality.CUMULATIVE
Labels = tuple[tuple[str, str], ...]


def metrics_data(
    metrics: Iterable[Metric], version: str, started_ns: int, now_ns: int
) -> MetricsData:
    """Return all metrics; those of the operating system's process are left out."""
    times = (started_ns, now_ns)
    found = [_metric(one, times) for one in metrics if one.samples and _is_ours(one)]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, version), found, "")
    return MetricsData([ResourceMetrics(_resource(version), [scope], "")])


def _is_ours(metric: Metric) -> bool:
    return metric.name.startswith(("twelvefold_", "gen_ai_"))


def _resource(version: str) -> Resource:
    """Return the resource of the variables; the service is "twelvefold" if they do not name it."""
    given = Resource.create()
    own: dict[str, str] = {SERVICE_VERSION: version}
    if str(given.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        own[SERVICE_NAME] = SCOPE
    return given.merge(Resource(own))


def _metric(metric: Metric, times: tuple[int, int]) -> OTelMetric:
    name, unit = _name_and_unit(metric.name)
    return OTelMetric(name, metric.documentation, unit, _data(metric, times))


def _name_and_unit(name: str) -> tuple[str, str]:
    bare = name.removesuffix(_SECONDS)
    unit = gen_ai.UNIT_SECONDS if bare != name else ""
    return _NAMES.get(bare) or bare.replace("_", ".", 1), unit


def _data(metric: Metric, times: tuple[int, int]) -> Sum | Gauge | Histogram:
    match metric.type:
        case "counter":
            return Sum(_numbers(metric.samples, times), _CUMULATIVE, is_monotonic=True)
        case "histogram":
            return Histogram(list(_distributions(metric.samples, times)), _CUMULATIVE)
        case _:
            return Gauge(_numbers(metric.samples, times))


def _numbers(samples: Iterable[Sample], times: tuple[int, int]) -> list[NumberDataPoint]:
    return [NumberDataPoint(_attributes(one.labels), *times, one.value) for one in samples]


def _attributes(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels with the names of the conventions; an empty one is left out."""
    return {_NAMES.get(name, name): value for name, value in labels.items() if value}


def _distributions(
    samples: Sequence[Sample], times: tuple[int, int]
) -> Iterator[HistogramDataPoint]:
    """Yield the histogram of each set of labels."""
    series: dict[Labels, list[Sample]] = {}
    for sample in samples:
        labels = tuple(pair for pair in sample.labels.items() if pair[0] != "le")
        series.setdefault(labels, []).append(sample)
    for labels, found in series.items():
        buckets = [one for one in found if one.name.endswith("_bucket")]
        total = next(one.value for one in found if one.name.endswith("_sum"))
        # Prometheus' buckets are cumulative; the last one has everything.
        counts = [0, *(int(one.value) for one in buckets)]
        yield HistogramDataPoint(
            attributes=_attributes(dict(labels)),
            start_time_unix_nano=times[0],
            time_unix_nano=times[1],
            count=counts[-1],
            sum=total,
            bucket_counts=[upper - lower for lower, upper in pairwise(counts)],
            explicit_bounds=[float(one.labels["le"]) for one in buckets[:-1]],
            min=0.0,
            max=0.0,
        )
