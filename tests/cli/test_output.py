"""Text made fit for a terminal, and conversations as lines."""

import json
import re
from contextlib import suppress
from typing import Any, get_args

import pytest

from tests.builders import (
    added,
    allowed,
    approval_asked,
    asked,
    called,
    denied,
    entries,
    failed,
    finished,
    outcome_unknown,
    removed,
    said,
    settled,
    succeeded,
    user,
)
from twelvefold.cli.chat.screen import Terminal
from twelvefold.cli.output import (
    Style,
    arguments_text,
    item_text,
    print_json,
    print_table,
    shortened,
    tell,
    when,
    writer,
)
from twelvefold.cli.transcript import Transcript
from twelvefold.core.events import Event
from twelvefold.core.tools.schema import BadArguments
from twelvefold.core.workflow import tool
from twelvefold.observe.escape import is_visible


def test_a_long_line_is_cut_with_a_note() -> None:
    assert shortened(" a \n b ") == "a b"
    assert shortened("x" * 11, 10) == "xxxxxxxxx… (11 characters)"
    assert shortened("\u2028\u202e\x1b[2J \x85") == r"\u2028\u202e\x1b[2J \x85"


def test_a_message_may_be_text_or_parts() -> None:
    assert item_text({"content": "hi"}) == "hi"
    parts = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    assert item_text({"content": parts}) == "ab"
    assert item_text({"type": "reasoning"}) == ""


def test_a_table_has_columns_as_wide_as_they_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "LONGER", "C"), [("123", "4", ""), ("1", "2", "3\x1b")])

    assert capsys.readouterr().out == "A    LONGER  C\n123  4\n1    2       3\\x1b\n"


def test_a_time_is_told_in_utc() -> None:
    assert when(1_700_000_000_000_000) == "2023-11-14 22:13:20"
    assert when(None) == ""


def test_colour_is_written_only_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    writer(colour=True)("a", "bad")
    writer(colour=False)("a", "bad")

    assert capsys.readouterr().out == "\x1b[31ma\x1b[0ma"


def test_what_is_judged_is_whole_on_one_line_with_nothing_unseen() -> None:
    assert arguments_text("a  b\n" + "ü" * 300) == r"a  b\n" + "ü" * 300
    assert arguments_text("\x1b[2J\u202e\u200b\ud800") == r"\x1b[2J\u202e\u200b\ud800"


