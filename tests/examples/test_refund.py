"""The refund agent, tested as its author would test it."""

from examples.refund import workflow
from twelvefold.testing import SyncTestApp, assert_called, call, crash_matrix

ANN = "ann@example.org"
ORDER = {"number": 7, "customer": ANN, "paid": 80}
FIND = call("find_order", number=7)


def refunded(app: SyncTestApp) -> list[int]:
    return [row["refunded"] for row in app.fetch_all("select refunded from refund_orders")]


def test_a_small_refund_needs_no_approval() -> None:
    with SyncTestApp([workflow], seed=[ORDER]) as app:
        app.model.replies(FIND, call("refund", number=7, dollars=50), "Done.")
        run = app.run(workflow, "Refund 50 for order 7", principal=ANN)

        assert_called(run, "refund", times=1, dollars=50)
        assert refunded(app) == [50]
        (mail,) = app.deliver_mails()
        assert (mail.to, mail.subject) == (ANN, "Refund for order 7")


def test_a_large_refund_waits_for_a_person() -> None:
    with SyncTestApp([workflow], seed=[ORDER]) as app:
        app.model.replies(FIND, call("refund", number=7, dollars=80), "Sorry.")
        waiting = app.run(workflow, "Refund order 7", principal=ANN)
        run = app.resume(waiting.id, approve=False, by="boss", reason="no receipt")

        assert [one.kind for one in waiting.waiting] == ["approval"]
        assert run.text == "Sorry."
        assert "no receipt" in app.model.outputs[-1]
        assert refunded(app) == [0]


def test_an_order_of_another_caller_is_not_found() -> None:
    with SyncTestApp([workflow], seed=[ORDER]) as app:
        app.model.replies(FIND, call("refund", number=7, dollars=50), "No.")
        run = app.run(workflow, "Refund order 7", principal="bob@example.org")
        assert [one.failure for one in run.calls] == ["refused", "not_open"]
        assert refunded(app) == [0]


def test_a_kill_at_any_boundary_loses_and_doubles_nothing() -> None:
    report = crash_matrix(
        workflow,
        "Refund order 7",
        replies=[FIND, call("refund", number=7, dollars=80), "Done."],
        principal=ANN,
        seed=[ORDER],
    )

    assert report.ok, report
