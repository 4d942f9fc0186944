"""The support desk, tested as its author would test it: with twelvefold.testing alone."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from examples.support.billing import BillingAnswer, billing
from examples.support.carrier import Carrier, HTTPCarrier, UnknownParcel
from examples.support.carrier_server import carrier
from examples.support.workflow import CUSTOMER, workflow
from twelvefold.testing import SyncTestApp, assert_called, call, crash_matrix

pytestmark = pytest.mark.timeout(900)  # for the kills, each of which starts processes
RECEIPT = Path(__file__).resolve().parents[2] / "examples" / "support" / "receipt.png"
FIND = call("find_order", number=1002)
REFUNDED = "select refunded_cents as cents from support_orders where number = 1002"
REMIND = call("remind_me", days=3, note="pay invoice 1003")
SEND_REMINDER = call("send_reminder", note="pay invoice 1003")


class FakeCarrier:
    """A carrier that has one parcel and makes no request."""

    async def find(self, parcel: str) -> str:
        if parcel != "P-1002":
            raise UnknownParcel(parcel)
        return "at the station"


@pytest.fixture
def app() -> Iterator[SyncTestApp]:
    with SyncTestApp([workflow], seed=True, resources={Carrier: FakeCarrier()}) as app:
        yield app


def test_a_part_of_an_order_is_refunded_without_approval(app: SyncTestApp) -> None:
    app.model.replies(FIND, call("refund", number=1002, reason="a scratch", cents=1_000), "Done.")

    run = app.run(workflow, "There is a scratch on my lamp", principal=CUSTOMER)

    assert run.status == "completed"
    app.assert_rows(REFUNDED, [{"cents": 1_000}])
    (mail,) = app.deliver_mails()
    assert (mail.to, mail.text) == (CUSTOMER, "We refund 10.00 EUR: a scratch")


@pytest.mark.parametrize("cents", [None, 8_000])
def test_a_large_refund_waits_for_a_person(app: SyncTestApp, cents: int | None) -> None:
    app.model.replies(FIND, call("refund", number=1002, reason="broken", cents=cents), "Done.")

    waiting = app.run(workflow, "My lamp is broken", principal=CUSTOMER)
    app.assert_rows(REFUNDED, [{"cents": 0}])
    run = app.resume(waiting.id, approve=True, by="boss")

    assert [(one.kind, one.tool) for one in waiting.waiting] == [("approval", "refund")]
    assert run.calls[-1].result == "refunded 8000 cents"
    app.assert_rows(REFUNDED, [{"cents": 8_000}])


def test_a_person_may_approve_a_smaller_refund(app: SyncTestApp) -> None:
    app.model.replies(FIND, call("refund", number=1002, reason="broken"), "You get 60 EUR.")
    smaller = {"number": 1002, "reason": "broken", "cents": 6_000}

    waiting = app.run(workflow, "My lamp is broken", principal=CUSTOMER)
    app.resume(waiting.id, approve=True, by="boss", arguments=smaller)

    assert "6000" in app.model.outputs[-1]
    app.assert_rows(REFUNDED, [{"cents": 6_000}])


def test_a_refund_that_nobody_approves_is_denied_after_a_week(app: SyncTestApp) -> None:
    app.model.replies(FIND, call("refund", number=1002, reason="broken"), "I am sorry.")

    waiting = app.run(workflow, "My lamp is broken", principal=CUSTOMER)
    app.clock.advance(timedelta(days=8))
    app.work(until_idle=True)

    assert app.get(waiting.id).text == "I am sorry."
    app.assert_rows(REFUNDED, [{"cents": 0}])


@pytest.mark.parametrize("cents", [-1, 0, 4_000])
def test_a_refund_is_at_most_what_is_left(app: SyncTestApp, cents: int) -> None:
    app.execute("update support_orders set refunded_cents = 5000")
    app.model.replies(FIND, call("refund", number=1002, reason="a scratch", cents=cents), "No.")

    run = app.run(workflow, "There is a scratch on my lamp", principal=CUSTOMER)

    assert run.calls[-1].failure == "refused"
    app.assert_rows(REFUNDED, [{"cents": 5_000}])


def test_an_order_of_another_customer_is_not_found(app: SyncTestApp) -> None:
    app.model.replies(FIND, call("refund", number=1002, reason="mine", cents=1_000), "No.")

    run = app.run(workflow, "Refund order 1002", principal="bob@example.org")

    assert [one.failure for one in run.calls] == ["refused", "not_open"]


def test_the_carrier_of_a_test_makes_no_request(app: SyncTestApp) -> None:
    known, unknown = call("track_parcel", parcel="P-1002"), call("track_parcel", parcel="P-1")
    app.model.replies(known, unknown, "It is at the station.")

    run = app.run(workflow, "Where is my parcel?", principal=CUSTOMER)

    assert run.calls[0].result == "at the station"
    assert run.calls[1].failure == "refused"


async def test_the_carriers_service_is_asked_over_http() -> None:
    runner = web.AppRunner(carrier())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(url) as client:
            assert await HTTPCarrier(client).find("P-1003") == "on its way to Ghent"
            with pytest.raises(UnknownParcel):
                await HTTPCarrier(client).find("P-1")
    finally:
        await runner.cleanup()


def test_billing_answers_with_a_type() -> None:
    with SyncTestApp([billing, workflow], seed=True) as app:
        app.model.replies(call("list_invoices"), '{"answer": "One is open.", "open_cents": 4500}')
        run = app.run(billing, "What do I owe?", principal=CUSTOMER)

    assert run.output == BillingAnswer("One is open.", 4_500)
    assert '"number":1003,"cents":4500,"paid":0' in run.calls[0].result


def test_the_desk_calls_billing_as_a_tool(app: SyncTestApp) -> None:
    app.model.replies(call("billing", input="What is open?"), "You owe 45 EUR.", to=workflow)
    app.model.replies("It is little.", '{"answer": "One.", "open_cents": 4500}', to=billing)

    run = app.run(workflow, "What do I owe?", principal=CUSTOMER)

    assert run.text == "You owe 45 EUR."
    assert_called(run, "billing", times=1, input="What is open?")
    assert '"open_cents": 4500' in run.calls[0].result
    assert app.get(run.children[0]).workflow == "billing"


def test_a_replacement_is_chosen_by_the_customer(app: SyncTestApp) -> None:
    replace = call("replace_item", number=1002, item="floor lamp")
    app.model.replies(FIND, call("choose_replacement", item="desk lamp"), replace, "Done.")

    asked = app.run(workflow, "I would like another lamp", principal=CUSTOMER)
    run = app.resume(asked.id, answer="floor lamp")

    (question,) = asked.waiting
    assert question.schema == {"type": "string", "enum": ["floor lamp", "wall lamp"]}
    assert [one.result for one in run.calls[1:]] == ['"floor lamp"', "order 1002 is now floor lamp"]
    app.assert_rows("select item from support_orders where number = 1002", [{"item": "floor lamp"}])


def test_an_item_without_an_alternative_asks_nothing(app: SyncTestApp) -> None:
    app.model.replies(FIND, call("choose_replacement", item="kettle"), "There is none.")

    run = app.run(workflow, "I would like another kettle", principal=CUSTOMER)

    assert run.calls[-1].result == "there is no other article of the kind of kettle"


def test_a_replacement_is_an_article_of_the_shop(app: SyncTestApp) -> None:
    choose = call("choose_replacement", item="desk lamp")
    app.model.replies(FIND, choose, call("replace_item", number=1002, item="sofa"), "No.")

    asked = app.run(workflow, "I would like another lamp", principal=CUSTOMER)
    run = app.resume(asked.id, answer="wall lamp")

    assert run.calls[-1].failure == "refused"


def test_a_reminder_is_mailed_once_it_is_due(app: SyncTestApp) -> None:
    app.model.replies(REMIND, SEND_REMINDER, "I have reminded you.")

    waiting = app.run(workflow, "Remind me in three days", principal=CUSTOMER)
    app.clock.advance(timedelta(days=2))
    app.work(until_idle=True)
    assert app.get(waiting.id).status == "waiting"
    assert app.deliver_mails() == []
    app.clock.advance(timedelta(days=1))
    app.work(until_idle=True)

    assert app.get(waiting.id).text == "I have reminded you."
    (mail,) = app.deliver_mails()
    assert (mail.to, mail.text) == (CUSTOMER, "pay invoice 1003")
    app.assert_rows("select note from support_reminders", [])


def test_the_same_reminder_is_refused_while_one_waits(app: SyncTestApp) -> None:
    app.execute(
        "insert into support_reminders values (:customer, 'pay invoice 1003')", customer=CUSTOMER
    )
    app.model.replies(REMIND, "You have that reminder.")

    run = app.run(workflow, "Remind me in three days", principal=CUSTOMER)

    assert [one.failure for one in run.calls] == ["refused"]


def test_an_unknown_reminder_is_not_mailed(app: SyncTestApp) -> None:
    app.model.replies(REMIND, call("send_reminder", note="other"), "There is none.")

    waiting = app.run(workflow, "Remind me in three days", principal=CUSTOMER)
    app.clock.advance(timedelta(days=3))
    run = app.resume(waiting.id)

    assert run.calls[-1].failure == "refused"
    assert app.deliver_mails() == []


def test_the_model_sees_the_image_of_a_receipt(app: SyncTestApp) -> None:
    app.model.replies(FIND, "It is your desk lamp.")

    run = app.run(workflow, receipt(RECEIPT), principal=CUSTOMER)

    assert b64encode(RECEIPT.read_bytes()).decode() in str(app.model.requests[0])
    assert_called(run, "find_order", times=1, number=1002)


@pytest.mark.slow
def test_a_kill_at_any_boundary_refunds_once() -> None:
    report = crash_matrix(
        workflow,
        "My lamp is broken",
        replies=[FIND, call("refund", number=1002, reason="broken"), "Done."],
        principal=CUSTOMER,
        seed=True,
    )

    assert report.ok, report


def test_a_kill_at_any_boundary_reminds_once() -> None:
    report = crash_matrix(
        workflow,
        "Remind me in three days",
        replies=[REMIND, SEND_REMINDER, "Done."],
        principal=CUSTOMER,
        seed=True,
    )

    assert report.ok, report


def receipt(image: Path) -> list[dict[str, Any]]:
    """Return the input of a turn: a question about the image of a receipt."""
    data = b64encode(image.read_bytes()).decode()
    parts = [
        {"type": "input_text", "text": "Which order is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{data}"},
    ]
    return [{"role": "user", "content": parts}]