Json = dict[str, Any]
EXACT = '{"usd": 1.10, "big": 12345678901234567890}'


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"usd": 5, "usd": 5000}', '{"usd": 5000}'),
        ('{"usd": 5, "\\u0075sd": 5000}', '{"usd": 5000}'),
        ('{"to": {"a": 1, "a": "ü\u202e"}, "n": 1.10}', '{"to": {"a": "ü\\u202e"}, "n": 1.1}'),
        (
            '{"usd": 1.10, "big": 12345678901234567890}',
            '{"usd": 1.10, "big": 12345678901234567890}',
        ),
        ('{"usd": 5, "usd"', '{"usd": 5, "usd"'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_of_a_name_that_is_there_twice_the_value_is_shown_that_the_tool_gets(
    arguments: str, shown: str
) -> None:
    @tool(effect="pure")
    async def pay(
        usd: float = 0, big: int = 0, to: dict[str, Any] | None = None, n: float = 0
    ) -> str:
        """Pay."""
        return ""

    assert arguments_text(arguments) == shown
    with suppress(BadArguments, ValueError):
        assert pay.parameters.parse(arguments) == json.loads(shown)


ODD = (
    "\x1b[2J",
    "\x07",
    "\r",
    "\x7f",
    "\x9b",
    "\u202e",
    "\u2028",
    "\u200b",
    "\U000e0041",
    "\ud800",
)


@pytest.mark.parametrize("colour", [False, True])
def test_nothing_that_is_written_acts_on_a_terminal(
    capsys: pytest.CaptureFixture[str], colour: bool
) -> None:
    odd = "".join(f"a{one}b" for one in ODD)

    for style in get_args(Style):
        writer(colour=colour)(f"{odd}\n", style)
    tell(odd)
    print_json({odd: odd})
    print_table(("HEAD",), [(odd,)])
    transcript = Transcript(writer(colour=colour))
    transcript.text(odd)
    transcript.restarted(odd)
    odd = odd.replace("\ud800", "")  # which no journal can hold
    for entry in entries(
        asked(odd),
        called(odd, "pay", **{odd: odd}),
        succeeded("2.0", odd, result=odd),
        approval_asked("2.1", "pay"),
        settled("2.1", "done"),
        finished("failed", odd),
    ):
        transcript.recorded(entry)

    said = capsys.readouterr()
    text = re.sub(r"\x1b\[[0-9]*m", "", said.out) + said.err
    assert all(map(is_visible, text.replace("\n", "")))
    assert text.count(r"\u202e") > 12


@pytest.mark.filterwarnings("ignore")  # there is no terminal
def test_nothing_acts_on_a_terminal_that_a_person_types_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd = "".join(f"a{one}b" for one in ODD)
    screen = Terminal(colour=False)

    screen.write(odd, "tool")
    screen.remember([odd])

    assert all(map(is_visible, capsys.readouterr().out))
    assert all(map(is_visible, screen._history.get_strings()[0]))


def test_a_text_that_comes_in_pieces_is_escaped_as_a_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    transcript = Transcript(writer(colour=False))

    for piece in ("⚠", "\ufe0f", " e", "\u0301", "\u0301" * 9, "\u202e", "x"):
        transcript.text(piece)

    shown = "⚠\ufe0f e" + "\u0301" * 4 + r"\u0301" * 6 + r"\u202ex"
    assert capsys.readouterr().out == shown


class Page:
    """What was written, and in which style."""

    def __init__(self) -> None:
        self.text = ""
        self.styles: list[Style] = []

    def write(self, text: str, style: Style = "") -> None:
        self.text += text
        self.styles.append(style)


def told(*events: Event) -> str:
    page = Page()
    transcript = Transcript(page.write)
    for entry in entries(*events):
        transcript.recorded(entry)
    return page.text


def test_a_conversation_is_told_from_its_journal() -> None:
    text = told(
        asked("enrol me"),
        called("enrol", "pay", code="DB-1"),
        succeeded("2.0", result='{"seat": 3}'),
        failed("2.1", "pay"),
        said("You are in."),
        finished(),
    )

    lines = text.splitlines()
    assert lines[:4] == ["", "> enrol me", '→ enrol {"code": "DB-1"}', '  {"seat": 3}']
    assert lines[4].startswith("→ pay ")
    assert lines[-1] == "You are in."


def test_what_people_said_of_a_call_is_told() -> None:
    text = told(
        asked(),
        called("pay", "shout"),
        approval_asked("2.0", "pay"),
        allowed("2.0"),
        succeeded("2.0", "pay"),
        outcome_unknown("2.1", "shout"),
        settled("2.1", "retry"),
        denied("2.1"),
        finished("cancelled", "cancelled"),
    )

    assert [line.strip() for line in text.splitlines() if not line.startswith("→")][2:] == [
        "waits for somebody to allow it",
        "allowed by bob",
        "done",
        "nobody knows whether this has happened",
        "retry, says bob",
        "not allowed by bob: too dear",
        "(cancelled)",
    ]


def test_what_was_put_in_and_taken_out_between_turns_is_told() -> None:
    text = told(asked("enrol me"), said(), finished(), added(user("I am Ann.")), removed("2"))

    assert text.endswith(f"\n> I am Ann.\n(msg_{'0' * 44}2 was taken out)\n")


def test_what_others_can_read_now_is_there_already() -> None:
    page = Page()

    Transcript(page.write).shown()

    assert page.text == ""


def test_text_that_came_in_is_not_told_twice() -> None:
    page = Page()
    transcript = Transcript(page.write)
    started, reply = entries(asked(), said("You are in."))

    transcript.recorded(started)
    for piece in ("You ", "are", " in."):
        transcript.text(piece)
    transcript.recorded(reply)

    assert page.text.endswith("\nYou are in.\n")
    assert page.text.count("You") == 1


def test_a_reply_that_is_void_is_said_to_be() -> None:
    page = Page()
    transcript = Transcript(page.write)

    transcript.text("You a")
    transcript.restarted("the stream was cut")
    transcript.text("You are in.")
    transcript.recorded(entries(asked(), said("You are in."))[1])

    assert page.text == ("You a\n(the reply is asked for again: the stream was cut)\nYou are in.\n")
