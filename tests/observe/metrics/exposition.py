"""The metrics of a process, as Prometheus reads them from its endpoint."""

import asyncio
import urllib.request
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import HANG_S
from twelvefold import Settings
from twelvefold.app.opening import open_checked_services
from twelvefold.boot import open_metrics


async def scrape(port: int) -> list[Metric]:
    """Return the metrics that the process at this port serves."""
    return parse(await asyncio.to_thread(read, port))


def read(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as answer:
        text: str = answer.read().decode()
        return text


def parse(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


async def exposed() -> list[Metric]:
    """Return the metrics of a process with the built-in workflow, on an embedded database."""
    with TemporaryDirectory() as directory:
        settings = Settings(database_url=f"sqlite:///{directory}/journal.db", metrics_port=0)
        async with (
            open_checked_services(settings, with_model=False) as services,
            open_metrics(settings, services) as port,
        ):
            assert port
            return await scrape(port)


def value_of(metrics: Sequence[Metric], name: str, **labels: str) -> float | None:
    """Return the value of the sample with this name and these labels; None if there is none."""
    found = [one for metric in metrics for one in metric.samples if one.name == name]
    return next((one.value for one in found if labels.items() <= one.labels.items()), None)
