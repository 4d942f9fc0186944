"""What the engine reports to the metrics of its process."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.engine.drive.stories import LAMP
from tests.engine.fallback.stories import process_with
from tests.engine.family.stories import firm, run_boss
from tests.engine.stage import (
    RecordingListener,
    Stage,
    Trouble,
    cut_off,
    drive_new,
    resume,
    start,
)
from twelvefold.core.events import Event
from twelvefold.core.models import Fallback
from twelvefold.core.ports import CallKey, Listener, ModelReply, ModelRequest, NullListener
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.engine.measured_model import MeasuredModel
from twelvefold.errors import ModelUnavailable, StaleRun
from twelvefold.observe import metrics
from twelvefold.observe.metrics import MailOutcome, Service
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says


class FakeMetrics:
    """Records what is reported, without times."""

    def __init__(self) -> None:
        self.reports: list[tuple[Any, ...]] = []
        self.driven = 0

    def drive_started(self) -> None:
        self.driven += 1
        self.reports.append(("driven",))

    def drive_ended(self) -> None:
        self.driven -= 1

    def recorded(self, workflow: str, events: Sequence[Event]) -> None:
        self.reports += [(workflow, type(event).__name__) for event in events]

    def step(self, workflow: str, seconds: float) -> None:
        assert seconds > 0
        self.reports.append(("step", workflow))

    def tool(self, tool: str, seconds: float) -> None:
        assert seconds > 0
        self.reports.append(("tool", tool))

    def model(self, model: str, seconds: float, first_s: float | None, error: str) -> None:
        assert seconds >= (first_s or 0) >= 0
        self.reports.append(("model", model, first_s is not None, error))

    def retried(self, service: Service) -> None:
        self.reports.append(("retried", service))

    def lease_lost(self) -> None:
        self.reports.append(("lease_lost",))

    def taken_over(self, workflow: str) -> None:
        self.reports.append(("taken_over", workflow))

    def mail(self, outcome: MailOutcome) -> None:
        self.reports.append(("mail", outcome))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.reports.append(("request", method, route, status))


@pytest.fixture
def measured() -> Iterator[FakeMetrics]:
    fake = FakeMetrics()
    with metrics.reported_to(fake):
        yield fake


async def test_a_run_reports_its_entries_steps_replies_and_tools(
    stage: Stage, measured: FakeMetrics
) -> None:
    await drive_new(stage.process(calls(("buy", LAMP)), says("It is yours.")))

    assert measured.reports == [
        ("shop", "RunStarted"),
        ("driven",),
        ("model", "default", False, ""),
        ("tool", "buy"),
        ("shop", "ModelReplied"),
        ("shop", "ToolSucceeded"),
        ("step", "shop"),
        ("model", "default", True, ""),
        ("shop", "ModelReplied"),
        ("shop", "RunFinished"),
        ("step", "shop"),
    ]
    assert measured.driven == 0


async def test_a_measured_model_passes_everything_on(stage: Stage, measured: FakeMetrics) -> None:
    listener = RecordingListener()

    await drive_new(stage.process(says("It is yours.")), listener)

    assert listener.texts == ["It is yours."]


async def test_each_model_of_a_chain_reports_its_error(stage: Stage, measured: FakeMetrics) -> None:
    failed = ModelUnavailable("503").loggable()
    services = process_with(
        stage, Fallback("fast", "careful"), {"fast": [failed], "careful": [says("Hi.")]}
    )

    await drive_new(services)

    models = [report for report in measured.reports if report[0] == "model"]
    assert models == [
        ("model", "fast", False, "ModelUnavailable"),
        ("model", "careful", True, ""),
    ]


async def test_a_text_that_is_void_is_passed_on(stage: Stage, measured: FakeMetrics) -> None:
    class Breaking:
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            listener.text("It is")
            listener.restarted("the connection broke")
            listener.text("It is yours.")
            script = in_turn(says("It is yours."))
            return await ScriptedModel(script).reply(request, NullListener())

        async def close(self) -> None:
            """Do nothing."""

    listener = RecordingListener()
    await drive_new(stage.process(model=Breaking()), listener)

    assert listener.texts == ["It is yours."]


async def test_a_run_that_another_process_took_over_is_a_lost_lease(
    stage: Stage, measured: FakeMetrics
) -> None:
    services = stage.process(calls(("buy", LAMP)), says("Bye."))
    run = await start(services)
    await stage.let_leases_run_out()
    theirs = await take(stage.process(), run.run)

    with pytest.raises(StaleRun):
        await drive(services, run, NullListener())

    assert ("taken_over", "shop") in measured.reports
    assert ("lease_lost",) in measured.reports
    await drive(stage.process(says("Bye.")), theirs, NullListener())


async def test_a_run_that_was_given_back_is_not_taken_over(
    stage: Stage, measured: FakeMetrics
) -> None:
    outcome = await drive_new(stage.process(ModelUnavailable("503")))

    await resume(stage.process(says("Hello.")), outcome.run)

    assert ("taken_over", "shop") not in measured.reports


async def test_statements_and_calls_that_are_repeated_are_retries(
    stage: Stage, measured: FakeMetrics
) -> None:
    seconds = [20, 0]

    @tool(timeout_s=0.01)
    async def tell(key: CallKey) -> str:
        """Tell it."""
        await asyncio.sleep(seconds.pop(0))
        return "told"

    workflow = Workflow("shop", "Sell.", (tell,))
    trouble = Trouble(cut_off, places=("before a step's transaction",))
    services = stage.process(calls(("tell", {})), says("Bye."), workflow=workflow, trouble=trouble)

    await drive_new(services)

    assert measured.reports.count(("retried", "database")) == 1
    assert measured.reports.count(("retried", "tool")) == 1


async def test_the_start_of_a_child_is_reported(stage: Stage, measured: FakeMetrics) -> None:
    services = firm(stage, calls(("clerk", {"input": "a lamp"})), says("Done."))

    await run_boss(services)

    assert ("clerk", "RunStarted") in measured.reports


async def test_a_measured_model_closes_its_model(measured: FakeMetrics) -> None:
    class Open:
        is_open = True

        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            raise AssertionError("it is not asked")

        async def close(self) -> None:
            self.is_open = False

    model = Open()
    await MeasuredModel("default", model, measured).close()

    assert not model.is_open
