"""Trace and span ids are derived, so that a second emission has the same ones."""

import pytest

from tests.builders import asked
from twelvefold.core.events import Ancestry, RunStarted
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.trace_ids import (
    SpanContext,
    call_span,
    gap_span,
    reply_span,
    root_span,
    trace_of,
    wait_span,
)

RUN = RunId(ThreadId("a" * 44), 1)
CHILD = RunId(ThreadId("b" * 44), 1)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE}-{SPAN}-01"


def child(trace: str = "") -> RunStarted:
    ancestry = Ancestry(str(RUN), 1, "academy")
    return RunStarted(
        (),
        "ann",
        "billing",
        "1.0",
        parent=str(RUN),
        parent_call="2.0",
        ancestry=ancestry,
        trace=trace,
    )


def test_a_traceparent_is_read_and_written() -> None:
    context = SpanContext.parse(f" {CALLER} ")

    assert context == SpanContext(TRACE, SPAN, 1)
    assert str(context) == CALLER
    assert SpanContext.parse(CALLER[:-1] + "0") == SpanContext(TRACE, SPAN, 0)
    assert SpanContext.parse(f"01-{TRACE}-{SPAN}-03-more") == SpanContext(TRACE, SPAN, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        CALLER.upper(),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\nx: y",
    ],
)
def test_a_traceparent_that_is_not_valid_is_none(text: str) -> None:
    assert SpanContext.parse(text) is None


def test_a_run_without_a_caller_begins_a_trace() -> None:
    trace, again = trace_of(RUN, asked()), trace_of(RUN, asked("something else"))

    assert trace == again
    assert (trace.parent, trace.caller, trace.root) == (None, None, root_span(RUN))
    assert (len(trace.trace), len(trace.root)) == (32, 16)
    assert trace_of(CHILD, asked()).trace != trace.trace


def test_a_run_of_a_caller_is_part_of_its_trace() -> None:
    started = RunStarted((), "ann", "academy", "1.0", trace=CALLER)

    trace = trace_of(RUN, started)

    assert (trace.trace, trace.parent) == (TRACE, SPAN)
    assert trace.caller == SpanContext(TRACE, SPAN, 1)


def test_a_run_that_another_one_started_is_below_the_call() -> None:
    own, called = trace_of(CHILD, child()), trace_of(CHILD, child(CALLER))

    assert own.trace == trace_of(RUN, asked()).trace
    assert own.parent == called.parent == call_span(RUN, CallId("2.0"))
    assert called.trace == TRACE


def test_each_step_has_an_id_of_its_own() -> None:
    ids = {
        root_span(RUN),
        root_span(CHILD),
        *(make(RUN, position) for make in (reply_span, wait_span, gap_span) for position in (2, 3)),
        *(call_span(RUN, CallId(call)) for call in ("2.0", "2.1", "3.0")),
    }

    assert len(ids) == 11
