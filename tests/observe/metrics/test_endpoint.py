"""The endpoint of the metrics, and the lag of the event loop."""

import asyncio
import socket
import time
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from tests.waiting import HANG_S
from twelvefold.errors import SettingsError
from twelvefold.observe.metrics.endpoint import serve_metrics
from twelvefold.observe.metrics.loop_lag import measured_lag


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as answer:
        text: str = answer.read().decode()
        return text


def test_the_metrics_are_served_while_the_body_runs() -> None:
    registry = CollectorRegistry()
    Counter("lamps", "Lamps.", registry=registry).inc()

    with serve_metrics(registry, "127.0.0.1", 0) as port:
        text = scrape(port)

    assert "lamps_total 1.0" in text
    with pytest.raises(OSError, match=r"refused|reset"):
        scrape(port)


def test_a_port_in_use_is_an_error_of_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(SettingsError, match=f"METRICS_PORT: cannot listen at .* port {port}"),
            serve_metrics(CollectorRegistry(), "127.0.0.1", port),
        ):
            pass


async def test_the_lag_of_the_event_loop_is_measured() -> None:
    lags: list[float] = []
    reported = asyncio.Event()

    def report(lag_s: float) -> None:
        lags.append(lag_s)
        reported.set()

    async with measured_lag(report, interval_s=0.001):
        time.sleep(0.05)  # noqa: ASYNC251 - blocks the loop on purpose
        await reported.wait()

    assert lags[0] > 0.04
