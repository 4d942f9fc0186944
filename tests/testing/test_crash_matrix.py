"""`crash_matrix` finds a tool that writes beside its transaction, and passes one that does not."""

import os
import sys
from pathlib import Path

import pytest

from tests.testing.planted import billing, board, desk, hotel, reception
from twelvefold import Workflow
from twelvefold.testing import TestApp, call, crash_matrix
from twelvefold.testing.crash.jobs import Ending
from twelvefold.testing.crash.report import Baseline
from twelvefold.testing.crash.rows import JOURNAL


def test_rows_that_commit_with_the_journal_are_there_once() -> None:
    report = crash_matrix(hotel, "Room 4, please", replies=[call("book", room=4), "Booked."])

    assert report.ok, report
    assert report.status == "completed"
    assert len(report.boundaries) == 17
    assert any("COMMIT sent, not answered" in one.place for one in report.boundaries)


def test_a_row_that_a_tool_commits_itself_is_doubled() -> None:
    report = crash_matrix(hotel, "Room 4", replies=[call("book_beside", room=4), "Booked."])

    assert not report.ok
    assert report.doubled >= 1
    assert report.lost == 0
    (first, *_) = [one for one in report.boundaries if one.doubled]
    assert first.doubled == ('bookings: {"room":4}',)
    assert "doubled: bookings" in str(report)


def test_an_unsafe_call_that_was_interrupted_asks_a_person() -> None:
    report = crash_matrix(hotel, "Ring room 4", replies=[call("ring", room=4), "It rang."])

    assert report.ok, report
    assert [one.place for one in report.boundaries if one.asks]
    assert "asks a person" in str(report)


def ending(status: str, bookings: int, outcome: str) -> Ending:
    rows = [{"room": 4}] * bookings
    return Ending(status, "", {"bookings": rows, "calls of ring": [{"outcome": outcome}]})


def test_a_run_that_asks_a_person_has_doubled_nothing() -> None:
    whole = ending("completed", 1, "succeeded")
    baseline = Baseline(whole, whole)

    for bookings in (0, 1):
        asking = baseline.compare("here", ending("waiting", bookings, "unknown"))
        assert (asking.ok, asking.asks) == (True, True)

    doubled = baseline.compare("here", ending("waiting", 2, "unknown"))
    assert doubled.doubled == ('bookings: {"room":4}',)
    assert not doubled.ok


@pytest.mark.slow
@pytest.mark.mysql
def test_numbers_that_a_server_skips_are_no_difference() -> None:
    report = crash_matrix(
        board, "Key 4", replies=[call("take", room=4), "Done."], database=os.environ["DATABASE_URL"]
    )

    assert report.ok, report
    assert report.ignored == ()


def test_approvals_are_given_and_their_commits_are_boundaries() -> None:
    report = crash_matrix(
        hotel, "Book and cancel", replies=[call("book", room=4), call("cancel", room=4), "Done."]
    )

    assert report.ok, report
    assert any("ApprovalAnswered" in one.place for one in report.boundaries)


def test_a_run_that_fails_in_the_same_way_each_time_is_compared_as_well() -> None:
    report = crash_matrix(hotel, "Room 4", replies=[call("book", room=4)])

    assert report.ok, report
    assert report.status == "failed"


def test_each_process_opens_the_resources() -> None:
    report = crash_matrix(reception, "Ring", replies=[call("ring_bell"), "I rang."])

    assert report.ok, report
    assert report.status == "completed"


def test_the_demo_model_replies_without_a_script() -> None:
    report = crash_matrix("examples.shopping:workflow", "Put milk on the list", principal="ann")

    assert report.ok, report
    assert report.status == "completed"


def test_columns_that_differ_anyway_are_not_compared() -> None:
    report = crash_matrix(hotel, "A key, please", replies=[call("make_key"), "Here it is."])

    assert report.ok, report
    assert report.ignored == ("calls of make_key.result",)


def test_a_workflow_that_does_something_else_each_time_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="two undisturbed runs differ"):
        crash_matrix(hotel, "Rooms, please", replies=[call("book_some"), "Booked."])


def test_a_module_that_ends_its_process_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text("import os\nos._exit(3)\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ValueError, match="the process that imports the workflow ended"):
            crash_matrix("ending:workflow", "Hello")
    finally:
        sys.path.remove(str(tmp_path))


def test_a_workflow_that_no_other_process_can_import_is_refused() -> None:
    local = Workflow("local", "…", hotel.tools)

    with pytest.raises(ValueError, match="assign it to a name at the top of a module"):
        crash_matrix([local], "Room 4")


def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="No module named 'no_such_module'"):
        crash_matrix("no_such_module:workflow", "Room 4")


async def test_the_tables_of_the_journal_are_those_of_an_empty_database() -> None:
    async with TestApp([]) as app:
        rows = await app.fetch_all("select name from sqlite_master where type = 'table'")

    assert {row["name"] for row in rows} == JOURNAL


@pytest.mark.slow
def test_a_run_and_its_child_are_killed_at_every_boundary_of_both() -> None:
    report = crash_matrix(
        [desk, billing],
        "Book room 4 and bill it",
        replies={
            "desk": [call("book", room=4), call("billing", input="Bill room 4"), "Billed."],
            "billing": [call("book", room=5), "The bill is written."],
        },
    )

    assert report.ok, report
    assert report.status == "completed"
    assert any("WaitEnded, billing" in one.place for one in report.boundaries)
