"""`twelvefold runs list | show | events | export | fork`."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Twelvefold, child_environ
from twelvefold.cli.runs import tokens_text
from twelvefold.core.events import Usage
from twelvefold.core.ids import FAMILY_LENGTH
from twelvefold.services.store.sqlite.store import SQLiteStore

pytestmark = pytest.mark.usefixtures("shop")


def start_run(tw: Twelvefold, text: str = "hello") -> str:
    return str(tw("run", "--json", text).json["run"])


def test_the_newest_run_is_listed_first(tw: Twelvefold) -> None:
    first, second = start_run(tw), start_run(tw, 'call pay {"cents": 3}')

    heads, *rows = tw("runs", "list").lines

    assert heads.split()[:4] == ["RUN", "STATUS", "WORKFLOW", "PRINCIPAL"]
    assert [row.split()[:4] for row in rows] == [
        [second, "waiting", "shop", "local"],
        [first, "completed", "shop", "local"],
    ]


def test_the_list_can_be_filtered_and_limited(tw: Twelvefold) -> None:
    first, waiting, last = start_run(tw), start_run(tw, 'call pay {"cents": 3}'), start_run(tw)

    newest = [
        json.loads(line)["run"] for line in tw("runs", "list", "--json", "--limit", "2").lines
    ]
    filtered = [
        json.loads(line)["run"]
        for line in tw("runs", "list", "--json", "--status", "waiting").lines
    ]

    assert newest == [last, waiting]
    assert filtered == [waiting]
    assert first not in newest


def test_a_run_is_shown_with_its_transcript(tw: Twelvefold) -> None:
    run = start_run(tw, 'call buy {"what": "pear"}')

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


def test_a_waiting_call_is_shown_with_all_its_arguments(tw: Twelvefold) -> None:
    arguments = json.dumps({"cents": 3, "note": "x" * 300 + "\u202eyxorp"}, ensure_ascii=False)
    run = start_run(tw, f"call pay {arguments}")

    shown = tw("runs", "show", run)

    call = "pay " + arguments.replace("\u202e", "\\u202e")
    assert f"→ {call}" in shown.lines
    assert shown.err == (
        f"twelvefold: waiting for approval of {call}; "
        f"answer with: twelvefold runs approve {run} --call 2.0 [--deny]\n"
    )


@pytest.mark.parametrize("given", ['{"number": 1}', '{"number": 1, "cents": null}'])
def test_a_waiting_call_is_shown_with_its_defaults(tw: Twelvefold, given: str) -> None:
    started = tw("run", "--json", f"call refund {given}")
    run = str(started.json["run"])

    shown = tw("runs", "show", run)
    done = tw("runs", "approve", run, "--call", "2.0")

    call = 'refund {"number": 1, "cents": 1500}'
    (waiting,) = started.json["waiting"]
    assert waiting["arguments"] == call.removeprefix("refund ")
    assert f"→ {call}" in shown.lines
    assert f"waiting for approval of {call}; " in shown.err
    assert done.out == "result: refunded 1500 of 1\n"
    journal = [json.loads(line) for line in tw("runs", "events", run).lines]
    assert journal[1]["body"]["items"][0]["arguments"] == given


def test_the_id_of_a_conversation_means_its_last_run(tw: Twelvefold) -> None:
    first = tw("run", "--json", "one").json
    second = tw("run", "--json", "--thread", first["thread"], "two").json["run"]

    assert tw("runs", "show", first["thread"]).lines[0] == f"run:       {second}"


def test_events_prints_one_json_object_per_entry(tw: Twelvefold) -> None:
    first = tw("run", "--json", "one").json
    second = tw("run", "--json", "--thread", first["thread"], "two").json["run"]

    entries = [json.loads(line) for line in tw("runs", "events", second).lines]

    assert [(e["position"], e["run"], e["type"]) for e in entries] == [
        (4, 2, "RunStarted"),
        (5, 2, "ModelReplied"),
        (6, 2, "RunFinished"),
    ]
    assert entries[2]["body"] == {"status": "completed"}


def test_follow_prints_entries_of_other_processes_until_the_end(tw: Twelvefold, here: Path) -> None:
    run = start_run(tw, 'call pay {"cents": 3}')
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "runs", "events", "--follow", run],
        env=child_environ(),
        stdout=subprocess.PIPE,
        text=True,
        cwd=here,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert "ApprovalAsked" in lines[-1]

    tw("runs", "approve", run, "--call", "2.0")

    rest, _ = process.communicate(timeout=240)
    types = [json.loads(line)["type"] for line in rest.splitlines()]
    assert types == ["ApprovalAnswered", "ToolSucceeded", "ModelReplied", "RunFinished"]
    assert process.returncode == 0


def test_follow_reads_the_entries_of_its_run_once(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tw("run", "--json", "one").json
    run = tw("run", "--json", "--thread", first["thread"], "two").json["run"]
    tw("run", "--thread", first["thread"], "three")
    # `load` reads the whole conversation; following must not call it.
    monkeypatch.setattr(SQLiteStore, "load", None)

    lines = tw("runs", "events", "--follow", run).lines

    assert [json.loads(line)["position"] for line in lines] == [4, 5, 6]


def test_an_export_has_the_whole_conversation(tw: Twelvefold) -> None:
    first = tw("run", "--json", "one").json
    tw("run", "--thread", first["thread"], "two")

    lines = tw("runs", "export", first["run"]).lines

    assert [json.loads(line)["position"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_fork_starts_after_the_given_entry(tw: Twelvefold) -> None:
    first = tw("run", "--json", "one").json
    tw("run", "--thread", first["thread"], "two")

    forked = tw("runs", "fork", f"{first['run']}@3")

    assert forked.out.startswith(first["thread"][: len("conv_") + FAMILY_LENGTH])
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
    ("arguments", "message"),
    [
        (["show", "nonsense"], "no run or conversation 'nonsense'; ids start with resp_ "),
        (["show", "resp_12"], "no run 'resp_12'"),
        (["show", f"resp_{'0' * 44}1"], f"no run resp_{'0' * 44}1"),
        (["fork", "conv_1"], "use ID@N"),
        (["fork", f"conv_{'0' * 44}@1"], "no thread"),
        (["events", f"resp_{'0' * 44}1"], f"no run resp_{'0' * 44}1"),
    ],
)
def test_an_unknown_id_is_an_error_message(
    tw: Twelvefold, arguments: list[str], message: str
) -> None:
    done = tw("runs", *arguments)

    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_fork_without_a_run_cannot_be_shown(tw: Twelvefold) -> None:
    forked = tw("runs", "fork", f"{start_run(tw)}@3").out.strip()

    done = tw("runs", "show", forked)

    assert done.status == 2
    assert "has no run since it was forked" in done.err


def test_a_run_of_a_dead_process_is_shown_without_a_lease(here: Path, tw: Twelvefold) -> None:
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

    while "(leased)" in (row := tw("runs", "list").lines[1]):
        time.sleep(0.1)

    assert "running (no lease)" in row


def test_a_run_of_a_workflow_that_is_not_served_is_marked(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_run(tw, 'call pay {"cents": 3}')
    (here / "desk.py").write_text(
        "from twelvefold import Workflow\nworkflow = Workflow('desk', 'Answer.', ())\n"
    )
    served = tw("runs", "list").lines[1]
    monkeypatch.setenv("WORKFLOWS", "desk:workflow")

    assert "workflow not served" not in served
    assert "waiting (workflow not served)" in tw("runs", "list").lines[1]


def test_estimated_tokens_are_marked() -> None:
    text = tokens_text(Usage(200, 40, estimated=True))

    assert text == "200 in, 40 out (estimated: the model server did not report all)"
