"""The workflows that ship with Twelvefold survive a kill at every boundary."""

import os
from collections.abc import Mapping
from typing import Any

import pytest

from examples.retail.load import documents, taubench
from tests.acceptance.academy import Place
from twelvefold.testing import CrashReport, call, crash_matrix

ENROLMENT = "twelvefold.workflows.enrolment.workflow:workflow"
ANN = Place(1)
SERVER = os.environ.get("DATABASE_URL", "")


def enrol(database: str = "") -> CrashReport:
    return crash_matrix(
        ENROLMENT,
        ANN.wish,
        replies=[
            [call("get_course", course_code=ANN.course), call("my_enrolments")],
            call("enrol", course_code=ANN.course),
            call("send_welcome", course_code=ANN.course),
            "You are enrolled, and a mail is on its way.",
        ],
        principal=ANN.student,
        seed=[ANN.record],
        database=database,
    )


@pytest.mark.slow
def test_an_enrolment_survives_a_kill_at_every_boundary() -> None:
    report = enrol()

    assert report.ok, report
    assert report.status == "completed"
    assert len(report.boundaries) >= 40


@pytest.mark.slow
@pytest.mark.mysql
def test_an_enrolment_survives_a_kill_at_every_boundary_on_the_server() -> None:
    report = enrol(SERVER)

    assert report.ok, report
    assert len(report.boundaries) >= 40


@pytest.mark.slow
def test_the_shopping_list_survives_a_kill_at_every_boundary() -> None:
    report = crash_matrix(
        "examples.shopping:workflow",
        "Milk and bread, please",
        replies=[
            [call("add_item", item="milk"), call("add_item", item="bread")],
            call("add_item", item="milk"),
            call("show_list"),
            "Both are on the list.",
        ],
        principal="ann",
    )

    assert report.ok, report
    assert report.status == "completed"


@pytest.mark.slow
@pytest.mark.skipif(not taubench().is_dir(), reason="no τ-bench data")
def test_a_refund_to_a_gift_card_survives_a_kill_at_every_boundary() -> None:
    user, order = gift_card_order()

    report = crash_matrix(
        "examples.retail.workflow:workflow",
        "Cancel my order, I ordered it by mistake",
        replies=[
            call("get_order_details", order_id=order["id"]),
            call("cancel_pending_order", order_id=order["id"], reason="ordered by mistake"),
            "It is cancelled.",
        ],
        seed=[user, order],
    )

    assert report.ok, report
    assert report.status == "completed"


def gift_card_order() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return a user and a pending order that was paid with a gift card."""
    found = list(documents())
    users = {one["id"]: one for one in found if one["table"] == "users"}
    orders = [one for one in found if one["table"] == "orders"]
    order = next(
        one
        for one in orders
        if one["record"]["status"] == "pending"
        and "gift_card" in one["record"]["payment_history"][0]["payment_method_id"]
    )
    return users[order["record"]["user_id"]], order


@pytest.mark.slow
def test_a_workflow_with_a_chain_of_models_survives_a_kill_at_every_boundary() -> None:
    report = crash_matrix(
        "tests.testing.planted:concierge", "Room 4", replies=[call("book", room=4), "Booked."]
    )

    assert report.ok, report
    assert report.status == "completed"
