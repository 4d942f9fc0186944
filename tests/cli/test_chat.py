"""`twelvefold chat`, on a terminal and through a pipe."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import (
    ModelServer,
    Twelvefold,
    child,
    child_environ,
    stopped_while_shouting,
)
from tests.engine.stage import SHOP
from tests.services.model.mock_server import refuses, stalls, streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold.cli.chat.command import _welcome
from twelvefold.config import Settings
from twelvefold.core.models import Fallback
from twelvefold.observe.escape import is_visible

PROMPT = "\x1b[?2004h"
"""What prompt_toolkit writes when it starts to read: bracketed paste mode."""


@pytest.mark.usefixtures("shop")
def test_each_line_of_a_pipe_is_a_turn(here: Path) -> None:
    done = child(here, "chat", stdin='hello\n\ncall buy {"what": "pear"}\n')

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
    assert "continue with: twelvefold chat --thread conv_" in done.err


@pytest.mark.usefixtures("shop")
def test_a_call_can_be_denied_in_the_chat(here: Path) -> None:
    done = child(here, "chat", stdin='call pay {"cents": 3}\nperhaps\nn too dear\n')

    assert done.status == 0
    assert done.lines[-7:] == [
        "  waiting for approval",
        'approve pay {"cents": 3}?',
        "",
        "y, or n and a reason, or edit and other arguments: perhaps",
        "",
        "y, or n and a reason, or edit and other arguments: n too dear",
        "result: Error: not allowed by local: too dear",
    ]


@pytest.mark.usefixtures("shop")
def test_the_arguments_of_a_call_can_be_changed_in_the_chat(here: Path) -> None:
    edits = 'edit {"cents": "x"}\nedit {"cents": 4}\n'
    done = child(here, "chat", stdin='call pay {"cents": 3}\n' + edits)

    assert done.status == 0
    assert "(cents: Input should be a valid integer" in done.out
    assert done.lines[-1] == "Its result: paid 4"


DESK = '''
from typing import Literal

from twelvefold import Ask, Workflow, tool


@tool(effect="pure", approval=True)
async def pay(cents: int) -> str:
    """Pay."""
    return f"paid {cents}"


@tool(effect="pure")
async def ask_colour() -> Ask:
    """Ask for a colour."""
    return Ask("Which colour?", schema=Literal["red", "blue"])


@tool(effect="pure")
async def ask_boss() -> Ask:
    """Ask the boss."""
    return Ask("May I?", schema=bool, person="boss")


billing = Workflow("billing", "You pay bills.", (pay, ask_colour))
workflow = Workflow("shop", "You sell things.", (ask_colour, ask_boss, billing.as_tool("Pays.")))
'''


@pytest.mark.usefixtures("shop")
def test_a_question_is_asked_in_the_chat_with_its_type(here: Path) -> None:
    (here / "shop.py").write_text(DESK)

    done = child(here, "chat", stdin="call ask_colour {}\ngreen\nblue\n")

    assert done.status == 0
    [asked, *_] = [line for line in done.lines if line.startswith("question: ")]
    assert "Which colour? (the answer: " in asked
    assert '"enum": ["red", "blue"]' in asked
    assert '"green" is not one of' in done.out
    assert done.lines[-1] == 'result: "blue"'


@pytest.mark.usefixtures("shop")
def test_a_question_for_another_person_is_left_to_that_person(here: Path) -> None:
    (here / "shop.py").write_text(DESK)

    done = child(here, "chat", stdin="call ask_boss {}\ntrue\n")

    assert done.status == 75
    assert not any(line.startswith("answer: ") for line in done.lines)
    assert "(question for boss: May I? " in done.out
    assert "result: " not in done.out


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("call", "lines", "result"),
    [
        ('pay {"cents": 3}', ['edit {"cents": 4}'], "Its result: paid 4"),
        ("ask_colour {}", ["green", "red"], 'result: result: "red"'),
    ],
)
def test_calls_of_sub_workflows_are_answered_in_the_chat(
    here: Path, call: str, lines: list[str], result: str
) -> None:
    (here / "shop.py").write_text(DESK)
    turn = f"call billing {json.dumps({'input': f'call {call}'})}"

    done = child(here, "chat", stdin="\n".join([turn, *lines, ""]))

    assert done.status == 0
    assert done.lines[-1] == result


@pytest.mark.usefixtures("shop")
def test_a_call_can_be_approved_later(here: Path) -> None:
    left = child(here, "chat", stdin='call pay {"cents": 3}\n')
    assert left.status == 75
    assert "waiting for approval of pay" in left.out
    thread = left.err.split()[-1]

    done = child(here, "chat", "--thread", thread, stdin="y\nthanks\n")

    assert done.status == 0
    assert "result: paid 3" in done.lines
    assert done.lines[-1] == "said: thanks"


@pytest.mark.usefixtures("shop")
def test_a_waiting_call_is_shown_with_all_its_arguments(here: Path) -> None:
    arguments = json.dumps({"note": "x" * 300, "cents": 3})

    done = child(here, "chat", stdin=f"call pay {arguments}\n")

    assert f"→ pay {arguments}" in done.lines
    assert f"approve pay {arguments}?" in done.lines


@pytest.mark.usefixtures("shop")
def test_the_arguments_are_shown_as_the_tool_gets_them(here: Path) -> None:
    special = "".join(("\u202e", "\u200b", "\u2028", "\U000e0041"))

    done = child(
        here, "chat", stdin=f'call pay {{"cents": 3, "note": "{special}", "cents": 5}}\ny\n'
    )

    shown = r'{"cents": 5, "note": "\u202e\u200b\u2028\udb40\udc41"}'
    assert f"approve pay {shown}?" in done.lines
    assert "result: paid 5" in done.lines
    assert all(map(is_visible, (done.out + done.err).replace("\n", "")))


@pytest.mark.usefixtures("shop")
def test_the_outcome_of_a_call_can_be_settled_in_the_chat(here: Path) -> None:
    run = stopped_while_shouting(here, signal.SIGTERM).err.split()[-1]
    thread = run.replace("resp_", "conv_")[: len("conv_") + 44]

    done = child(here, "chat", "--thread", thread, stdin="maybe\ndone it was loud\n")

    assert done.status == 0
    assert 'what was the outcome of shout {"what": "hi"}?' in done.lines
    assert done.out.count("done, retry or failed") == 2
    assert done.lines[-1] == "result: it was loud"


@pytest.mark.usefixtures("shop")
def test_the_commands_of_a_chat(here: Path) -> None:
    lines = "/thread\none\n/new\n/thread\n/cancel\n/nonsense\n/quit\ntwo\n"

    done = child(here, "chat", stdin=lines)

    assert done.status == 0
    assert done.out.count("(no messages yet)") == 2
    assert "(new conversation)" in done.lines
    assert "(no unfinished turn)" in done.lines
    assert "(unknown command /nonsense)" in done.lines
    assert "two" not in done.out


def test_the_conversation_continues_after_a_failed_turn(shop: ModelServer, here: Path) -> None:
    shop.will(refuses(400), streams(responses_events(FakeReply("better now"))))

    done = child(here, "chat", stdin="one\ntwo\n")

    assert done.status == 0
    assert any(line.endswith("refuses the request: Not today)") for line in done.lines)
    assert "better now" in done.lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workflow", "nope"], "no workflow 'nope'; there are shop"),
        (["--thread", "conv_1"], "no thread 'conv_1'"),
        (["--sample"], "which is not in WORKFLOWS"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_a_bad_request_is_an_error(tw: Twelvefold, arguments: list[str], message: str) -> None:
    done = tw("chat", *arguments)

    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_the_sample_shows_the_changed_rows(here: Path) -> None:
    done = child(here, "chat", "--sample")

    assert done.status == 0
    assert done.out.count("\n> ") == 4
    assert "→ find_alternatives" in done.out
    assert "enrolments: 2 rows changed" in done.lines
    assert [line for line in done.err.splitlines() if '"demo_model"' in line]


@pytest.mark.usefixtures("shop")
def test_an_unexpected_error_prints_how_to_continue(here: Path) -> None:
    with (here / "shop.py").open("a") as file:
        file.write("import twelvefold.engine.drive as drive\ndrive.step = None\n")

    done = child(here, "chat", stdin="hello\n")

    assert done.status == 1
    assert "stopped; continue with: twelvefold chat --thread conv_" in done.err
    assert '"event": "unexpected_error"' in done.err


class Terminal:
    """A chat on a pseudo-terminal."""

    def __init__(self, descriptor: int, process: "subprocess.Popen[bytes]") -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self.process = process
        self._output = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> str:
        """Wait for a text, and return the output up to it since the last call."""
        end = time.monotonic() + 240
        while text not in self._output:
            assert time.monotonic() < end, f"{text!r} is missing in {self._output!r}"
            time.sleep(0.02)
            with suppress(OSError):
                self._output += os.read(self._descriptor, 65_536).decode(errors="replace")
        output, _, self._output = self._output.partition(text)
        return output + text


@contextmanager
def terminal(here: Path, *arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "chat", *arguments],
        env=child_environ(
            TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1", XDG_STATE_HOME=str(here / "state")
        ),
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
def test_a_person_can_chat_approve_and_exit_on_a_terminal(here: Path) -> None:
    with terminal(here) as screen:
        screen.wait_for("/help")
        screen.type("hello\r")
        screen.wait_for("said: hello")
        screen.type('call pay {"cents": 3}\r')
        screen.wait_for('approve pay {"cents": 3}?')
        screen.type("y\r")
        screen.wait_for("result: paid 3")
        screen.wait_for(PROMPT)
        screen.type("\x04")
        screen.wait_for("continue with: twelvefold chat --thread conv_")
        assert screen.process.wait(timeout=240) == 0


@pytest.mark.usefixtures("shop")
def test_on_a_terminal_an_unexpected_error_is_a_message(here: Path) -> None:
    with (here / "shop.py").open("a") as file:
        file.write("import twelvefold.cli.chat.command as chat\nchat.default_workflow = None\n")

    with terminal(here) as screen:
        output = screen.wait_for("LOG_LEVEL=error logs the traceback")
        assert "twelvefold: unexpected TypeError: " in output
        assert screen.process.wait(timeout=240) == 1


def test_the_welcome_line_has_no_password() -> None:
    settings = Settings(database_url="mysql://u:p@ss@h/db")

    assert "mysql://u:****@h/db" in _welcome(settings, SHOP, None)


def test_the_welcome_line_has_the_models() -> None:
    settings = Settings(openai_api_key="k", openai_model="gpt-test")
    chain = replace(SHOP, model=Fallback("fast", "default"))

    assert _welcome(settings, chain, None).startswith("shop · fast, gpt-test · ")
    assert _welcome(settings, chain, "cheap").startswith("shop · cheap · ")
    assert "the demo model" in _welcome(Settings(), SHOP, None)


def test_ctrl_c_cancels_the_turn_and_keeps_the_conversation(
    shop: ModelServer, here: Path, tw: Twelvefold
) -> None:
    stalled = responses_events(FakeReply("a reply that never ends"))[:5]
    shop.will(stalls(stalled), streams(responses_events(FakeReply("here again"))))
    with terminal(here) as screen:
        screen.wait_for("/help")
        screen.type("hello\r")
        screen.wait_for("a reply")
        os.kill(screen.process.pid, signal.SIGINT)
        screen.wait_for("(cancelled)")
        screen.wait_for(PROMPT)
        screen.type("still there?\r")
        screen.wait_for("here again")
        screen.wait_for(PROMPT)
        screen.type("/quit\r")
        assert screen.process.wait(timeout=240) == 0

    runs = [json.loads(line) for line in tw("runs", "list", "--json").lines]
    assert [run["status"] for run in runs] == ["completed", "cancelled"]
    assert len({run["thread"] for run in runs}) == 1


def test_ctrl_c_in_a_transaction_announces_that_the_step_ends_first(
    shop: ModelServer, here: Path
) -> None:
    with terminal(here) as screen:
        screen.wait_for("/help")
        screen.type("call brew {}\r")
        screen.wait_for("brewing")
        os.kill(screen.process.pid, signal.SIGINT)
        screen.wait_for("(stopping after the current step)")
        (here / "brewed").touch()
        screen.wait_for("(cancelled)")
        screen.type("/quit\r")
        assert screen.process.wait(timeout=240) == 0


def test_sigterm_releases_the_run_of_a_chat(shop: ModelServer, here: Path) -> None:
    shop.will(stalls(responses_events(FakeReply("a reply that never ends"))[:5]))
    with terminal(here) as screen:
        screen.wait_for("/help")
        screen.type("hello\r")
        screen.wait_for("a reply")
        screen.process.terminate()
        screen.wait_for("stopped; continue with: twelvefold chat --thread conv_")
        assert screen.process.wait(timeout=240) == 75
