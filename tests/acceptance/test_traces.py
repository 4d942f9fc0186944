"""One enrolment that is killed twice and finished by a third process is one trace."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.killed_twice import enrol, slow_model
from tests.collector import ReceivedSpan, collecting
from twelvefold.app.opening import open_checked_services
from twelvefold.config import Settings
from twelvefold.core.ports import TraceExport
from twelvefold.core.trace_ids import SpanContext
from twelvefold.services.traces.exports import TraceExporter

pytestmark = pytest.mark.slow
GAP_NS = 100_000_000
NAMES = {
    "chat gpt-test-2026": 4,
    **{f"execute_tool {tool}": 1 for tool in ("get_course", "enrol", "send_welcome")},
    "wait retry": 2,
    "invoke_agent enrolment": 1,
}


def holes(root: ReceivedSpan, spans: Iterable[ReceivedSpan]) -> list[int]:
    """Return the times, in nanoseconds, that no span below the root covers."""
    ends = sorted((span.start_ns, span.end_ns) for span in spans if span.parent == root.id)
    found, covered = [], root.start_ns
    for start, end in [*ends, (root.end_ns, root.end_ns)]:
        found.append(start - covered)
        covered = max(covered, end)
    return [hole for hole in found if hole > GAP_NS]


@pytest.mark.timeout(180)
async def test_an_enrolment_that_is_killed_twice_is_one_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/academy.db"
    with collecting() as collector, slow_model() as model:
        run = await enrol(url, model, collector.environ())
        spans = collector.by_id()  # fails if there are two different spans with one id

        counts: dict[str, int] = {}
        for span in spans.values():
            counts[span.name] = counts.get(span.name, 0) + 1
        counts.pop("wait queue", None)  # a slow machine takes longer to begin
        assert counts == NAMES
        (root,) = (span for span in spans.values() if span.name == "invoke_agent enrolment")
        assert root.parent == ""
        assert all(span.parent == root.id for span in spans.values() if span is not root)
        assert len({span.trace for span in spans.values()}) == 1
        assert holes(root, spans.values()) == []
        chats = [id for id, span in spans.items() if span.name.startswith("chat")]
        asked = [SpanContext.parse(one) for one in model.traceparents]
        assert {one.span for one in asked if one} == set(chats)
        assert {one.trace for one in asked if one} == {root.trace}

        for name, value in collector.environ().items():
            monkeypatch.setenv(name, value)
        async with open_checked_services(Settings(database_url=url)) as services:
            assert isinstance(services.traces, TraceExporter)
            last = (await services.store.load(run.thread)).head
            await services.store.add_trace_export(TraceExport(run, last))
            async with services.store.write() as tx:
                await tx.execute("update trace_exports set due_at = 0")
            before = len(collector.spans)
            await services.traces.sweep()
            await asyncio.to_thread(services.traces.sink.flush)

        assert collector.by_id() == spans
        assert len(collector.spans) == before + len(spans)


def test_a_hole_is_found() -> None:
    def span(id: str, parent: str, start: int, end: int) -> ReceivedSpan:
        return ReceivedSpan("t", id, parent, id, start, end, {}, False, 1)

    root = span("root", "", 0, 10**9)
    parts = [span("a", "root", 0, 4 * 10**8), span("b", "root", 7 * 10**8, 10**9)]

    assert holes(root, parts) == [3 * 10**8]
    assert [later.start_ns - one.end_ns for one, later in pairwise(parts)] == [3 * 10**8]
