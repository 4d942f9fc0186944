"""`twelvefold chat`, at a terminal and through a pipe."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.conftest import (
    ModelServer,
    Twelvefold,
    child,
    child_environ,
    stopped_while_shouting,
)
from tests.services.model.mock_server import refuses, stalls, streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold.cli.chat.command import _welcome
from twelvefold.config import Settings
from twelvefold.observe.escape import is_visible

PROMPT = "\x1b[?2004h"
"""What prompt_toolkit sends when it begins to read: pasted text is to come in brackets."""


@pytest.mark.usefixtures("shop")
def test_each_line_of_a_pipe_is_a_turn_of_one_conversation(here: Path) -> None:
    done = child(here, "chat", said='hello\n\ncall buy {"what": "pear"}\n')

    assert done.status == 0
    assert done.lines == [
        "",
        "> hello",
        "said: hello",
        "",
        "> ",
        "",
        '> call buy {"what": "pear"}',
        '→ buy {"what": "pear"}',
        "  bought pear",
        "result: bought pear",
    ]
    assert "go on with: twelvefold chat --thread conv_" in done.err


@pytest.mark.usefixtures("shop")
def test_an_approval_is_asked_and_answered_inline(here: Path) -> None:
    done = child(here, "chat", said='call pay {"cents": 3}\nperhaps\nn too dear\n')

    assert done.status == 0
    assert done.lines[-7:] == [
        "  waits for somebody to allow it",
        'allow pay {"cents": 3}?',
        "",
        "y, or n and why: perhaps",
        "",
        "y, or n and why: n too dear",
        "result: Error: not allowed by you: too dear",
    ]


@pytest.mark.usefixtures("shop")
def test_an_approval_that_nobody_answers_can_be_answered_later(here: Path) -> None:
    left = child(here, "chat", said='call pay {"cents": 3}\n')
    assert left.status == 75
    assert "waits for somebody to allow pay" in left.out
    thread = left.err.split()[-1]

    done = child(here, "chat", "--thread", thread, said="y\nthanks\n")

    assert done.status == 0
    assert "result: paid 3" in done.lines
    assert done.lines[-1] == "said: thanks"


@pytest.mark.usefixtures("shop")
def test_what_is_to_be_judged_is_shown_whole(here: Path) -> None:
    arguments = json.dumps({"note": "x" * 300, "cents": 3})

    done = child(here, "chat", said=f"call pay {arguments}\n")

    assert f"→ pay {arguments}" in done.lines
    assert f"allow pay {arguments}?" in done.lines


@pytest.mark.usefixtures("shop")
def test_the_value_is_shown_that_the_tool_gets(here: Path) -> None:
    odd = "".join(("\u202e", "\u200b", "\u2028", "\U000e0041"))

    done = child(here, "chat", said=f'call pay {{"cents": 3, "note": "{odd}", "cents": 5}}\ny\n')

    shown = r'{"cents": 5, "note": "\u202e\u200b\u2028\udb40\udc41"}'
    assert f"allow pay {shown}?" in done.lines
    assert "result: paid 5" in done.lines
    assert all(map(is_visible, (done.out + done.err).replace("\n", "")))


@pytest.mark.usefixtures("shop")
def test_what_became_of_a_call_is_asked_inline(here: Path) -> None:
    run = stopped_while_shouting(here, signal.SIGTERM).err.split()[-1]
    thread = run.replace("resp_", "conv_")[: len("conv_") + 44]

    done = child(here, "chat", "--thread", thread, said="maybe\ndone it was loud\n")

    assert done.status == 0
    assert 'what became of shout {"what": "hi"}?' in done.lines
    assert done.out.count("done, retry or failed") == 2
    assert done.lines[-1] == "result: it was loud"


@pytest.mark.usefixtures("shop")
def test_the_commands_of_a_conversation(here: Path) -> None:
    said = "/thread\none\n/new\n/thread\n/cancel\n/nonsense\n/quit\ntwo\n"

    done = child(here, "chat", said=said)

    assert done.status == 0
    assert done.out.count("(nothing was said yet)") == 2
    assert "(a new conversation)" in done.lines
    assert "(no turn is under way)" in done.lines
    assert "(there is no /nonsense)" in done.lines
    assert "two" not in done.out


def test_a_turn_that_failed_is_told_and_the_conversation_goes_on(
    shop: ModelServer, here: Path
) -> None:
    shop.will(refuses(400), streams(responses_events(FakeReply("better now"))))

    done = child(here, "chat", said="one\ntwo\n")

    assert done.status == 0
    assert any(line.endswith("refuses the request: Not today)") for line in done.lines)
    assert "better now" in done.lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workflow", "nope"], "no workflow 'nope'; there are shop"),
        (["--thread", "conv_1"], "no thread 'conv_1'"),
        (["--sample"], "which WORKFLOWS leaves out"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_a_bad_request_is_one_sentence(tw: Twelvefold, arguments: list[str], said: str) -> None:
    done = tw("chat", *arguments)

    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_the_sample_conversation_shows_the_rows_that_changed(here: Path) -> None:
    done = child(here, "chat", "--sample")

    assert done.status == 0
    assert done.out.count("\n> ") == 4
    assert "→ find_alternatives" in done.out
    assert "enrolments: 2 rows changed" in done.lines
    assert [line for line in done.err.splitlines() if '"demo_model"' in line]


@pytest.mark.usefixtures("shop")
def test_what_nobody_expected_tells_how_to_go_on(here: Path) -> None:
    with (here / "shop.py").open("a") as file:
        file.write("import twelvefold.engine.drive as drive\ndrive.step = None\n")

    done = child(here, "chat", said="hello\n")

    assert done.status == 1
    assert "stopped; go on with: twelvefold chat --thread conv_" in done.err
    assert '"event": "unexpected_error"' in done.err


class Terminal:
    """A chat on a pseudo-terminal."""

    def __init__(self, descriptor: int, process: "subprocess.Popen[bytes]") -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self.process = process
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def until(self, text: str) -> str:
        """Wait until this is shown; returns what was shown since the last time."""
        end = time.monotonic() + 30
        while text not in self._seen:
            assert time.monotonic() < end, f"{text!r} never came; there is {self._seen!r}"
            time.sleep(0.02)
            with suppress(OSError):
                self._seen += os.read(self._descriptor, 65_536).decode(errors="replace")
        shown, _, self._seen = self._seen.partition(text)
        return shown + text


@contextmanager
def terminal(here: Path, *arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "chat", *arguments],
        env=child_environ(TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1"),
        cwd=here,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.usefixtures("shop")
def test_at_a_terminal_one_talks_approves_and_leaves(here: Path) -> None:
    with terminal(here) as screen:
        screen.until("/help")
        screen.type("hello\r")
        screen.until("said: hello")
        screen.type('call pay {"cents": 3}\r')
        screen.until('allow pay {"cents": 3}?')
        screen.type("y\r")
        screen.until("result: paid 3")
        screen.until(PROMPT)
        screen.type("\x04")
        screen.until("go on with: twelvefold chat --thread conv_")
        assert screen.process.wait(timeout=10) == 0


@pytest.mark.usefixtures("shop")
def test_at_a_terminal_what_nobody_expected_is_a_sentence(here: Path) -> None:
    with (here / "shop.py").open("a") as file:
        file.write("import twelvefold.cli.chat.command as chat\nchat.default_workflow = None\n")

    with terminal(here) as screen:
        said = screen.until("LOG_LEVEL=error shows how it came to it")
        assert "twelvefold: an error that was not expected, TypeError: " in said
        assert screen.process.wait(timeout=10) == 1


def test_the_first_line_tells_no_password() -> None:
    settings = Settings(database_url="mysql://u:p@ss@h/db")

    assert "mysql://u:****@h/db" in _welcome(settings, "shop")


def test_ctrl_c_ends_the_turn_and_keeps_the_conversation(
    shop: ModelServer, here: Path, tw: Twelvefold
) -> None:
    begun = responses_events(FakeReply("a reply that never ends"))[:5]
    shop.will(stalls(begun), streams(responses_events(FakeReply("here again"))))
    with terminal(here) as screen:
        screen.until("/help")
        screen.type("hello\r")
        screen.until("a reply")
        os.kill(screen.process.pid, signal.SIGINT)
        screen.until("(cancelled)")
        screen.until(PROMPT)
        screen.type("still there?\r")
        screen.until("here again")
        screen.until(PROMPT)
        screen.type("/quit\r")
        assert screen.process.wait(timeout=10) == 0

    runs = [json.loads(line) for line in tw("runs", "list", "--json").lines]
    assert [run["status"] for run in runs] == ["completed", "cancelled"]
    assert len({run["thread"] for run in runs}) == 1


def test_ctrl_c_while_a_tool_is_in_its_transaction_says_what_it_waits_for(
    shop: ModelServer, here: Path
) -> None:
    with terminal(here) as screen:
        screen.until("/help")
        screen.type("call brew {}\r")
        screen.until("brewing")
        os.kill(screen.process.pid, signal.SIGINT)
        screen.until("(stopping, once the step in hand is over)")
        screen.until("(cancelled)")
        screen.type("/quit\r")
        assert screen.process.wait(timeout=10) == 0


def test_a_chat_told_to_stop_gives_its_run_back(shop: ModelServer, here: Path) -> None:
    shop.will(stalls(responses_events(FakeReply("a reply that never ends"))[:5]))
    with terminal(here) as screen:
        screen.until("/help")
        screen.type("hello\r")
        screen.until("a reply")
        screen.process.terminate()
        screen.until("stopped; go on with: twelvefold chat --thread conv_")
        assert screen.process.wait(timeout=10) == 75
