"""`/metrics` of `twelvefold web` and `twelvefold worker`."""

import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Twelvefold
from tests.cli.test_web import serving
from tests.cli.test_worker import start, wait_for
from tests.observe.metrics.exposition import parse, read, value_of


def port_of(lines: list[dict[str, Any]]) -> int:
    [ready] = [line for line in lines if line["event"] == "metrics_ready"]
    port: int = ready["port"]
    return port


@pytest.mark.usefixtures("shop")
def test_web_serves_metrics_at_a_port_of_its_own(here: Path) -> None:
    with serving(here, METRICS_PORT="0") as web:
        web.get("/healthz")
        port = port_of(web.lines)
        while 'route="/healthz"' not in (text := read(port)):  # counted after its response
            time.sleep(0.02)
        metrics = parse(text)

        with pytest.raises(urllib.error.HTTPError, match="404"):
            web.get("/metrics")

    assert value_of(metrics, "twelvefold_database_up") == 1
    requests = "twelvefold_http_requests_total"
    assert value_of(metrics, requests, method="GET", route="/healthz", status="200") == 1
    assert value_of(metrics, "twelvefold_runs", workflow="shop", status="queued") == 0
    assert value_of(metrics, "twelvefold_build_info", release="0.1.0") == 1


@pytest.mark.usefixtures("shop")
def test_a_worker_measures_the_runs_that_it_drives(here: Path, tw: Twelvefold) -> None:
    tw("run", 'call pay {"cents": 3}')
    run = tw("runs", "list", "--json").json["run"]
    assert tw("runs", "approve", run, "--call", "2.0", "--detach").status == 0

    with start(here, METRICS_PORT="0") as process:
        port = wait_for("metrics_ready", process)["port"]
        wait_for("run_rested", process)
        metrics = parse(read(port))

    finished = "twelvefold_runs_finished_total"
    assert value_of(metrics, finished, workflow="shop", status="completed") == 1
    assert value_of(metrics, "twelvefold_tool_calls_total", tool="pay", outcome="succeeded") == 1
    assert value_of(metrics, "twelvefold_step_duration_seconds_count", workflow="shop") == 2
    tokens = "gen_ai_client_inference_usage_input_tokens_total"
    assert value_of(metrics, tokens, gen_ai_operation_name="chat")
