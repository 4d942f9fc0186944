"""Runs that wait, on MariaDB: each wait ends once, killed wherever its processes are."""

import os

import pytest

from tests.acceptance.waits.__main__ import play
from tests.testing.planted import hotel
from twelvefold.testing import call, crash_matrix

pytestmark = [pytest.mark.mysql, pytest.mark.timeout(900)]
URL = os.environ.get("DATABASE_URL", "")


@pytest.fixture(autouse=True)
def _server() -> None:
    if not URL.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")


async def test_runs_that_wait_survive_processes_that_are_killed() -> None:
    report = await play(URL, 9, 2, most_kills=8)

    assert report.is_clean, str(report)
    assert report.kills


@pytest.mark.slow
def test_a_timer_survives_a_kill_at_every_boundary() -> None:
    report = crash_matrix(
        hotel, "In three days", replies=[call("remind", days=3), "It is time."], database=URL
    )

    assert report.ok, report
    assert report.status == "completed"
    assert any("begins to wait" in one.place for one in report.boundaries)
    assert any("WaitEnded" in one.place for one in report.boundaries)


@pytest.mark.slow
def test_an_answer_an_event_and_an_approval_survive_a_kill_at_every_boundary() -> None:
    report = crash_matrix(
        hotel,
        "Room 4, please, in the colour that I like",
        replies=[
            call("ask_colour"),
            call("await_payment", room=4),
            call("cancel", room=4),
            call("book", room=5),
            "Booked.",
        ],
        answers={"ask_colour": "red", "payment:4": {"paid": True}},
        database=URL,
    )

    assert report.ok, report
    assert report.status == "completed"
    assert any("WaitEnded" in one.place for one in report.boundaries)
    assert any("ApprovalAnswered" in one.place for one in report.boundaries)
