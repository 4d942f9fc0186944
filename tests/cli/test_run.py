"""`twelvefold run`: one turn and its outcome."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ModelServer, Twelvefold, child, child_environ, stopped_while_shouting
from tests.services.model.mock_server import refuses, streams
from tests.services.model.streams import FakeReply, responses_events

UNSTOPPABLE = '''
"""A workflow with a tool that ignores cancellation."""

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
def test_only_the_answer_is_on_standard_output(tw: Twelvefold) -> None:
    done = tw("run", "hello")

    assert (done.status, done.out) == (0, "said: hello\n")
    assert '"event": "run_finished"' in done.err


@pytest.mark.usefixtures("shop")
def test_json_has_the_whole_outcome(tw: Twelvefold) -> None:
    done = tw("run", "--json", 'call buy {"what": "pear"}')

    outcome = done.json
    thread = outcome["thread"].removeprefix("conv_")
    assert outcome == {
        "run": f"resp_{thread}1",
        "thread": f"conv_{thread}",
        "status": "completed",
        "answer": "result: bought pear",
        "error": "",
        "usage": {"input_tokens": 200, "output_tokens": 40, "cached_tokens": 60},
        "waiting": [],
    }


def test_a_run_can_have_another_model_of_the_workflow(
    shop: ModelServer, here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (here / "shop.py").read_text()
    (here / "shop.py").write_text(
        f"{source}\nimport dataclasses\n"
        'workflow = dataclasses.replace(workflow, models=("fast",))\n'
    )
    monkeypatch.setenv("MODELS", '{"fast": {"model": "small-1"}}')

    done = tw("run", "--model", "fast", "hello")
    refused = tw("run", "--model", "slow", "hello")

    assert (done.status, done.out) == (0, "said: hello\n")
    assert '"named":"fast"' in tw("runs", "events", done_run(tw)).out
    assert refused.status != 0
    assert "has no model 'slow' for callers; there are fast" in refused.err


def done_run(tw: Twelvefold) -> str:
    """Return the id of the newest run."""
    return str(json.loads(tw("runs", "list", "--json").out.splitlines()[0])["run"])


def test_a_thread_is_continued(shop: ModelServer, tw: Twelvefold) -> None:
    thread = tw("run", "--json", "one").json["thread"]

    assert tw("run", "--thread", thread, "two").out == "said: two\n"

    history = json.dumps(shop.calls[-1].body["input"])
    assert history.index('"one"') < history.index('"said: one"') < history.index('"two"')


@pytest.mark.usefixtures("shop")
def test_a_thread_keeps_its_workflow(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "desk.py").write_text(
        "from twelvefold import Workflow\nworkflow = Workflow('desk', 'Talk.', ())\n"
    )
    thread = tw("run", "--json", "one").json["thread"]
    monkeypatch.setenv("WORKFLOWS", "desk:workflow,shop:workflow")

    assert tw("run", "--thread", thread, "two").out == "said: two\n"
    rejected = tw("run", "--workflow", "desk", "--thread", thread, "three")
    assert rejected.status == 2
    assert "is of workflow 'shop', not 'desk'" in rejected.err


@pytest.mark.usefixtures("shop")
def test_the_message_can_come_from_standard_input(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("grüße\n".encode())))

    assert tw("run", "-").out == "said: grüße\n\n"


@pytest.mark.usefixtures("shop")
def test_standard_input_that_is_not_utf8_is_an_error(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff")))

    done = tw("run", "-")

    assert (done.status, done.out) == (2, "")
    assert done.err.endswith("twelvefold: standard input is not UTF-8 at byte 2\n")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["  "], "the message is empty"),
        (["hi", "--workflow", "nope"], "no workflow 'nope'; there are shop"),
        (["hi", "--thread", "conv_12"], "no thread 'conv_12'"),
        (["hi", "--thread", "0" * 44], f"no thread conv_{'0' * 44}"),
        (["\udcff"], "cannot be stored as text"),
    ],
)
def test_a_bad_request_is_an_error_message(
    tw: Twelvefold, arguments: list[str], message: str
) -> None:
    done = tw("run", *arguments)

    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("shop")
def test_the_thread_of_another_principal_is_not_found(tw: Twelvefold) -> None:
    thread = tw("run", "--json", "--as", "ann", "one").json["thread"]

    done = tw("run", "--as", "bob", "--thread", thread, "two")

    assert done.status == 2
    assert f"no thread {thread}" in done.err


def test_a_rejected_request_fails_the_run_with_a_message(shop: ModelServer, tw: Twelvefold) -> None:
    shop.will(refuses(400, {"message": "Not that", "code": "invalid_prompt"}))

    done = tw("run", "hello")

    assert (done.status, done.out) == (1, "")
    assert "Run failed: " in done.err
    assert "Traceback" not in done.err


def test_an_empty_reply_fails_the_run_with_a_message(shop: ModelServer, tw: Twelvefold) -> None:
    shop.will(*[streams(responses_events(FakeReply(""))) for _ in range(4)])

    done = tw("run", "hello")

    assert done.status == 1
    assert "Run failed: the model sent neither text nor a tool call" in done.err


def test_a_run_with_a_rejected_key_can_be_resumed_with_another(
    shop: ModelServer, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "an-old-key")
    refusal = refuses(401, {"message": "Incorrect API key", "code": "invalid_api_key"})
    shop.will(refusal, streams(responses_events(FakeReply("You are in."))))

    stopped = tw("run", "hello")

    assert (stopped.status, stopped.out) == (75, "")
    assert "OPENAI_API_KEY is refused" in stopped.err
    command = stopped.err.strip().rpartition(": twelvefold ")[2].split()
    monkeypatch.setenv("OPENAI_API_KEY", "a-new-key")
    monkeypatch.setenv("LOG_LEVEL", "error")
    assert tw(*command).out == "You are in.\n"


def test_a_run_can_be_resumed_after_the_model_was_unavailable(
    shop: ModelServer, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.will(refuses(503, headers={"retry-after-ms": "1"}))

    stopped = tw("run", "hello")

    assert (stopped.status, stopped.out) == (75, "")
    command = stopped.err.strip().rpartition(": twelvefold ")[2].split()
    monkeypatch.setenv("LOG_LEVEL", "error")
    with ModelServer() as back:
        monkeypatch.setenv("OPENAI_BASE_URL", back.url)
        assert tw(*command).out == "said: hello\n"


@pytest.mark.usefixtures("shop")
def test_a_call_that_needs_approval_leaves_the_run_waiting(tw: Twelvefold) -> None:
    done = tw("run", "--json", 'call pay {"cents": 3}')

    assert done.status == 75
    assert done.json["status"] == "waiting"
    assert done.json["waiting"] == [
        {
            "run": done.json["run"],
            "call": "2.0",
            "tool": "pay",
            "arguments": '{"cents": 3}',
            "for": "asked",
        }
    ]
    assert f"twelvefold runs approve {done.json['run']} --call 2.0" in done.err


def test_control_characters_in_a_reply_are_escaped(shop: ModelServer, tw: Twelvefold) -> None:
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
def test_sigterm_releases_the_run(tw: Twelvefold, here: Path) -> None:
    stopped = stopped_while_shouting(here, signal.SIGTERM)

    assert (stopped.status, stopped.out) == (75, "")
    assert (
        "stopped; to continue the run without a worker: twelvefold runs resume resp_" in stopped.err
    )
    resumed = tw("runs", "resume", stopped.err.split()[-1])
    assert resumed.status == 75
    assert 'outcome of shout {"what": "hi"} is unknown' in resumed.err


def test_after_an_unexpected_error_the_run_can_be_resumed(
    shop: ModelServer, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr("twelvefold.engine.drive.step", broken)
        done = tw("run", "hello")

    assert (done.status, done.out) == (1, "")
    (notice,) = [line for line in done.err.splitlines() if line.startswith("twelvefold: ")]
    assert notice.startswith("twelvefold: stopped by an error; to continue the run ")
    assert tw("runs", "resume", notice.split()[-1]).out == "said: hello\n"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("grace_s", "signals"), [("0.2", 1), ("60", 2)], ids=["grace", "second"])
def test_a_process_that_does_not_stop_is_ended_by_force(
    here: Path, grace_s: str, signals: int
) -> None:
    (here / "shop.py").write_text(UNSTOPPABLE)
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "run", "call dig {}"],
        env=child_environ(GRACE_S=grace_s),
        stdout=subprocess.PIPE,
        cwd=here,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "digging\n"
    process.terminate()
    while signals == 2 and process.poll() is None:
        time.sleep(0.1)
        process.terminate()  # one that comes before the first was handled counts for nothing
    try:
        process.communicate(timeout=240)
    finally:
        process.kill()

    assert process.returncode == -(signal.SIGALRM if signals == 1 else signal.SIGTERM)


def test_a_closed_pipe_causes_no_traceback(shop: ModelServer, here: Path) -> None:
    command = f"'{sys.executable}' -m twelvefold run hello | true; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(
        ["bash", "-c", command], env=child_environ(), capture_output=True, text=True, cwd=here
    )

    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


TYPED = """
from dataclasses import dataclass

from twelvefold import Workflow


@dataclass
class Sale:
    price: int


workflow = Workflow(
    "shop", lambda who: f"You sell to {who.id}.", output=Sale, output_corrections=1
)
"""


@pytest.mark.usefixtures("shop")
def test_only_a_valid_output_is_printed(tw: Twelvefold, here: Path, model: ModelServer) -> None:
    (here / "shop.py").write_text(TYPED)
    invalid, valid = (
        streams(responses_events(FakeReply(text))) for text in ("dear", '{"price":7}')
    )
    model.will(invalid, valid, invalid, invalid, invalid, valid)

    done = tw("run", "--as", "ann", "a lamp")
    failed = tw("run", "--json", "a lamp")
    chat = child(here, "chat", stdin="a lamp\n")

    assert (done.status, done.out) == (0, '{"price":7}\n')
    assert model.calls[0].body["instructions"] == "You sell to ann."
    assert (failed.status, failed.json["answer"]) == (1, "")
    assert failed.json["error"].startswith("the model's output was invalid twice; the last")
    assert "dear" not in chat.out
    assert "(no valid output: Invalid JSON" in chat.out
    assert '{"price":7}' in chat.out
