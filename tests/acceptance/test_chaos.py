"""Faults of the services under real workers: nothing lost, doubled, stuck or wrongly charged."""

import json
import time
from collections import Counter

import pytest

from tests.acceptance.chaos import plan
from tests.acceptance.chaos.__main__ import RUNS, run_scenes
from tests.acceptance.chaos.counter import LeaseNote, Start
from tests.acceptance.chaos.journal import HOUR_US, JournalLine
from tests.acceptance.chaos.scenes import scenes
from tests.acceptance.chaos.table import as_json, table
from tests.acceptance.chaos.verdict import Evidence, Judge, Verdict
from tests.smtp_sink import Received

THREAD = "a" * 44
CALLS = plan.calls(THREAD, "plain")
ORDER, RING, LETTER = CALLS[0], CALLS[1], CALLS[-1]


def line(position: int, kind: str, **body: object) -> JournalLine:
    return JournalLine(THREAD, position, kind, body, at_us=position * 1000)


def replied(position: int, call: plan.PlannedCall) -> JournalLine:
    arguments = json.dumps({"ticket": call.ticket})
    return line(position, "ModelReplied", items=[{"type": "function_call", "arguments": arguments}])


def start(call: plan.PlannedCall, *, began_us: int = 2_500, without: str = "") -> Start:
    return Start(call.ticket, "", 1, began_us, 0.0, "token", without)


def found(
    journal: list[JournalLine],
    *,
    status: str = "waiting",
    orders: int = 0,
    starts: list[Start] | None = None,
    notes: list[LeaseNote] | None = None,
) -> list[str]:
    """The kinds of faults in a scene of one run, which a person is still asked about."""
    evidence = Evidence(
        statuses={THREAD: status},
        errors={},
        journals={THREAD: journal},
        rows=Counter({ORDER.ticket: orders}),
        letters={},
        mails={},
        starts={RING.ticket: starts or []},
        notes={THREAD: notes or []},
    )
    judge = Judge(evidence)
    judge.run(THREAD, [ORDER, RING])
    judge.leases()
    return [fault for fault, count in judge.counts.items() for _ in range(count)]


ORDERED = [replied(1, ORDER), line(2, "ToolSucceeded", call="1.0")]
RANG = [replied(1, RING), line(3, "OutcomeUnknown", call="1.0")]


def test_an_order_with_one_row_is_no_fault() -> None:
    assert found(ORDERED, orders=1) == ["stuck"]


def test_an_order_that_succeeded_without_a_row_is_lost() -> None:
    assert "lost" in found(ORDERED)


def test_an_approved_call_of_a_run_that_failed_is_lost_without_a_row() -> None:
    approved = [replied(1, ORDER), line(2, "ApprovalAnswered", call="1.0", approved=True)]

    assert found(approved, status="failed") == ["lost"]


def test_each_call_of_a_completed_run_that_has_no_effect_is_lost() -> None:
    assert found(ORDERED, status="completed") == ["lost", "lost"]


def test_an_order_with_two_rows_is_doubled() -> None:
    assert "doubled" in found(ORDERED, orders=2)


def test_an_unsafe_call_that_began_twice_is_doubled() -> None:
    assert "doubled" in found(RANG, starts=[start(RING), start(RING)])


def test_a_failure_of_a_tool_that_cannot_fail_is_charged_wrongly() -> None:
    failed = [replied(1, ORDER), line(2, "ToolFailed", call="1.0", failure="fault")]

    assert "charged" in found(failed)


def test_a_call_that_began_without_a_lease_is_counted() -> None:
    assert "no_lease" in found(RANG, starts=[start(RING, without="the lease had run out")])


def test_an_unknown_outcome_of_a_call_that_a_dead_process_may_have_begun_is_no_fault() -> None:
    taken_over = LeaseNote("claimed", THREAD, "token", 2_900, 2)

    assert "charged" not in found(RANG, notes=[taken_over])


def test_an_unknown_outcome_of_a_call_that_its_process_did_not_begin_is_charged_wrongly() -> None:
    given_back = LeaseNote("in_doubt", THREAD, "token", 2_800, 1)
    taken_up = LeaseNote("claimed", THREAD, "token", 2_900, 2)

    assert "charged" in found(RANG, notes=[given_back, taken_up])


def mailed(*, attempts: int, copies: int) -> Judge:
    """The judge of a run whose one mail arrived so often under the same Message-ID."""
    content = f"Subject: {LETTER.ticket}\r\nMessage-ID: <1@chaos.example>\r\n\r\n".encode()
    evidence = Evidence(
        statuses={THREAD: "completed"},
        errors={},
        journals={},
        rows=Counter(),
        letters={LETTER.ticket: [{"attempts": attempts, "sent_at": 1, "dead_at": None}]},
        mails={LETTER.ticket: [Received("", "", content)] * copies},
        starts={},
        notes={},
    )
    judge = Judge(evidence)
    judge.run(THREAD, [LETTER])
    return judge


def test_a_mail_that_came_twice_with_one_attempt_is_doubled() -> None:
    assert mailed(attempts=1, copies=2).counts == {"doubled": 1}


def test_a_mail_that_came_again_with_a_further_attempt_is_no_fault() -> None:
    judge = mailed(attempts=2, copies=2)

    assert (judge.counts, judge.mails_again) == ({}, 1)


def test_the_time_of_an_entry_is_read_without_the_hour_that_a_clock_is_off() -> None:
    now_us = time.time_ns() // 1000
    row = {"thread_id": THREAD, "position": 1, "type": "RunFinished", "body": b"{}"}

    fast, slow, right = (
        JournalLine.of(row | {"at_us": now_us + off}).at_us for off in (HOUR_US, -HOUR_US, -5)
    )

    assert (fast, slow, right) == (now_us, now_us, now_us - 5)


def test_a_scene_that_was_not_run_has_no_figures_and_has_not_passed() -> None:
    verdict = Verdict("clock-hour-off", not_run="no libfaketime")

    assert not verdict.is_good
    assert "| clock-hour-off | not run: no libfaketime |" in table([verdict])


def test_the_table_says_how_long_the_slowest_recovery_took() -> None:
    verdict = Verdict("no-fault", runs=3, completed=3, recovery_s=2.04, seen=1, took_s=9.9)

    *_, last = table([verdict]).splitlines()

    assert last == "| no-fault | 3 | 3 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 2.0 s | 10 s |"


def test_the_figures_as_json_have_the_same_names() -> None:
    (figures,) = json.loads(as_json([Verdict("no-fault", runs=3, stuck=1, seen=1)]))

    assert (figures["runs"], figures["stuck"], figures["is_good"]) == (3, 1, False)


def test_a_claim_that_waited_for_the_step_with_the_reply_cannot_know() -> None:
    waited = LeaseNote("claimed", THREAD, "token", 900, 2, done_us=1_100)

    assert "charged" not in found(RANG, notes=[waited])


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("scene", scenes(mount=False))
def test_under_a_fault_nothing_is_lost_doubled_stuck_or_charged_wrongly(scene: str) -> None:
    (verdict,) = run_scenes([scene], runs=RUNS)

    if verdict.not_run:
        pytest.skip(verdict.not_run)
    assert verdict.is_good, table([verdict])


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_with_a_full_tablespace_in_place_of_a_full_disk_nothing_is_lost() -> None:
    (verdict,) = run_scenes(["disk-full"], runs=RUNS, mount=False)

    assert verdict.is_good, table([verdict])
