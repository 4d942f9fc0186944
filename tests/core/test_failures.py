"""The reasons of failed runs as sentences."""

from collections.abc import Sequence

import pytest

from tests.builders import failed
from twelvefold.core.events import Entry, Event, ToolError, ToolFailed
from twelvefold.core.failures import (
    error_text,
    failure_sentence,
    faults_sentence,
    incomplete_sentence,
    place_text,
)
from twelvefold.core.ids import CallId

NO_TABLE = ToolError("RuntimeError", "no such order table", "/shop.py", 12)


def fault(tool: str = "refund", error: ToolError | None = NO_TABLE) -> ToolFailed:
    return ToolFailed(CallId("2.0"), tool, "fault", "Error", error)


@pytest.mark.parametrize(
    ("events", "in_a_row", "sentence"),
    [
        (
            [fault()] * 3,
            3,
            "tool `refund` raised RuntimeError three times in a row: no such order table",
        ),
        (
            [fault()] * 12,
            12,
            "tool `refund` raised RuntimeError 12 times in a row: no such order table",
        ),
        (
            [fault(error=ToolError("ValueError", ""))],
            1,
            "tool `refund` raised ValueError once in a row",
        ),
        (
            [fault("book"), fault()],
            2,
            "tools raised twice in a row; the last was `refund`: RuntimeError: no such order table",
        ),
        (
            [fault(error=ToolError("KeyError", "'x'")), fault(), fault()],
            2,
            "tool `refund` raised RuntimeError twice in a row: no such order table",
        ),
        ([fault(error=None)], 1, ""),
        ([], 0, ""),
    ],
)
def test_the_faults_that_ended_a_run_become_a_sentence(
    events: Sequence[Event], in_a_row: int, sentence: str
) -> None:
    other = failed("2.0", "refund", "refused")

    entries = [Entry(position, 1, event, 0) for position, event in enumerate((other, *events), 1)]

    assert faults_sentence(entries, in_a_row) == sentence


@pytest.mark.parametrize(
    ("reason", "error", "sentence"),
    [
        ("tool_faults", "tool `x` raised", "Run failed: tool `x` raised"),
        ("database", "", "Run failed: the database reported an error that lasted"),
        ("database", "database", "Run failed: the database reported an error that lasted"),
        ("odd", "", "Run failed: odd"),
        ("odd", "odd", "Run failed: odd"),
        ("", "", "Run failed: no reason is recorded"),
    ],
)
def test_a_failure_is_a_sentence(reason: str, error: str, sentence: str) -> None:
    assert failure_sentence(reason, error) == sentence


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [("max_steps", "max_steps (the limit is MAX_STEPS)"), ("content_filter", "content_filter")],
)
def test_the_sentence_of_an_incomplete_run_names_its_limit(reason: str, sentence: str) -> None:
    assert incomplete_sentence(reason) == sentence


def test_the_text_of_an_exception_is_as_python_prints_it() -> None:
    assert error_text(NO_TABLE) == "RuntimeError: no such order table"
    assert error_text(ToolError("KeyboardInterrupt", "")) == "KeyboardInterrupt"


def test_the_place_of_an_exception_is_file_and_line() -> None:
    assert place_text(NO_TABLE) == "/shop.py, line 12"
    assert place_text(ToolError("RuntimeError", "")) == ""
