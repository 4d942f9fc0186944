"""The timeline of a run, from its entries alone."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from tests.builders import (
    added,
    allowed,
    approval_asked,
    asked,
    called,
    denied,
    entries,
    failed,
    finished,
    outcome_unknown,
    said,
    settled,
    succeeded,
)
from twelvefold.core.events import (
    ChildAnswered,
    ChildAsked,
    ChildrenStarted,
    Entry,
    Event,
    ModelAttempt,
    Usage,
    WaitEnded,
    WaitStarted,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import RunStatus
from twelvefold.core.timeline import MIN_QUEUE_US, Span, timeline

MS = 1_000
CALL = CallId("2.0")


def at(*times: tuple[int, Event]) -> tuple[Entry, ...]:
    """Return entries with their times in milliseconds."""
    plain = entries(*(event for _, event in times))
    moments = (ms * MS for ms, _ in times)
    return tuple(
        Entry(one.position, one.run, one.event, one.size, at_us)
        for one, at_us in zip(plain, moments, strict=True)
    )


def took(event: Any, ms: int) -> Any:
    return replace(event, took_us=ms * MS)


def shown(
    *times: tuple[int, Event], status: RunStatus = "completed", leased: bool = False
) -> list[tuple[object, ...]]:
    """Return kind, name, beginning, end and status of each span, in milliseconds."""
    return [_short(span) for span in timeline(at(*times), status, leased=leased)]


def _short(span: Span) -> tuple[object, ...]:
    ended = None if span.ended_us is None else span.ended_us // MS
    return span.kind, span.name, span.started_us // MS, ended, span.status


def waiting(event: str = "", question: str = "") -> WaitStarted:
    return WaitStarted(CALL, "enrol", event=event, question=question)


def child_asked(question: str = "", *, is_unknown: bool = False) -> ChildAsked:
    call = CallId("4.0")
    return ChildAsked(
        CALL, "bill", "resp_x", call, "shop", question=question, is_unknown=is_unknown
    )


def names(spans: Sequence[tuple[object, ...]]) -> list[object]:
    return [one[1] for one in spans]


# --- models and tools -------------------------------------------------------------------------


def test_work_takes_the_time_that_was_measured() -> None:
    assert shown(
        (100, asked()),
        (400, took(called("enrol"), 290)),
        (450, took(succeeded(), 45)),
        (600, took(said(), 140)),
        (600, finished()),
    ) == [
        ("model", "m-1", 110, 400, "completed"),
        ("tool", "enrol", 405, 450, "completed"),
        ("model", "m-1", 460, 600, "completed"),
    ]


def test_work_that_was_not_measured_began_with_the_entry_before() -> None:
    assert shown((100, asked()), (400, called("enrol")), (450, failed())) == [
        ("model", "m-1", 100, 400, "completed"),
        ("tool", "enrol", 400, 450, "fault"),
    ]


def test_a_reply_that_was_committed_with_its_call_ended_before_it() -> None:
    assert shown((0, asked()), (400, took(called("enrol"), 340)), (400, took(succeeded(), 50))) == [
        ("model", "m-1", 10, 350, "completed"),
        ("tool", "enrol", 350, 400, "completed"),
    ]


def test_a_result_of_an_earlier_reply_does_not_end_a_reply() -> None:
    late = took(succeeded(), 500)

    spans = shown((0, asked()), (10, called("enrol")), (20, said()), (900, late))

    assert spans[1] == ("model", "m-1", 10, 20, "completed")


def test_calls_at_the_same_time_overlap() -> None:
    assert shown(
        (0, asked()),
        (10, took(called("enrol", "bill"), 10)),
        (110, took(succeeded("2.0"), 100)),
        (115, took(succeeded("2.1", "bill"), 104)),
    )[1:] == [("tool", "enrol", 10, 110, "completed"), ("tool", "bill", 11, 115, "completed")]


def test_a_reply_has_its_tokens_and_attempts() -> None:
    attempt = ModelAttempt("fast", "it was down", Usage(input_tokens=7))
    reply = replace(said(), named="careful", attempts=(attempt,))

    [span] = timeline(at((0, asked()), (5, reply)), "completed", leased=False)

    assert (span.name, span.attempts, span.position) == ("careful", 2, 2)
    assert (span.input_tokens, span.output_tokens) == (107, 10)


def test_a_clock_that_goes_back_gives_no_negative_time() -> None:
    assert shown((100, asked()), (400, called("enrol")), (50, succeeded())) == [
        ("model", "m-1", 100, 400, "completed"),
        ("tool", "enrol", 400, 400, "completed"),
    ]


def test_items_that_were_added_are_no_work() -> None:
    assert shown((0, asked()), (10, said()), (10, finished()), (900, added())) == [
        ("model", "m-1", 0, 10, "completed")
    ]


# --- the queue --------------------------------------------------------------------------------


def test_a_gap_in_which_no_process_worked_is_time_in_the_queue() -> None:
    spans = shown((1_000, asked()), (3_000, took(said(), 100)))

    assert spans[0] == ("queue", "", 1_000, 2_900, "ended")


def test_a_short_gap_is_the_time_of_a_commit() -> None:
    short = MIN_QUEUE_US // MS - 1

    assert names(shown((1_000, asked()), (1_100 + short, took(said(), 100)))) == ["m-1"]


def test_a_run_without_a_process_is_in_the_queue() -> None:
    for status, leased in (("queued", False), ("running", False)):
        spans = shown((10, asked()), status=status, leased=leased)  # type: ignore[arg-type]

        assert spans == [("queue", "", 10, None, "open")]


def test_a_run_in_progress_has_an_open_span() -> None:
    started, replied = (10, asked()), (20, called("enrol"))

    assert shown(started, status="running", leased=True)[-1] == ("model", "", 10, None, "open")
    spans = shown(started, replied, status="running", leased=True)
    assert spans[-1] == ("tool", "enrol", 20, None, "open")


# --- waits ------------------------------------------------------------------------------------


def test_an_approval_is_a_wait_for_a_person() -> None:
    before = ((0, asked()), (10, called("enrol")), (11, approval_asked()))

    assert shown(*before, (900, allowed()), (990, took(succeeded(), 80)))[1:] == [
        ("wait", "approval", 11, 900, "approved"),
        ("tool", "enrol", 910, 990, "completed"),
    ]
    assert shown(*before, (900, denied()), (900, failed(failure="denied")))[1:] == [
        ("wait", "approval", 11, 900, "denied")
    ]
    assert shown(*before, status="waiting")[1:] == [("wait", "approval", 11, None, "open")]


def test_a_wait_follows_its_tool_and_has_its_result() -> None:
    for wait, name in (
        (waiting(), "time"),
        (waiting(event="paid"), "paid"),
        (waiting(question="Which?"), "answer"),
    ):
        spans = shown(
            (0, asked()),
            (10, called("enrol")),
            (40, took(wait, 30)),
            (990, WaitEnded(CALL, "event")),
            (990, succeeded()),
        )

        assert spans[1:] == [
            ("tool", "enrol", 10, 40, "waiting"),
            ("wait", name, 40, 990, "event"),
        ]


def test_a_wait_for_a_person_while_others_work_is_no_queue() -> None:
    spans = shown(
        (0, asked()),
        (10, called("enrol", "bill")),
        (11, approval_asked()),
        (800, took(succeeded("2.1", "bill"), 100)),
        status="waiting",
    )

    assert [one[0] for one in spans] == ["model", "wait", "tool"]


def test_a_run_below_is_a_wait_and_so_are_its_questions() -> None:
    before: list[tuple[int, Event]] = [
        (0, asked()),
        (10, called("bill")),
        (11, ChildrenStarted(CALL, "bill", ("resp_x",))),
    ]
    for ask, name in (
        (child_asked(), "approval"),
        (child_asked("Which?"), "answer"),
        (child_asked(is_unknown=True), "settlement"),
    ):
        answered = ChildAnswered(CALL, "resp_x", CallId("4.0"), "ann")

        spans = shown(
            *before,
            (20, ask),
            (50, answered),
            (90, WaitEnded(CALL, "children")),
            (90, succeeded()),
        )

        assert spans[1:] == [
            ("wait", "bill", 11, 90, "children"),
            ("wait", name, 20, 50, "answered"),
        ]


def test_an_unknown_outcome_waits_for_a_person_unless_it_is_final() -> None:
    before: list[tuple[int, Event]] = [
        (0, asked()),
        (10, called("enrol")),
        (40, outcome_unknown()),
    ]

    assert shown(*before, (70, settled(how="done")), (70, succeeded()))[1:] == [
        ("tool", "enrol", 10, 40, "unknown"),
        ("wait", "settlement", 40, 70, "done"),
    ]
    retried = shown(*before, (70, settled(how="retry")), (95, took(succeeded(), 20)))
    assert retried[-1] == ("tool", "enrol", 75, 95, "completed")
    final = replace(outcome_unknown(), final=True)
    assert [one[0] for one in shown(*before[:2], (40, final))] == ["model", "tool"]


def test_an_answer_without_a_question_ends_nothing() -> None:
    assert shown((0, asked()), (10, said()), (20, allowed())) == [
        ("model", "m-1", 0, 10, "completed")
    ]


# --- the end ----------------------------------------------------------------------------------


def test_the_end_of_a_run_ends_its_waits() -> None:
    spans = shown(
        (0, asked()),
        (10, called("enrol")),
        (11, approval_asked()),
        (500, finished("cancelled")),
        status="cancelled",
    )

    assert spans[1] == ("wait", "approval", 11, 500, "ended")


def test_work_that_failed_without_an_entry_is_shown_until_the_end() -> None:
    end = (900, finished("failed"))

    assert shown((0, asked()), end, status="failed") == [("model", "", 0, 900, "failed")]
    spans = shown((0, asked()), (10, called("enrol")), end, status="failed")
    assert spans[-1] == ("tool", "enrol", 10, 900, "failed")
    soon = (20, finished("failed"))
    assert len(shown((0, asked()), (10, called("enrol")), soon, status="failed")) == 1
