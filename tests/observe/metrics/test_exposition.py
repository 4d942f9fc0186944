"""The metrics that a process serves, and the page that describes them."""

import re
import subprocess
import sys

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from tests.docs.pages import ROOT
from tests.observe.metrics.exposition import exposed
from twelvefold import Settings, open_services
from twelvefold.boot import open_metrics
from twelvefold.observe import metrics
from twelvefold.observe.metrics.instruments import Instruments

PAGE = ROOT / "docs" / "howto" / "metrics.md"
NAME = re.compile(r"^\| `((?:twelvefold|gen_ai)_\w+)` \| (\w+) \|", re.MULTILINE)


async def test_the_page_names_each_metric_with_its_type() -> None:
    served = {
        metric.name + ("_total" if metric.type == "counter" else ""): metric.type
        for metric in await exposed()
        if not metric.name.startswith("process_")
    }

    assert dict(NAME.findall(PAGE.read_text())) == served


def test_the_page_names_the_labels_of_each_metric() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \w+ \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    page = {name.removesuffix("_total"): set(re.findall(r"`(\w+)`", text)) for name, text in rows}
    registry = CollectorRegistry()
    Instruments(registry)

    declared = {
        collector._name: set(collector._labelnames)
        for collector in registry._collector_to_names
        if isinstance(collector, MetricWrapperBase)
    }

    assert declared
    assert {name: page[name] for name in declared} == declared


async def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in await exposed():
        assert re.fullmatch(r"(twelvefold|gen_ai|process)_[a-z0-9_]+", metric.name)
        assert metric.documentation
        if metric.type == "histogram" and "tokens" not in metric.name:
            assert metric.name.endswith("_seconds")


async def test_without_a_port_nothing_is_measured() -> None:
    settings = Settings(database_url="sqlite://")

    async with (
        open_services(settings, with_model=False) as services,
        open_metrics(settings, services) as port,
    ):
        assert port is None
        assert metrics.active is None


def test_without_a_port_and_a_collector_no_library_is_imported() -> None:
    program = (
        "import sys, twelvefold.cli.web, twelvefold.cli.worker, twelvefold.engine; "
        "print([name for name in sys.modules if name.startswith(('prometheus_', 'opentelemetry'))])"
    )

    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )

    assert out.stdout.strip() == "[]"
