"""`twelvefold run`: one turn, and what becomes of it."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ModelServer, Twelvefold, child_environ, stopped_while_shouting
from tests.services.model.mock_server import refuses, streams
from tests.services.model.streams import FakeReply, responses_events

DEAF = '''
"""A workflow whose tool does not hear that it is to stop."""

import asyncio
from contextlib import suppress

from twelvefold import Transaction, Workflow, tool


@tool
async def dig(tx: Transaction) -> str:
    """Dig."""
    print("digging", flush=True)
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


workflow = Workflow("shop", "You dig.", (dig,))
'''


@pytest.mark.usefixtures("shop")
def test_the_answer_is_on_standard_output_and_nothing_else(tw: Twelvefold) -> None:
    done = tw("run", "hello")

    assert (done.status, done.out) == (0, "said: hello\n")
    assert '"event": "run_finished"' in done.err


@pytest.mark.usefixtures("shop")
def test_json_tells_everything_about_the_outcome(tw: Twelvefold) -> None:
    done = tw("run", "--json", 'call buy {"what": "pear"}')

    told = done.json
    thread = told["thread"].removeprefix("conv_")
    assert told == {
        "run": f"resp_{thread}1",
        "thread": f"conv_{thread}",
        "status": "completed",
        "answer": "result: bought pear",
        "error": "",
        "usage": {"input_tokens": 200, "output_tokens": 40, "cached_tokens": 60},
        "waiting": [],
    }


def test_a_thread_goes_on(shop: ModelServer, tw: Twelvefold) -> None:
    thread = tw("run", "--json", "one").json["thread"]

    assert tw("run", "--thread", thread, "two").out == "said: two\n"

    said = json.dumps(shop.calls[-1].body["input"])
    assert said.index('"one"') < said.index('"said: one"') < said.index('"two"')


@pytest.mark.usefixtures("shop")
def test_a_thread_goes_on_with_its_own_workflow(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "desk.py").write_text(
        "from twelvefold import Workflow\nworkflow = Workflow('desk', 'Talk.', ())\n"
    )
    thread = tw("run", "--json", "one").json["thread"]
    monkeypatch.setenv("WORKFLOWS", "desk:workflow,shop:workflow")

    assert tw("run", "--thread", thread, "two").out == "said: two\n"
    refused = tw("run", "--workflow", "desk", "--thread", thread, "three")
    assert refused.status == 2
    assert "is of workflow 'shop', not 'desk'" in refused.err


@pytest.mark.usefixtures("shop")
def test_the_text_may_come_from_standard_input(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("grüße\n".encode())))

    assert tw("run", "-").out == "said: grüße\n\n"


@pytest.mark.usefixtures("shop")
def test_standard_input_that_is_no_text_is_refused(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff")))

    done = tw("run", "-")

    assert (done.status, done.out) == (2, "")
    assert done.err.endswith("twelvefold: standard input is no UTF-8 at byte 2\n")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["  "], "nothing was said"),
        (["hi", "--workflow", "nope"], "no workflow 'nope'; there are shop"),
        (["hi", "--thread", "conv_12"], "no thread 'conv_12'"),
        (["hi", "--thread", "0" * 44], f"no thread conv_{'0' * 44}"),
        (["\udcff"], "cannot be kept"),
    ],
)
def test_a_bad_request_is_one_sentence(tw: Twelvefold, arguments: list[str], said: str) -> None:
    done = tw("run", *arguments)

    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("shop")
def test_another_principals_thread_is_not_there(tw: Twelvefold) -> None:
    thread = tw("run", "--json", "--as", "ann", "one").json["thread"]

    done = tw("run", "--as", "bob", "--thread", thread, "two")

    assert done.status == 2
    assert f"no thread {thread}" in done.err


def test_a_refused_request_fails_the_run_with_a_sentence(shop: ModelServer, tw: Twelvefold) -> None:
    shop.will(refuses(400, {"message": "Not that", "code": "invalid_prompt"}))

    done = tw("run", "hello")

    assert (done.status, done.out) == (1, "")
    assert "Run failed: " in done.err
    assert "Traceback" not in done.err


def test_a_model_that_says_nothing_fails_the_run_with_a_sentence(
    shop: ModelServer, tw: Twelvefold
) -> None:
    shop.will(*[streams(responses_events(FakeReply(""))) for _ in range(4)])

    done = tw("run", "hello")

    assert done.status == 1
    assert "Run failed: the model sent neither text nor a tool call" in done.err


def test_a_run_whose_key_is_refused_goes_on_with_another(
    shop: ModelServer, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "an-old-key")
    refusal = refuses(401, {"message": "Incorrect API key", "code": "invalid_api_key"})
    shop.will(refusal, streams(responses_events(FakeReply("You are in."))))

    stopped = tw("run", "hello")

    assert (stopped.status, stopped.out) == (75, "")
    assert "OPENAI_API_KEY is refused" in stopped.err
    command = stopped.err.strip().rpartition("go on with: twelvefold ")[2].split()
    monkeypatch.setenv("OPENAI_API_KEY", "a-new-key")
    monkeypatch.setenv("LOG_LEVEL", "error")
    assert tw(*command).out == "You are in.\n"


def test_a_model_that_is_away_leaves_a_run_that_can_be_resumed(
    shop: ModelServer, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.will(refuses(503, headers={"retry-after-ms": "1"}))

    stopped = tw("run", "hello")

    assert (stopped.status, stopped.out) == (75, "")
    command = stopped.err.strip().rpartition("go on with: twelvefold ")[2].split()
    monkeypatch.setenv("LOG_LEVEL", "error")
    with ModelServer() as back:
        monkeypatch.setenv("OPENAI_BASE_URL", back.url)
        assert tw(*command).out == "said: hello\n"


@pytest.mark.usefixtures("shop")
def test_a_call_that_needs_a_person_leaves_the_run_waiting(tw: Twelvefold) -> None:
    done = tw("run", "--json", 'call pay {"cents": 3}')

    assert done.status == 75
    assert done.json["status"] == "waiting"
    assert done.json["waiting"] == [
        {"call": "2.0", "tool": "pay", "arguments": '{"cents": 3}', "for": "asked"}
    ]
    assert f"twelvefold runs approve {done.json['run']} --call 2.0" in done.err


def test_the_model_cannot_command_the_terminal(shop: ModelServer, tw: Twelvefold) -> None:
    done = tw("run", "\x1b[2Jred \u202e")

    assert done.out == "said: \\x1b[2Jred \\u202e\n"
    assert shop.calls[-1].body["input"][0]["content"][0]["text"] == "\x1b[2Jred \u202e"


@pytest.mark.usefixtures("shop")
def test_ctrl_c_cancels_the_run(tw: Twelvefold, here: Path) -> None:
    stopped = stopped_while_shouting(here, signal.SIGINT)

    run = tw("runs", "list", "--json").json
    assert (stopped.status, stopped.out) == (130, "")
    assert stopped.err.splitlines()[-1] == f"twelvefold: run {run['run']} is cancelled"
    assert run["status"] == "cancelled"


@pytest.mark.usefixtures("shop")
def test_a_process_told_to_stop_gives_the_run_back(tw: Twelvefold, here: Path) -> None:
    stopped = stopped_while_shouting(here, signal.SIGTERM)

    assert (stopped.status, stopped.out) == (75, "")
    assert "if no worker does, go on with: twelvefold runs resume resp_" in stopped.err
    resumed = tw("runs", "resume", stopped.err.split()[-1])
    assert resumed.status == 75
    assert "nobody knows whether this has happened: shout" in resumed.err


def test_what_nobody_expected_tells_how_to_go_on(
    shop: ModelServer, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr("twelvefold.engine.drive.step", broken)
        done = tw("run", "hello")

    assert (done.status, done.out) == (1, "")
    (told,) = [line for line in done.err.splitlines() if line.startswith("twelvefold: ")]
    assert told.startswith("twelvefold: broken off; if no worker does, go on with: ")
    assert tw("runs", "resume", told.split()[-1]).out == "said: hello\n"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("grace_s", "signals"), [("0.2", 1), ("60", 2)], ids=["grace", "second"])
def test_a_process_that_does_not_stop_ends_like_a_crash(
    here: Path, grace_s: str, signals: int
) -> None:
    (here / "shop.py").write_text(DEAF)
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "run", "call dig {}"],
        env=child_environ(GRACE_S=grace_s),
        stdout=subprocess.PIPE,
        cwd=here,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "digging\n"
    for _ in range(signals):
        process.terminate()
        time.sleep(0.5)
    try:
        process.communicate(timeout=10)
    finally:
        process.kill()

    assert process.returncode == -(signal.SIGALRM if signals == 1 else signal.SIGTERM)


def test_a_closed_pipe_is_survived(shop: ModelServer, here: Path) -> None:
    command = f"'{sys.executable}' -m twelvefold run hello | true; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(
        ["bash", "-c", command], env=child_environ(), capture_output=True, text=True, cwd=here
    )

    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
