"""`twelvefold runs approve | settle | cancel | resume`."""

import json
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Twelvefold, stopped_while_shouting

pytestmark = pytest.mark.usefixtures("shop")
CALL = ("--call", "2.0")
"""The first call of the first reply."""


@pytest.fixture
def waiting(tw: Twelvefold) -> str:
    return str(tw("run", "--json", 'call pay {"cents": 3}').json["run"])


def test_an_approved_call_runs_and_the_run_continues(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "approve", waiting, *CALL)

    assert (done.status, done.out) == (0, "result: paid 3\n")


def test_a_call_is_approved_with_other_arguments(tw: Twelvefold, waiting: str) -> None:
    wrong = tw("runs", "approve", waiting, *CALL, "--arguments", '{"cents": "x"}')
    done = tw("runs", "approve", waiting, *CALL, "--arguments", '{"cents": 4}')

    assert (wrong.status, done.status) == (2, 0)
    assert '  approved by local with {"cents": 4}' in tw("runs", "show", waiting).lines
    assert "twelvefold: --arguments: cents: Input should be a valid integer" in wrong.err
    assert done.out.endswith("Its result: paid 4\n")


def test_an_event_is_sent_once(tw: Twelvefold) -> None:
    first = tw("signal", "paid", '{"amount": 12}', "--principal", "ann")
    second = tw("signal", "paid", "--principal", "ann")
    wrong = tw("signal", "paid", "{")

    assert (first.status, first.out) == (0, "sent\n")
    assert second.status == 1
    assert "was sent before" in second.err
    assert (wrong.status, "PAYLOAD is no JSON" in wrong.err) == (2, True)


def test_approving_needs_the_workflow_unless_detached(
    here: Path, tw: Twelvefold, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKFLOWS", "twelvefold.workflows.enrolment.workflow:workflow")

    rejected = tw("runs", "approve", waiting, *CALL)
    status = tw("runs", "list", "--json").json["status"]
    detached = tw("runs", "approve", waiting, *CALL, "--detach")

    assert (rejected.status, status, detached.status) == (2, "waiting", 0)
    assert "belongs to workflow 'shop', which is not in WORKFLOWS" in rejected.err


def test_the_model_gets_the_reason_of_a_denial(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "approve", waiting, *CALL, "--deny", "--reason", "too dear", "--as", "ann")

    assert (done.status, done.out) == (0, "result: Error: not allowed by ann: too dear\n")


def test_a_detached_answer_leaves_the_run_to_another_process(tw: Twelvefold, waiting: str) -> None:
    assert tw("runs", "approve", waiting, *CALL, "--detach").out == ""
    assert json.loads(tw("runs", "list", "--json").out)["status"] == "queued"

    assert tw("runs", "resume", waiting).out == "result: paid 3\n"


def test_a_call_is_answered_once(tw: Twelvefold, waiting: str) -> None:
    tw("runs", "approve", waiting, *CALL)

    done = tw("runs", "approve", waiting, *CALL)

    assert done.status == 1
    assert f"run {waiting} is over: completed" in done.err


def test_only_the_waiting_call_can_be_approved(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "approve", waiting, "--call", "9.9")

    assert done.status == 1
    assert "no call 9.9 that waits for approval; 2.0 does" in done.err


@pytest.mark.parametrize("action", [["approve"], ["settle", "--done"]], ids=" ".join)
def test_the_call_has_to_be_named(tw: Twelvefold, waiting: str, action: list[str]) -> None:
    done = tw("runs", *action, waiting)

    assert done.status == 2
    assert "the following arguments are required: --call" in done.err


def test_a_waiting_run_still_waits_after_resume(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "resume", waiting)

    assert (done.status, done.out) == (75, "")
    assert f"twelvefold runs approve {waiting} --call 2.0" in done.err


def test_a_run_can_be_cancelled(tw: Twelvefold, waiting: str) -> None:
    assert tw("runs", "cancel", waiting).out == f"{waiting} cancelled\n"

    shown = tw("runs", "show", waiting).lines
    assert "status:    cancelled" in shown
    assert shown[-1] == "(cancelled)"


def test_a_run_that_has_ended_cannot_be_cancelled(tw: Twelvefold) -> None:
    run = tw("run", "--json", "hi").json["run"]

    done = tw("runs", "cancel", run)

    assert (done.status, done.out) == (1, "")
    assert f"run {run} has already ended: completed" in done.err


def test_a_call_with_a_known_outcome_cannot_be_settled(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "settle", waiting, *CALL, "--done")

    assert done.status == 1
    assert "no call that waits for settling" in done.err


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (["--done", "--result", "it was loud"], "result: it was loud"),
        (["--failed", "--result", "no voice"], "result: Error: the call failed: no voice"),
    ],
)
def test_the_model_gets_the_settled_outcome(
    tw: Twelvefold, here: Path, answer: list[str], reply: str
) -> None:
    run = stopped_while_shouting(here, signal.SIGTERM).err.split()[-1]
    assert tw("runs", "resume", run).status == 75

    done = tw("runs", "settle", run, *CALL, *answer)

    assert (done.status, done.out) == (0, f"{reply}\n")


def test_settle_needs_exactly_one_outcome(tw: Twelvefold) -> None:
    assert tw("runs", "settle", "resp_1", *CALL).status == 2
    assert tw("runs", "settle", "resp_1", *CALL, "--done", "--retry").status == 2
