"""The app for tests: its database, its model, its clock, its mails and its assertions."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.academy import Place
from tests.testing.planted import Bell, hotel, reception
from twelvefold import Fallback, Settings, Workflow
from twelvefold.errors import AppClosed
from twelvefold.testing import (
    FrozenClock,
    ScriptedModel,
    SyncTestApp,
    TestApp,
    assert_called,
    assert_not_called,
    assert_rows,
    call,
    cassette,
    outage,
    refusal,
    temporary_database,
)
from twelvefold.testing.database import Seed
from twelvefold.workflows.enrolment.seed import catalogue
from twelvefold.workflows.enrolment.workflow import workflow as enrolment

SERVER = os.environ.get("DATABASE_URL", "")
BOOK = call("book", room=4)


# The fixtures


def test_a_plain_test_has_an_app_on_an_empty_database(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies(BOOK, "Booked.")

    run = app.run(hotel, "Room 4, please", principal="ann")

    assert (run.status, run.text, run.principal) == ("completed", "Booked.", "ann")
    assert_called(run, "book", times=1, room=4)
    app.assert_rows("select room from bookings", [{"room": 4}])


def test_the_next_test_has_another_database(twelvefold_app: SyncTestApp) -> None:
    assert twelvefold_app.fetch_all("select room from bookings") == []


async def test_an_async_test_awaits_the_app(twelvefold_async_app: TestApp) -> None:
    app = twelvefold_async_app
    app.model.replies(BOOK, "Booked.")

    run = await app.run(hotel, "Room 4, please")

    assert app.model.outputs == ["room 4 is booked"]
    assert (await app.get(run.id)).status == "completed"
    assert await app.fetch_one("select room from bookings where room = :room", room=4)


# The app


@pytest.mark.mysql
async def test_the_database_may_be_on_a_server_and_is_dropped_with_the_app() -> None:
    app = TestApp([hotel], database=SERVER)
    async with app:
        app.model.replies(BOOK, "Booked.")
        await app.run(hotel, "Room 4, please")
        row = await app.fetch_one("select database() as name")
        rows = await app.fetch_all("select room from bookings")

    assert rows == [{"room": 4}]
    async with TestApp([hotel], database=SERVER) as other:
        found = await other.fetch_all("select schema_name from information_schema.schemata")
    assert row is not None
    assert row["name"] not in [one["schema_name"] for one in found]


def test_approvals_are_given_by_the_test(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.execute("insert into bookings (room) values (:room)", room=4)
    app.model.replies(call("cancel", room=4), "Cancelled.")

    waiting = app.run(hotel, "Cancel room 4")
    run = app.resume(waiting.id, approve=True, by="bob")

    assert [one.tool for one in waiting.waiting] == ["cancel"]
    assert run.text == "Cancelled."
    app.assert_rows("select room from bookings", [])


def test_a_run_can_be_approved_settled_and_cancelled_as_with_an_app(
    twelvefold_app: SyncTestApp,
) -> None:
    app = twelvefold_app
    app.model.replies(call("cancel", room=4))

    first = app.run(hotel, "Cancel room 4")
    assert app.approve(first.id, by="bob", approved=False).status == "queued"
    assert app.cancel(first.id).status == "cancelled"
    assert app.start(hotel, "Room 5").status == "queued"
    assert app.get(first.id).status == "cancelled"


async def test_an_app_is_used_while_it_is_open() -> None:
    app = TestApp([hotel])

    with pytest.raises(AppClosed):
        await app.fetch_all("select 1")


def test_an_app_that_cannot_be_opened_leaves_no_loop_open() -> None:
    bad = Workflow("bad", "…", hotel.tools, schema="create tabel x;")

    with pytest.raises(Exception, match="workflow bad: schema"), SyncTestApp([bad]):
        pass


def test_settings_and_a_model_of_ones_own_are_taken() -> None:
    model = ScriptedModel(BOOK, "Booked.")

    with SyncTestApp([hotel], model=model, settings=Settings(workflows=(), max_steps=1)) as app:
        run = app.run(hotel, "Room 4")

    assert run.status == "incomplete"
    assert len(model.requests) == 1


def test_named_models_are_the_scripted_model_unless_they_are_given() -> None:
    chain = replace(hotel, model=Fallback("fast", "careful"), models=("cheap",))

    with SyncTestApp([chain]) as app:
        app.model.replies(outage(), BOOK, "Booked.", "Cheap.")
        run = app.run(chain, "Room 4")
        cheap = app.run(chain, "Hello", model="cheap")
    with SyncTestApp([chain], models={"fast": ScriptedModel(outage())}) as other:
        other.model.replies("Hello.")
        answer = other.run(chain, "Hello")

    assert (run.status, run.text, cheap.text) == ("completed", "Booked.", "Cheap.")
    assert answer.text == "Hello."
    assert len(other.model.requests) == 1


def test_a_resource_may_be_replaced() -> None:
    class SilentBell(Bell):
        def ring(self) -> str:
            return "silence"

    with SyncTestApp([reception], resources={Bell: SilentBell()}) as app:
        app.model.replies(call("ring_bell"), "I rang.")
        app.run(reception, "Ring")

    assert app.model.outputs == ["silence"]


# The model


def test_a_request_after_the_last_reply_fails_the_run(twelvefold_app: SyncTestApp) -> None:
    twelvefold_app.model.replies(BOOK)

    run = twelvefold_app.run(hotel, "Room 4")

    assert run.status == "failed"
    assert "the script is over: it has 1 replies" in run.error
    assert twelvefold_app.model.remaining == 0


def test_a_reply_may_be_several_calls_a_function_or_an_error(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies(
        ["Two rooms.", BOOK, call("book", room=5)],
        lambda request: f"{len(request.items)} items",
        refusal("no such model"),
    )

    first, second = app.run(hotel, "Rooms"), app.run(hotel, "Rooms")

    assert len(first.calls) == 2
    assert first.text == "6 items"
    assert (second.status, second.reason) == ("failed", "rejected")
    assert "no such model" in second.error


def test_replies_may_be_those_to_one_workflow() -> None:
    bar = Workflow("bar", "You mix drinks.", ())

    with SyncTestApp([hotel, bar]) as app:
        app.model.replies("A room.", to=hotel)
        app.model.replies("A drink.", "Another one.", to=bar)
        app.model.replies("Anything.")
        texts = [app.run(one, "Please").text for one in (bar, hotel, bar, hotel)]

    assert texts == ["A drink.", "A room.", "Another one.", "Anything."]


def test_an_outage_leaves_the_run_to_be_resumed(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies(outage("the model is down"), "Here I am.")

    run = app.run(hotel, "Hello")

    assert (run.status, run.error) == ("queued", "the model is down")
    assert app.resume(run.id).text == "Here I am."


def test_arguments_that_are_no_json_reach_no_tool(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies(call("book", '{"room": '), "I could not.")

    run = app.run(hotel, "Room 4")

    assert [one.failure for one in run.calls] == ["arguments"]


def test_a_reply_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="a scripted reply has texts and calls, not int"):
        ScriptedModel(4)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a scripted reply has texts and calls, not float"):
        ScriptedModel().replies("Hello", [1.5])  # type: ignore[list-item]


def test_outputs_are_empty_before_the_first_request() -> None:
    assert ScriptedModel().outputs == []


def test_a_recorded_conversation_is_replayed(twelvefold_app: SyncTestApp, tmp_path: Path) -> None:
    app = twelvefold_app
    app.model.replies(BOOK, "Booked.")
    recorded = app.run(hotel, "Room 4")
    (tmp_path / "room.jsonl").write_text("\n".join(app.export(recorded.conversation)))

    with SyncTestApp([hotel], model=cassette(tmp_path / "room.jsonl")) as other:
        run = other.run(hotel, "Room 4")
    app.model.plays(tmp_path / "room.jsonl")
    again = app.run(hotel, "Room 4")

    assert (run.text, again.text) == ("Booked.", "Booked.")
    assert len(app.fetch_all("select room from bookings")) == 2


# The clock


def test_time_stands_still_until_the_test_moves_it(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies("One.", "Two.")
    app.clock.move_to(datetime(2040, 1, 1, tzinfo=UTC))

    app.run(hotel, "One")
    app.clock.advance(timedelta(days=2))
    app.run(hotel, "Two")

    rows = app.fetch_all("select created_at, finished_at from runs order by created_at")
    first, second = 2_208_988_800_000_000, 2_209_161_600_000_000
    assert [tuple(row.values()) for row in rows] == [(first, first), (second, second)]
    events = app.fetch_all("select distinct at_us from events order by at_us")
    assert [row["at_us"] for row in events] == [first, second]
    assert app.clock.now_us == second


def test_time_does_not_run_backward_and_has_a_zone() -> None:
    clock = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.advance(1.5)

    assert clock.now == datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    with pytest.raises(ValueError, match="backward"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="no time zone"):
        clock.move_to(datetime(2027, 1, 1))  # noqa: DTZ001 - the fault


# Mails


async def test_mails_are_delivered_when_the_test_says_so() -> None:
    async with TestApp([hotel]) as app:
        async with app.session.services.store.write() as tx:
            await tx.send_mail("ann@example.org", "Room 4", "Booked.")

        assert app.mails == []
        (mail,) = await app.deliver_mails()
        assert await app.deliver_mails() == []

    assert (mail.to, mail.subject, mail.text) == ("ann@example.org", "Room 4", "Booked.")
    assert app.mails == [mail]


# Assertions


def test_a_failed_assertion_shows_the_calls(twelvefold_app: SyncTestApp) -> None:
    app = twelvefold_app
    app.model.replies(BOOK, "Booked.")
    run = app.run(hotel, "Room 4")

    assert_not_called(run, "cancel")
    assert_not_called(run, "book", room=5)
    with pytest.raises(AssertionError, match=r"book\(room=5\)\n.*\n  book\(room=4\) -> room 4"):
        assert_called(run, "book", room=5)
    with pytest.raises(AssertionError, match="0 calls expected, 1 found"):
        assert_not_called(run, "book")


def test_a_failed_assertion_says_that_there_was_no_call(twelvefold_app: SyncTestApp) -> None:
    run = twelvefold_app.run(hotel, "Room 4")

    with pytest.raises(AssertionError, match=r"which is failed \(.*script is over.*\):\n  none"):
        assert_called(run, "book")


def test_rows_are_compared_in_order() -> None:
    rows = [{"n": 1}, {"n": 2}]

    assert_rows(rows, [{"n": 1}, {"n": 2}])
    with pytest.raises(AssertionError, match=r"missing: \{'n': 3\}\nnot expected: \{'n': 2\}"):
        assert_rows(rows, [{"n": 1}, {"n": 3}])
    with pytest.raises(AssertionError, match="another order"):
        assert_rows(rows, [{"n": 2}, {"n": 1}])


# Databases


def test_a_temporary_database_is_a_file_that_ends_with_its_block() -> None:
    async def exists() -> tuple[Path, bool]:
        async with temporary_database([hotel]) as url:
            path = Path(url.removeprefix("sqlite:///"))
            return path, path.exists()  # noqa: ASYNC240 - a small file

    path, existed = asyncio.run(exists())

    assert existed
    assert not path.exists()


@pytest.mark.parametrize(
    ("seed", "count"), [(False, 0), ([Place(1).record, Place(2).record], 2), (True, 0)]
)
def test_the_tables_have_the_records_that_the_test_gives(seed: Seed, count: int) -> None:
    with SyncTestApp([enrolment], seed=seed) as app:
        row = app.fetch_one("select count(*) as n from courses")

    assert row is not None
    assert row["n"] == (count if seed is not True else len({*course_codes()}))


def course_codes() -> Iterator[str]:
    return (f"{one['department']}-{one['number']}" for one in catalogue())


# A worker


async def test_a_worker_drives_queued_runs_while_time_stands_still(
    twelvefold_async_app: TestApp,
) -> None:
    app = twelvefold_async_app
    app.model.replies(BOOK, "Booked.")

    queued = await app.start(hotel, "Room 4")
    await app.work(until_idle=True)
    run = await app.get(queued.id)

    assert (queued.status, run.status, run.text) == ("queued", "completed", "Booked.")
