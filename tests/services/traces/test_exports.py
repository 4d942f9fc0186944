"""Traces of real runs, as a collector receives them."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest
from opentelemetry import trace as otel

from tests.collector import Collector, ReceivedSpan, collecting
from tests.testing.planted import billing, desk, hotel
from twelvefold import current_traceparent
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core.events import ApprovalAsked, RunStarted
from twelvefold.core.ids import RunId
from twelvefold.core.ports import NullListener, TraceExport
from twelvefold.core.tools.tool import tool
from twelvefold.core.trace_ids import RunTrace, SpanContext, root_span
from twelvefold.core.workflow import Workflow
from twelvefold.engine import answer, take
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.observe.run_spans import Span
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says
from twelvefold.services.traces import find_problem, wants_traces
from twelvefold.services.traces.exports import BATCH_SIZE, LOST_AFTER_S, TraceExporter
from twelvefold.services.traces.otlp import SpanSink
from twelvefold.services.traces.receipts import Receipt
from twelvefold.testing import TestApp
from twelvefold.testing.model import call

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
seen: dict[str, str] = {}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def traced(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """Let processes of this test export their traces."""
    for name, value in collector.environ().items():
        monkeypatch.setenv(name, value)
    return collector


def tree(spans: dict[str, ReceivedSpan]) -> dict[str, str]:
    """Return the name of each span's parent, by the span's name."""
    return {
        span.name: spans[span.parent].name if span.parent in spans else ""
        for span in spans.values()
    }


def note() -> str:
    context = otel.get_current_span().get_span_context()
    flags = int(context.trace_flags)
    here = str(SpanContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", flags))
    assert here == current_traceparent()
    return here


@tool(effect="pure")
async def look(item: str) -> str:
    """Look at an item."""
    seen["look"] = note()
    return item


@tool(effect="pure")
def weigh(item: str) -> int:
    """Weigh an item, in a thread."""
    seen["weigh"] = note()
    return len(item)


SHOP = Workflow("shop", "Sell.", (look, weigh))


async def test_a_run_is_one_trace(traced: Collector) -> None:
    async with TestApp([hotel]) as app:
        app.model.replies(call("book", room=4), "Booked.")
        run = await app.run(hotel, "Room 4, please, says ann@example.org", principal="ann-secret")

    spans = traced.by_id()
    assert run.status == "completed"
    assert tree(spans) == {
        "invoke_agent hotel": "",
        "execute_tool book": "invoke_agent hotel",
        **{name: "invoke_agent hotel" for name in tree(spans) if name.startswith("chat ")},
    }
    assert len(spans) == 4
    assert len({span.trace for span in spans.values()}) == 1
    assert "ann@example.org" not in repr(traced.spans) + repr(traced.resources)
    assert "ann-secret" not in repr(traced.spans)
    assert traced.resources[0]["service.name"] == "twelvefold"


async def test_a_sub_workflow_is_part_of_the_trace_of_its_parent(traced: Collector) -> None:
    async with TestApp([desk, billing]) as app:
        app.model.replies(call("billing", input="Bill room 4"), "Billed.", to=desk)
        app.model.replies("It is paid.", to=billing)
        run = await app.run(desk, "Check out", principal="ann")
        rows = await app.fetch_all("select thread_id from runs")
        store = app.session.services.store
        firsts = [(await store.load(row["thread_id"])).entries[0].event for row in rows]

    assert [isinstance(one, RunStarted) and one.sampled for one in firsts] == [True, True]
    spans = traced.by_id()
    assert run.status == "completed"
    assert tree(spans)["invoke_agent billing"] == "execute_tool billing"
    assert tree(spans)["execute_tool billing"] == "invoke_agent desk"
    assert len({span.trace for span in spans.values()}) == 1


async def test_tools_and_the_caller_are_in_the_trace(traced: Collector) -> None:
    asks = calls(("look", {"item": "x"}), ("weigh", {"item": "x"}))
    model = ScriptedModel(in_turn(asks, says("Seen.")))
    caller = SpanContext.parse(CALLER)
    assert caller
    context = otel.SpanContext(
        int(caller.trace, 16), int(caller.span, 16), True, otel.TraceFlags(1)
    )

    with otel.use_span(otel.NonRecordingSpan(context)):
        async with TestApp([SHOP], model=model) as app:
            await app.run(SHOP, "Look", principal="ann")

    spans = traced.by_id()
    (root,) = (span for span in spans.values() if span.name == "invoke_agent shop")
    assert (root.trace, root.parent) == (caller.trace, caller.span)
    for name in ("look", "weigh"):
        (span,) = (one for one in spans.values() if one.name == f"execute_tool {name}")
        assert seen[name] == str(SpanContext(caller.trace, span.id))


# --- what a dead process left ---------------------------------------------------------------------


async def test_the_spans_of_a_run_that_was_over_are_exported_by_another_process(
    traced: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process ends before it has exported anything: the collector was down."""
    traced.status = 400
    async with TestApp([hotel]) as app:
        app.model.replies("Hello.")
        run = RunId.parse((await app.run(hotel, "Hi")).id)
        exporter = app.session.services.traces
        assert isinstance(exporter, TraceExporter)
        await asyncio.to_thread(exporter.sink.flush)
        assert traced.spans == []
        (row,) = await app.fetch_all("select * from trace_exports")
        assert (row["thread_id"], row["ordinal"]) == (run.thread, run.ordinal)

        traced.status = 200
        await make_due(app.session.services)
        await exporter.sweep()
        await asyncio.to_thread(exporter.sink.flush)
        await exporter.confirm()

        first = traced.by_id()
        assert {span.name.partition(" ")[0] for span in first.values()} == {"invoke_agent", "chat"}
        assert root_span(run) in first
        assert await app.fetch_all("select * from trace_exports") == []
        # A second emission is the same, to the nanosecond.
        await app.session.services.store.add_trace_export(TraceExport(run, 3))
        await make_due(app.session.services)
        await exporter.sweep()
        await asyncio.to_thread(exporter.sink.flush)

        assert len(traced.spans) == 2 * len(first)
        assert traced.by_id() == first


