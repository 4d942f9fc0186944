"""What a chat shows on a terminal, and the messages that it keeps for later chats."""

import stat
from pathlib import Path

import pyte
import pytest

from tests.cli.conftest import ModelServer, child
from tests.cli.test_chat import PROMPT, terminal
from tests.services.model.mock_server import streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold.cli.chat.history import MAX_BYTES, ChatHistory, history_file

UP = "\x1b[A"
ANSWER = "Two **bold** words:\n\n- one\n- " + "seventeen " * 20


def shown(output: str) -> list[str]:
    """Return the lines of a terminal of 80 columns after this output."""
    screen = pyte.Screen(80, 60)
    pyte.Stream(screen).feed(output)
    return [line.rstrip() for line in screen.display]


def test_the_answer_is_markdown_on_a_terminal_without_broken_words(
    shop: ModelServer, here: Path
) -> None:
    shop.will(streams(responses_events(FakeReply(ANSWER)), pause_s=0.01))

    with terminal(here) as screen:
        output = screen.wait_for("/help")
        screen.type("hello\r")
        output += screen.wait_for(PROMPT) + screen.wait_for(PROMPT)

    lines = shown(output)
    assert "Two bold words:" in lines
    assert " \u2022 one" in lines
    words = " ".join(lines[lines.index(" \u2022 one") + 1 :]).split()
    assert words.count("seventeen") == 20


def test_the_answer_is_as_it_came_in_a_pipe(shop: ModelServer, here: Path) -> None:
    shop.will(streams(responses_events(FakeReply(ANSWER))))

    assert ANSWER in child(here, "chat", stdin="hello\n").out


@pytest.mark.usefixtures("shop")
def test_messages_are_kept_for_later_chats(here: Path) -> None:
    with terminal(here) as screen:
        screen.wait_for("/help")
        screen.type('call pay {"cents": 3}\r')
        screen.wait_for("approve pay")
        screen.type("no secret-reason\r")
        screen.wait_for("result:")
        screen.wait_for(PROMPT)
        screen.type("/quit\r")
        assert screen.process.wait(timeout=240) == 0
    with terminal(here) as screen:
        screen.wait_for("/help")
        screen.wait_for(PROMPT)
        screen.type(UP + UP)
        screen.wait_for('call pay {"cents": 3}')

    file = here / "state" / "twelvefold" / "chat-history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "secret-reason" not in file.read_text()


@pytest.mark.usefixtures("shop")
def test_no_message_is_kept_without_a_history(here: Path) -> None:
    with terminal(here, "--no-history") as screen:
        screen.wait_for("/help")
        screen.type("hello\r")
        screen.wait_for("said: hello")
        screen.wait_for(PROMPT)
        screen.type(UP)
        screen.wait_for("hello")

    assert not (here / "state").exists()


def test_the_history_is_in_the_state_directory() -> None:
    assert history_file({"XDG_STATE_HOME": "/s"}) == Path("/s/twelvefold/chat-history")
    home = Path("/h/.local/state/twelvefold/chat-history")
    assert history_file({"XDG_STATE_HOME": "relative", "HOME": "/h"}) == home
    assert history_file({}) is None


def test_a_history_that_cannot_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    history = ChatHistory(tmp_path / "file" / "chat-history")
    history.append_string("hello")

    assert history.get_strings() == ["hello"]


def test_earlier_messages_are_offered_but_not_stored(tmp_path: Path) -> None:
    file = tmp_path / "chat-history"
    ChatHistory(file).append_string("stored before")

    history = ChatHistory(file)
    history.add_earlier(["first", "second"])

    assert [*history.load_history_strings()] == ["second", "first", "stored before"]
    assert [*ChatHistory(file).load_history_strings()] == ["stored before"]


def test_a_large_history_loses_its_older_half(tmp_path: Path) -> None:
    file = tmp_path / "chat-history"
    history, text = ChatHistory(file), "a" * 8_000
    for number in range(MAX_BYTES // 7_900):
        history.append_string(f"{number} {text}")

    kept = [int(line.split()[0]) for line in ChatHistory(file).load_history_strings()]

    assert kept == [*range(number, number - len(kept), -1)]
    assert MAX_BYTES // 3 < file.stat().st_size < MAX_BYTES
