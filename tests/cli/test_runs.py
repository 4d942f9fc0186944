"""`twelvefold runs`, the commands that only look."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Twelvefold, child_environ
from twelvefold.cli.runs import tokens_text
from twelvefold.core.events import Usage
from twelvefold.services.store.sqlite.store import SQLiteStore

pytestmark = pytest.mark.usefixtures("shop")


def started(tw: Twelvefold, text: str = "hello") -> str:
    return str(tw("run", "--json", text).json["run"])


def test_the_newest_run_is_listed_first(tw: Twelvefold) -> None:
    first, second = started(tw), started(tw, 'call pay {"cents": 3}')

    heads, *rows = tw("runs", "list").lines

    assert heads.split()[:4] == ["RUN", "STATUS", "WORKFLOW", "FOR"]
    assert [row.split()[:4] for row in rows] == [
        [second, "waiting", "shop", "you"],
        [first, "completed", "shop", "you"],
    ]


def test_the_list_can_be_narrowed(tw: Twelvefold) -> None:
    first, waiting, last = started(tw), started(tw, 'call pay {"cents": 3}'), started(tw)

    newest = [
        json.loads(line)["run"] for line in tw("runs", "list", "--json", "--limit", "2").lines
    ]
    asked = [
        json.loads(line)["run"]
        for line in tw("runs", "list", "--json", "--status", "waiting").lines
    ]

    assert newest == [last, waiting]
    assert asked == [waiting]
    assert first not in newest


def test_a_run_is_shown_with_what_was_said_and_done(tw: Twelvefold) -> None:
    run = started(tw, 'call buy {"what": "pear"}')

    lines = tw("runs", "show", run).lines

    assert lines[0] == f"run:       {run}"
    assert "status:    completed" in lines
    assert "tokens:    200 in, 40 out" in lines
    assert lines[-4:] == [
        '> call buy {"what": "pear"}',
        '→ buy {"what": "pear"}',
        "  bought pear",
        "result: bought pear",
    ]


def test_a_run_that_waits_is_shown_with_all_that_is_to_be_judged(tw: Twelvefold) -> None:
    arguments = json.dumps({"cents": 3, "note": "x" * 300 + "\u202eyxorp"}, ensure_ascii=False)
    run = started(tw, f"call pay {arguments}")

    shown = tw("runs", "show", run)

    call = "pay " + arguments.replace("\u202e", "\\u202e")
    assert f"→ {call}" in shown.lines
    assert shown.err == (
        f"twelvefold: waits for somebody to allow {call}; "
        f"answer with: twelvefold runs approve {run} --call 2.0 [--deny]\n"
    )


def test_a_conversation_stands_for_its_last_run(tw: Twelvefold) -> None:
    told = tw("run", "--json", "one").json
    second = tw("run", "--json", "--thread", told["thread"], "two").json["run"]

    assert tw("runs", "show", told["thread"]).lines[0] == f"run:       {second}"


def test_the_journal_is_printed_a_json_object_an_entry(tw: Twelvefold) -> None:
    first = tw("run", "--json", "one").json
    second = tw("run", "--json", "--thread", first["thread"], "two").json["run"]

    entries = [json.loads(line) for line in tw("runs", "events", second).lines]

    assert [(e["position"], e["run"], e["type"]) for e in entries] == [
        (4, 2, "RunStarted"),
        (5, 2, "ModelReplied"),
        (6, 2, "RunFinished"),
    ]
    assert entries[2]["body"] == {"status": "completed"}


def test_a_follower_sees_the_end_that_another_process_makes(tw: Twelvefold, here: Path) -> None:
    run = started(tw, 'call pay {"cents": 3}')
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "runs", "events", "--follow", run],
        env=child_environ(),
        stdout=subprocess.PIPE,
        text=True,
        cwd=here,
    )
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(3)]
    assert "ApprovalAsked" in seen[-1]

    tw("runs", "approve", run, "--call", "2.0")

    rest, _ = process.communicate(timeout=30)
    types = [json.loads(line)["type"] for line in rest.splitlines()]
    assert types == ["ApprovalAnswered", "ToolSucceeded", "ModelReplied", "RunFinished"]
    assert process.returncode == 0


def test_a_follower_reads_each_entry_once(tw: Twelvefold, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the conversation before the run and after it are other runs' business."""
    first = tw("run", "--json", "one").json
    run = tw("run", "--json", "--thread", first["thread"], "two").json["run"]
    tw("run", "--thread", first["thread"], "three")
    monkeypatch.setattr(SQLiteStore, "load", None)

    lines = tw("runs", "events", "--follow", run).lines

    assert [json.loads(line)["position"] for line in lines] == [4, 5, 6]


def test_an_export_has_the_whole_conversation(tw: Twelvefold) -> None:
    first = tw("run", "--json", "one").json
    tw("run", "--thread", first["thread"], "two")

    lines = tw("runs", "export", first["run"]).lines

    assert [json.loads(line)["position"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_fork_begins_where_it_is_told(tw: Twelvefold) -> None:
    first = tw("run", "--json", "one").json
    tw("run", "--thread", first["thread"], "two")

    forked = tw("runs", "fork", f"{first['run']}@3")

    assert forked.out.startswith("conv_")
    other = tw("run", "--json", "--thread", forked.out.strip(), "three").json
    assert other["status"] == "completed"
    texts = [json.loads(line)["body"] for line in tw("runs", "export", other["run"]).lines]
    assert "two" not in json.dumps(texts)
    assert [json.loads(line)["position"] for line in tw("runs", "events", other["run"]).lines] == [
        4,
        5,
        6,
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nonsense"], "no run or conversation 'nonsense'; their ids begin with resp_ "),
        (["show", "resp_12"], "no run 'resp_12'"),
        (["show", f"resp_{'0' * 44}1"], "no"),
        (["fork", "conv_1"], "write ID@N"),
        (["fork", f"conv_{'0' * 44}@1"], "no thread"),
        (["events", f"resp_{'0' * 44}1"], "no"),
    ],
)
def test_what_is_not_there_is_one_sentence(tw: Twelvefold, arguments: list[str], said: str) -> None:
    done = tw("runs", *arguments)

    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_fork_without_a_run_of_its_own_has_nothing_to_show(tw: Twelvefold) -> None:
    forked = tw("runs", "fork", f"{started(tw)}@3").out.strip()

    done = tw("runs", "show", forked)

    assert done.status == 2
    assert "has no run of its own yet" in done.err


def test_a_run_whose_process_died_says_so(here: Path, tw: Twelvefold) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "run", "call brew {}"],
        env=child_environ(LEASE_S="1"),
        cwd=here,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "brewing\n"
    killed.kill()
    killed.communicate()

    while "(held)" in (row := tw("runs", "list").lines[1]):
        time.sleep(0.1)

    assert "running (left behind)" in row


def test_a_run_whose_workflow_is_not_served_says_so(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tw, 'call pay {"cents": 3}')
    (here / "desk.py").write_text(
        "from twelvefold import Workflow\nworkflow = Workflow('desk', 'Answer.', ())\n"
    )
    served = tw("runs", "list").lines[1]
    monkeypatch.setenv("WORKFLOWS", "desk:workflow")

    assert "workflow not served" not in served
    assert "waiting (workflow not served)" in tw("runs", "list").lines[1]


def test_estimated_tokens_are_shown_as_that() -> None:
    shown = tokens_text(Usage(200, 40, estimated=True))

    assert shown == "200 in, 40 out (estimated: the model's server did not report all)"