async def test_the_answer_of_a_process_without_traces_ends_a_span(
    traced: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TestApp([hotel]) as app:
        app.model.replies(call("cancel", room=4), "Cancelled.")
        run = RunId.parse((await app.run(hotel, "Cancel room 4", principal="ann")).id)
        services = app.session.services
        assert isinstance(services.traces, TraceExporter)
        untraced = replace(services, traces=None)
        (waiting,) = (await services.store.load(run.thread)).entries[-1:]
        assert isinstance(waiting.event, ApprovalAsked)
        await answer(untraced, run, call=waiting.event.call, approved=True, by="bob")

        held = await take(services, run)
        await drive(services, held, NullListener())
        await asyncio.to_thread(services.traces.sink.flush)

    spans = traced.by_id()
    names = {span.name for span in spans.values()} - {"wait queue"}
    tool = "execute_tool cancel"
    assert names == {"chat scripted", tool, "invoke_agent hotel", "wait approval"}


async def test_the_spans_of_processes_without_traces_are_exported_by_the_next_with_them(
    traced: Collector,
) -> None:
    """One starts the run, a second without traces answers it, and a third one ends it."""
    async with TestApp([hotel]) as app:
        app.model.replies(call("cancel", room=4), "Cancelled.")
        run = RunId.parse((await app.run(hotel, "Cancel room 4", principal="ann")).id)
        services = app.session.services
        exporter = services.traces
        assert isinstance(exporter, TraceExporter)
        await asyncio.to_thread(exporter.sink.flush)
        await exporter.confirm()
        assert await app.fetch_all("select * from trace_exports") == []
        untraced = replace(services, traces=None)
        (waiting,) = (await services.store.load(run.thread)).entries[-1:]
        assert isinstance(waiting.event, ApprovalAsked)
        app.clock.advance(60)
        await answer(untraced, run, call=waiting.event.call, approved=True, by="bob")
        app.clock.advance(1)
        await drive(untraced, await take(untraced, run), NullListener())
        assert root_span(run) not in traced.by_id()

        await make_due(services)
        await exporter.sweep()
        await asyncio.to_thread(exporter.sink.flush)
        await exporter.confirm()

        assert await app.fetch_all("select * from trace_exports") == []
    spans = traced.by_id()  # fails if there are two different spans with one id
    names = {span.name for span in spans.values()} - {"wait queue"}
    tool = "execute_tool cancel"
    assert names == {"chat scripted", tool, "invoke_agent hotel", "wait approval"}
    assert {span.parent for span in spans.values()} == {"", root_span(run)}


async def test_a_process_with_another_sampler_keeps_the_decision(
    traced: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TestApp([hotel]) as app:
        app.model.replies(call("cancel", room=4), "Cancelled.")
        run = RunId.parse((await app.run(hotel, "Cancel room 4", principal="ann")).id)
        services = app.session.services
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        sink = SpanSink(dict(os.environ), "0")
        other = TraceExporter(services.store, sink)
        (waiting,) = (await services.store.load(run.thread)).entries[-1:]
        assert isinstance(waiting.event, ApprovalAsked)

        with_other = replace(services, traces=other)
        await answer(with_other, run, call=waiting.event.call, approved=True, by="bob")
        await drive(with_other, await take(with_other, run), NullListener())
        await asyncio.to_thread(sink.flush)
        await other.close()

    assert root_span(run) in traced.by_id()


async def make_due(services: Services) -> None:
    async with services.store.write() as tx:
        await tx.execute("update trace_exports set due_at = 0")


async def test_exports_of_deleted_runs_and_old_ones_are_given_up(
    traced: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    async with TestApp([hotel]) as app:
        exporter = app.session.services.traces
        assert isinstance(exporter, TraceExporter)
        gone = RunId.parse("resp_" + "0" * 44 + "1")
        for position in (3, 4):
            await app.session.services.store.add_trace_export(TraceExport(gone, position))
        async with app.session.services.store.write() as tx:
            age_us = round((LOST_AFTER_S + 60) * 1_000_000)
            await tx.execute(
                "update trace_exports set created_at = created_at - :age where position = 4",
                age=age_us,
            )
        await make_due(app.session.services)

        await exporter.sweep()

        assert await app.fetch_all("select * from trace_exports") == []
    assert "traces_lost" in caplog.text
    assert traced.spans == []


async def test_a_deleted_conversation_is_not_exported_later(
    traced: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    traced.status = 400
    async with TestApp([hotel]) as app:
        app.model.replies("Hello.")
        run = RunId.parse((await app.run(hotel, "Hi")).id)
        services = app.session.services
        exporter = services.traces
        assert isinstance(exporter, TraceExporter)
        await asyncio.to_thread(exporter.sink.flush)
        await services.store.delete_thread(run.thread)

        traced.status = 200
        await make_due(services)
        await exporter.sweep()
        await asyncio.to_thread(exporter.sink.flush)

        assert await app.fetch_all("select * from trace_exports") == []
    assert traced.spans == []


async def test_an_export_that_cannot_be_read_does_not_hold_up_the_others(
    traced: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Its run has an entry of a release that this one does not know."""
    async with TestApp([hotel]) as app:
        app.model.replies("Hello.", "Hello.")
        runs = [RunId.parse((await app.run(hotel, "Hi")).id) for _ in range(2)]
        services = app.session.services
        exporter = services.traces
        assert isinstance(exporter, TraceExporter)
        await asyncio.to_thread(exporter.sink.flush)
        traced.spans.clear()
        for run in runs:
            await services.store.add_trace_export(TraceExport(run, 3))
        async with services.store.write() as tx:
            await tx.execute(
                "update events set version = 99 where thread_id = :t", t=runs[0].thread
            )
            await tx.execute(
                "update trace_exports set due_at = 0 where thread_id = :t", t=runs[0].thread
            )
            await tx.execute(
                "update trace_exports set due_at = 1 where thread_id = :t", t=runs[1].thread
            )

        await exporter.sweep()
        await asyncio.to_thread(exporter.sink.flush)

        assert root_span(runs[1]) in traced.by_id()
        assert root_span(runs[0]) not in traced.by_id()
    assert "trace_not_exported" in caplog.text


# --- many exports ---------------------------------------------------------------------------------


class FakeSink:
    """Takes spans; `is_failing` is what it says of its collector."""

    captures_content = False

    def __init__(self, *, is_failing: bool) -> None:
        self.is_failing = is_failing
        self.runs: set[RunId] = set()

    def flags(self, trace: RunTrace, name: str) -> int:
        return 1

    def emit(self, trace: RunTrace, span: Span, receipt: Receipt) -> None:
        self.runs.add(trace.run)


async def leave_exports(app: TestApp, count: int, *, age_s: float = 0.0) -> None:
    """Let one run leave so many exports."""
    app.model.replies("Hello.")
    run = RunId.parse((await app.run(hotel, "Hi")).id)
    services = app.session.services
    for number in range(count):
        await services.store.add_trace_export(TraceExport(run, 3 + number))
    async with services.store.write() as tx:
        age_us = round(age_s * 1_000_000)
        await tx.execute(
            "update trace_exports set due_at = 0, created_at = created_at - :a", a=age_us
        )


@pytest.mark.parametrize(
    ("count", "is_failing", "has_more"),
    [
        (BATCH_SIZE, False, True),
        (BATCH_SIZE - 1, False, False),
        (BATCH_SIZE, True, False),
    ],
)
async def test_a_search_goes_on_at_once_while_the_collector_takes_spans(
    count: int, is_failing: bool, has_more: bool
) -> None:
    async with TestApp([hotel]) as app:
        await leave_exports(app, count)
        sink = FakeSink(is_failing=is_failing)
        exporter = TraceExporter(app.session.services.store, cast("SpanSink", sink))

        assert await exporter.sweep() is has_more

        assert len(sink.runs) == 1


async def test_all_exports_that_are_too_old_are_removed_while_the_collector_fails() -> None:
    async with TestApp([hotel]) as app:
        await leave_exports(app, 2 * BATCH_SIZE + 1, age_s=LOST_AFTER_S + 60)
        sink = FakeSink(is_failing=True)
        exporter = TraceExporter(app.session.services.store, cast("SpanSink", sink))

        await exporter.sweep()

        assert await app.fetch_all("select * from trace_exports") == []
        assert sink.runs == set()


async def test_one_run_is_tried_while_the_collector_fails() -> None:
    async with TestApp([hotel]) as app:
        for _ in range(3):
            await leave_exports(app, 1)
        sink = FakeSink(is_failing=True)
        exporter = TraceExporter(app.session.services.store, cast("SpanSink", sink))

        await exporter.sweep()

        assert len(sink.runs) == 1
        assert len(await app.fetch_all("select * from trace_exports")) == 3


# --- collectors that do not work ------------------------------------------------------------------


async def test_a_collector_that_is_down_fails_no_run_and_is_logged_once(
    traced: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="twelvefold")
    traced.status = 400
    async with TestApp([hotel]) as app:
        exporter = app.session.services.traces
        assert isinstance(exporter, TraceExporter)
        for _ in range(3):
            app.model.replies("Hello.")
            assert (await app.run(hotel, "Hi")).status == "completed"
            await asyncio.to_thread(exporter.sink.flush)
        assert len(await app.fetch_all("select * from trace_exports")) == 3
        traced.status = 200
        app.model.replies("Hello.")
        await app.run(hotel, "Hi")
        await asyncio.to_thread(exporter.sink.flush)

    assert caplog.text.count("traces_not_exported") == 1
    assert caplog.text.count("traces_exported_again") == 1
    assert "Failed to export" not in caplog.text


async def test_a_collector_that_hangs_delays_no_run(traced: Collector) -> None:
    traced.hold = threading.Event()
    async with TestApp([hotel]) as app:
        for _ in range(2):
            app.model.replies("Hello.")
            assert (await app.run(hotel, "Hi")).status == "completed"
        assert len(await app.fetch_all("select * from trace_exports")) == 2
    traced.hold.set()


# --- sampling, content, off -----------------------------------------------------------------------


async def run_once(app: TestApp) -> None:
    app.model.replies("Hello, said the porter.")
    await app.run(hotel, "Hi", principal="ann")


async def test_a_trace_that_is_not_sampled_is_not_exported(
    traced: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with TestApp([hotel]) as app:
        await run_once(app)
        assert await app.fetch_all("select * from trace_exports") == []

    assert traced.requests == 0


async def test_texts_are_exported_if_the_operator_opts_in(
    traced: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front-desk")
    async with TestApp([hotel]) as app:
        await run_once(app)

    assert "Hello, said the porter." in repr(traced.spans)
    assert traced.resources[0]["service.name"] == "front-desk"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "desk", "OTEL_RESOURCE_ATTRIBUTES": "a=b"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_the_standard_variables_switch_traces_on(environ: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environ) is wanted
    assert find_problem(environ) == ""


def test_what_prevents_traces_is_named() -> None:
    on = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}

    assert "grpc" in find_problem({**on, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert "zipkin" in find_problem({"OTEL_TRACES_EXPORTER": "zipkin"})


async def test_traces_that_cannot_be_exported_are_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    async with open_services(Settings(database_url="sqlite://")) as services:
        assert services.traces is None

    assert "traces_off" in caplog.text


OFF = """
import asyncio, sys
from tests.testing.planted import hotel
from twelvefold.testing import TestApp
async def main():
    async with TestApp([hotel]) as app:
        app.model.replies("Hello.")
        assert (await app.run(hotel, "Hi")).status == "completed"
asyncio.run(main())
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_opentelemetry_is_not_imported_without_a_collector() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}

    subprocess.run([sys.executable, "-c", OFF], check=True, env=environ | {"PYTHONPATH": "."})
