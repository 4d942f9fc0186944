"""`crash_matrix` finds a tool that writes beside its transaction, and passes one that does not."""

import pytest

from tests.testing.planted import hotel
from twelvefold import Workflow
from twelvefold.testing import call, crash_matrix


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


def test_a_workflow_that_no_other_process_can_import_is_refused() -> None:
    local = Workflow("local", "…", hotel.tools)

    with pytest.raises(ValueError, match="assign it to a name at the top of a module"):
        crash_matrix([local], "Room 4")


def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="No module named 'no_such_module'"):
        crash_matrix("no_such_module:workflow", "Room 4")
