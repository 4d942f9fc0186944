"""What a process measures, as Prometheus reads it."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.builders import HASH
from twelvefold.core.budget import Price
from twelvefold.core.events import (
    ItemsAdded,
    ModelAttempt,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitStarted,
)
from twelvefold.core.ids import CallId
from twelvefold.observe import metrics
from twelvefold.observe.metrics.instruments import Instruments
from twelvefold.observe.metrics.recorder import KnownNames, Recorder

CALL = CallId("2.0")
KNOWN = KnownNames(
    workflows=("shop",),
    tools=("buy",),
    models={"default": "gpt-5-mini", "fast": "fast"},
    prices={"default": Price(250_000, 25_000, 2_000_000)},
)
MODEL = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "gpt-5-mini"}


class Measured:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.recorder = Recorder(Instruments(self.registry), KNOWN)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def measured() -> Measured:
    return Measured()


def test_counters_with_known_labels_begin_at_0(measured: Measured) -> None:
    assert measured.value("twelvefold_runs_started_total", workflow="shop") == 0
    assert measured.value("twelvefold_runs_finished_total", workflow="shop", status="failed") == 0
    assert measured.value("twelvefold_takeovers_total", workflow="shop") == 0
    assert measured.value("twelvefold_retries_total", service="model") == 0
    assert measured.value("twelvefold_mails_total", outcome="dead") == 0


def test_runs_are_counted_by_workflow_and_status(measured: Measured) -> None:
    started = RunStarted((), "ann", "shop", "r1")

    measured.recorder.recorded("shop", [started])
    measured.recorder.recorded("shop", [RunFinished("failed", "tool_faults")])

    assert measured.value("twelvefold_runs_started_total", workflow="shop") == 1
    assert measured.value("twelvefold_runs_finished_total", workflow="shop", status="failed") == 1


def test_tokens_and_cost_are_counted_by_model(measured: Measured) -> None:
    usage = Usage(input_tokens=1_000, output_tokens=100, cached_tokens=400, reasoning_tokens=30)
    attempt = ModelAttempt("fast", "503", Usage(input_tokens=7))

    measured.recorder.recorded("shop", [ModelReplied((), usage, "x", HASH, attempts=(attempt,))])

    tokens = "gen_ai_client_inference_usage_{}_total"
    assert measured.value(tokens.format("input_tokens"), **MODEL) == 1_000
    assert measured.value(tokens.format("output_tokens"), **MODEL) == 100
    assert measured.value(tokens.format("cache_read_input_tokens"), **MODEL) == 400
    assert measured.value(tokens.format("reasoning_output_tokens"), **MODEL) == 30
    fast = {**MODEL, "gen_ai_request_model": "fast"}
    assert measured.value(tokens.format("input_tokens"), **fast) == 7
    cost = measured.value("twelvefold_cost_usd_total", workflow="shop", model="gpt-5-mini")
    assert cost == pytest.approx(0.00036)
    assert measured.value("twelvefold_cost_usd_total", workflow="shop", model="fast") is None


def test_calls_are_counted_by_tool_and_outcome(measured: Measured) -> None:
    measured.recorder.recorded(
        "shop",
        [
            ToolSucceeded(CALL, "buy", "a lamp"),
            ToolFailed(CALL, "buy", "refused", "no dragons"),
            ToolFailed(CALL, "invented by the model", "unknown_tool", "there is none"),
            WaitStarted(CALL, "buy"),
            OutcomeUnknown(CALL, "buy"),
            ItemsAdded(()),
        ],
    )

    calls = "twelvefold_tool_calls_total"
    for outcome in ("succeeded", "refused", "waiting", "unknown"):
        assert measured.value(calls, tool="buy", outcome=outcome) == 1
    assert measured.value(calls, tool="other", outcome="unknown_tool") == 1


def test_durations_are_histograms(measured: Measured) -> None:
    measured.recorder.step("shop", 0.02)
    measured.recorder.tool("buy", 0.3)
    measured.recorder.model("default", 1.5, 0.4, "")
    measured.recorder.model("default", 3.0, None, "ModelUnavailable")
    measured.recorder.loop_lag(0.002)

    assert measured.value("twelvefold_step_duration_seconds_sum", workflow="shop") == 0.02
    assert measured.value("gen_ai_execute_tool_duration_seconds_sum", gen_ai_tool_name="buy") == 0.3
    duration = "gen_ai_client_inference_duration_seconds_sum"
    assert measured.value(duration, **MODEL, error_type="") == 1.5
    assert measured.value(duration, **MODEL, error_type="ModelUnavailable") == 3.0
    first = "gen_ai_client_inference_time_to_first_chunk_seconds_count"
    assert measured.value(first, **MODEL) == 1
    assert measured.value("twelvefold_event_loop_lag_seconds_count") == 1


def test_events_of_the_process_are_counted(measured: Measured) -> None:
    recorder = measured.recorder
    recorder.drive_started()
    recorder.drive_started()
    recorder.drive_ended()
    recorder.retried("database")
    recorder.lease_lost()
    recorder.taken_over("shop")
    recorder.mail("deferred")

    assert measured.value("twelvefold_runs_driven") == 1
    assert measured.value("twelvefold_retries_total", service="database") == 1
    assert measured.value("twelvefold_lease_losses_total") == 1
    assert measured.value("twelvefold_takeovers_total", workflow="shop") == 1
    assert measured.value("twelvefold_mails_total", outcome="deferred") == 1


def test_requests_are_counted_by_route_and_status(measured: Measured) -> None:
    measured.recorder.request("POST", "/v1/responses", 200, 0.1)
    measured.recorder.request("BREW", "", 404, 0.1)

    requests = "twelvefold_http_requests_total"
    assert measured.value(requests, method="POST", route="/v1/responses", status="200") == 1
    assert measured.value(requests, method="other", route="other", status="404") == 1
    assert measured.value("twelvefold_http_request_duration_seconds_count", route="other") == 1


def test_text_of_callers_and_models_is_no_label(measured: Measured) -> None:
    secret = "sk-a-secret"
    recorder = measured.recorder

    recorder.recorded(secret, [RunStarted((), secret, secret, secret), RunFinished("completed")])
    recorder.recorded(secret, [ModelReplied((), Usage(input_tokens=1), secret, HASH, named=secret)])
    recorder.recorded(secret, [ToolFailed(CALL, secret, "unknown_tool", secret)])
    recorder.step(secret, 1.0)
    recorder.tool(secret, 1.0)
    recorder.model(secret, 1.0, 1.0, "")
    recorder.taken_over(secret)
    recorder.request(secret, "", 404, 1.0)

    assert secret not in generate_latest(measured.registry).decode()
    assert measured.value("twelvefold_runs_started_total", workflow="other") == 1


def test_a_run_is_driven_while_the_body_runs(measured: Measured) -> None:
    with metrics.driven_run(), metrics.reported_to(measured.recorder):
        assert measured.value("twelvefold_runs_driven") == 0
        with metrics.driven_run():
            assert measured.value("twelvefold_runs_driven") == 1
        assert measured.value("twelvefold_runs_driven") == 0

    assert metrics.active is None
