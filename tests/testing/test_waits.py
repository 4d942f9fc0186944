"""Waits in tests: the clock of a test ends timers, and each wait survives every kill."""

from datetime import timedelta

import pytest

from tests.testing.planted import hotel
from twelvefold.testing import SyncTestApp, call, crash_matrix


def test_a_timer_ends_when_the_test_moves_the_time(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies(call("remind", days=3), "It is time.")

    waiting = app.run(hotel, "Remind me in three days")
    app.clock.advance(timedelta(days=2))
    app.work(until_idle=True)
    early = app.get(waiting.id)
    app.clock.advance(timedelta(days=1))
    app.work(until_idle=True)
    run = app.get(waiting.id)

    assert (waiting.status, early.status) == ("waiting", "waiting")
    assert (run.status, run.text) == ("completed", "It is time.")


@pytest.mark.slow
def test_a_timer_an_event_and_a_question_survive_a_kill_at_every_boundary() -> None:
    report = crash_matrix(
        hotel,
        "Room 4, please, in the colour that I like",
        replies=[
            call("ask_colour"),
            call("await_payment", room=4),
            call("remind", days=3),
            call("book", room=5),
            "Booked.",
        ],
        answers={"ask_colour": "red", "payment:4": {"paid": True}},
    )

    assert report.ok, report
    assert report.status == "completed"
    assert any("WaitEnded" in one.place for one in report.boundaries)


def test_an_event_that_does_not_come_is_a_run_that_waits() -> None:
    report = crash_matrix(hotel, "Room 4", replies=[call("await_payment", room=4), "No."])

    assert report.ok, report
    assert report.status == "waiting"


def test_a_question_is_answered_and_an_event_is_sent(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies(call("ask_colour"), call("await_payment", room=4), "Paid.")

    asked = app.run(hotel, "Room 4", principal="ann")
    waiting = app.resume(asked.id, answer="red", by="ann")
    app.signal("payment:4", {"paid": True}, workflow=hotel, principal="ann")
    run = app.resume(asked.id)

    assert (asked.status, waiting.status, run.status) == ("waiting", "waiting", "completed")
    assert app.model.outputs == ['"red"', '{"paid":true}']
