"""`twelvefold runs`, the commands that act on a run."""

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


def test_an_allowed_call_runs_and_the_run_goes_on(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "approve", waiting, *CALL)

    assert (done.status, done.out) == (0, "result: paid 3\n")


def test_a_call_is_not_allowed_by_who_cannot_go_on_with_its_run(
    here: Path, tw: Twelvefold, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKFLOWS", "twelvefold.workflows.enrolment.workflow:workflow")

    refused = tw("runs", "approve", waiting, *CALL)
    still = tw("runs", "list", "--json").json["status"]
    detached = tw("runs", "approve", waiting, *CALL, "--detach")

    assert (refused.status, still, detached.status) == (2, "waiting", 0)
    assert "of workflow 'shop', which WORKFLOWS does not name" in refused.err


def test_the_model_reads_why_a_call_was_not_allowed(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "approve", waiting, *CALL, "--deny", "--reason", "too dear", "--as", "ann")

    assert (done.status, done.out) == (0, "result: Error: not allowed by ann: too dear\n")


def test_an_answer_alone_leaves_the_run_to_somebody_else(tw: Twelvefold, waiting: str) -> None:
    assert tw("runs", "approve", waiting, *CALL, "--detach").out == ""
    assert json.loads(tw("runs", "list", "--json").out)["status"] == "queued"

    assert tw("runs", "resume", waiting).out == "result: paid 3\n"


def test_a_call_is_answered_once(tw: Twelvefold, waiting: str) -> None:
    tw("runs", "approve", waiting, *CALL)

    done = tw("runs", "approve", waiting, *CALL)

    assert done.status == 1
    assert f"run {waiting} is over: completed" in done.err


def test_another_call_than_the_one_that_waits_is_refused(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "approve", waiting, "--call", "9.9")

    assert done.status == 1
    assert "no call 9.9 that waits for approval; 2.0 does" in done.err


@pytest.mark.parametrize("act", [["approve"], ["settle", "--done"]], ids=" ".join)
def test_a_call_that_nobody_named_is_not_answered(
    tw: Twelvefold, waiting: str, act: list[str]
) -> None:
    done = tw("runs", *act, waiting)

    assert done.status == 2
    assert "the following arguments are required: --call" in done.err


def test_a_run_that_waits_can_be_resumed_only_to_wait(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "resume", waiting)

    assert (done.status, done.out) == (75, "")
    assert f"twelvefold runs approve {waiting} --call 2.0" in done.err


def test_a_run_can_be_ended(tw: Twelvefold, waiting: str) -> None:
    assert tw("runs", "cancel", waiting).out == f"{waiting} cancelled\n"

    shown = tw("runs", "show", waiting).lines
    assert "status:    cancelled" in shown
    assert shown[-1] == "(cancelled)"


def test_a_run_that_is_over_cannot_be_ended(tw: Twelvefold) -> None:
    run = tw("run", "--json", "hi").json["run"]

    done = tw("runs", "cancel", run)

    assert (done.status, done.out) == (1, "")
    assert f"run {run} is over already: completed" in done.err


def test_there_is_nothing_to_settle_where_nothing_is_unknown(tw: Twelvefold, waiting: str) -> None:
    done = tw("runs", "settle", waiting, *CALL, "--done")

    assert done.status == 1
    assert "no call that waits for settling" in done.err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (["--done", "--result", "it was loud"], "result: it was loud"),
        (["--failed", "--result", "no voice"], "result: Error: the call failed: no voice"),
    ],
)
def test_the_model_reads_what_became_of_a_call(
    tw: Twelvefold, here: Path, answer: list[str], said: str
) -> None:
    run = stopped_while_shouting(here, signal.SIGTERM).err.split()[-1]
    assert tw("runs", "resume", run).status == 75

    done = tw("runs", "settle", run, *CALL, *answer)

    assert (done.status, done.out) == (0, f"{said}\n")


def test_one_thing_became_of_a_call(tw: Twelvefold) -> None:
    assert tw("runs", "settle", "resp_1", *CALL).status == 2
    assert tw("runs", "settle", "resp_1", *CALL, "--done", "--retry").status == 2
