"""A part of factor XI: traces are a stream of events too, over OTLP, without a text of a run."""

import signal
from importlib.util import find_spec

from twelvefold.factors.harness import FakeCollector, FakeModelServer, Report, TestBed

EXPORT_TIMEOUT_S = 30.0
SECRET = "unspoken"  # noqa: S105 - a word of the user's that must not be exported
NOWHERE = "http://127.0.0.1:9"
"""A collector that is down: the port of discard, where nothing listens."""


async def check_telemetry(bed: TestBed, report: Report) -> None:
    """Check the traces of a run, and that a collector that is down does not disturb one."""
    if not _is_installed():
        report.record("traces are not claimed: the extra twelvefold[otel] is not installed")
        return
    url = await bed.databases.create_migrated()
    async with FakeModelServer().serve() as model, FakeCollector().serve() as collector:
        settings = bed.process_settings(url, model, WEB_DRIVES="background")
        web = await bed.processes.start_web(settings | collector.environ)
        await web.http.post("/v1/responses", model="bookings", input=f"book {SECRET}")
        await _wait_for_trace(bed, collector)
        await web.stop(signal.SIGTERM)
        _check_trace(collector, report)
        down = collector.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}
        web = await bed.processes.start_web(settings | down)
        run = await web.http.post("/v1/responses", model="bookings", input="book untraced")
        status = await web.stop(signal.SIGTERM)
        report.expect(
            (run.status, run.body.get("status"), status) == (200, "completed", 0),
            "a collector that is down disturbed no run, and no exit",
            f"while the collector was down a run returned HTTP {run.status}; the exit status was "
            f"{status}",
        )


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


async def _wait_for_trace(bed: TestBed, collector: FakeCollector) -> None:
    try:
        async with bed.timeout(EXPORT_TIMEOUT_S):
            await collector.wait_for(b"invoke_agent bookings")
    except TimeoutError:
        pass


def _check_trace(collector: FakeCollector, report: Report) -> None:
    names = ("invoke_agent bookings", "chat fake", "execute_tool book")
    missing = [name for name in names if not collector.has(name.encode())]
    report.expect_in_time(
        not missing,
        f"a collector received the spans {', '.join(names)}",
        f"a collector did not receive the spans {', '.join(missing)}",
    )
    report.expect(
        not collector.has(SECRET.encode()),
        "no text of the run was in its spans",
        "a text of the run was in its spans",
    )
