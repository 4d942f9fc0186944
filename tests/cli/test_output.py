"""Text escaped for a terminal, and transcripts of conversations."""

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
from tests.cli.conftest import Twelvefold
from twelvefold.app.texts import item_text
from twelvefold.cli.chat.terminal import Terminal
from twelvefold.cli.output import (
    Style,
    abbreviate,
    arguments_text,
    format_time,
    print_json,
    print_notice,
    print_table,
    stdout_writer,
)
from twelvefold.cli.transcript import Transcript
from twelvefold.core.events import Event, ModelAttempt, ModelReplied, Usage
from twelvefold.core.tools.schema import BadArguments
from twelvefold.core.tools.tool import tool
from twelvefold.observe.escape import is_visible
from twelvefold.services.model.scripted import says


def test_a_long_line_is_cut_and_has_its_length() -> None:
    assert abbreviate(" a \n b ") == "a b"
    assert abbreviate("x" * 11, 10) == "xxxxxxxxx… (11 characters)"
    assert abbreviate("\u2028\u202e\x1b[2J \x85") == r"\u2028\u202e\x1b[2J \x85"


def test_the_text_of_a_message_is_a_string_or_parts() -> None:
    assert item_text({"content": "hi"}) == "hi"
    parts = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    assert item_text({"content": parts}) == "ab"
    assert item_text({"type": "reasoning"}) == ""


def test_a_table_has_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "LONGER", "C"), [("123", "4", ""), ("1", "2", "3\x1b")])

    assert capsys.readouterr().out == "A    LONGER  C\n123  4\n1    2       3\\x1b\n"


def test_columns_are_aligned_by_the_width_of_their_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("A", "B"), [("\u65e5\u672c", "1"), ("e\u0301", "2"), ("abcde", "3")])

    assert capsys.readouterr().out == ("A      B\n\u65e5\u672c   1\ne\u0301      2\nabcde  3\n")


def test_times_are_in_utc() -> None:
    assert format_time(1_700_000_000_000_000) == "2023-11-14 22:13:20"
    assert format_time(None) == ""


def test_colour_is_written_only_if_enabled(capsys: pytest.CaptureFixture[str]) -> None:
    stdout_writer(colour=True)("a", "bad")
    stdout_writer(colour=False)("a", "bad")

    assert capsys.readouterr().out == "\x1b[31ma\x1b[0ma"


def test_arguments_are_complete_on_one_line_without_invisible_characters() -> None:
    assert arguments_text("a  b\n" + "ü" * 300) == r"a  b\n" + "ü" * 300
    assert arguments_text("\x1b[2J\u202e\u200b\ud800") == r"\x1b[2J\u202e\u200b\ud800"


@pytest.mark.parametrize(
    ("arguments", "text"),
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
def test_for_a_repeated_name_the_value_that_the_tool_gets_is_shown(
    arguments: str, text: str
) -> None:
    @tool(effect="pure")
    async def pay(
        usd: float = 0, big: int = 0, to: dict[str, Any] | None = None, n: float = 0
    ) -> str:
        """Pay."""
        return ""

    assert arguments_text(arguments) == text
    with suppress(BadArguments, ValueError):
        assert pay.parameters.parse(arguments) == json.loads(text)


SPECIAL = (
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
def test_output_has_no_control_characters(capsys: pytest.CaptureFixture[str], colour: bool) -> None:
    special = "".join(f"a{one}b" for one in SPECIAL)

    for style in get_args(Style):
        stdout_writer(colour=colour)(f"{special}\n", style)
    print_notice(special)
    print_json({special: special})
    print_table(("HEAD",), [(special,)])
    transcript = Transcript(stdout_writer(colour=colour))
    transcript.text(special)
    transcript.restarted(special)
    special = special.replace("\ud800", "")  # the journal rejects it
    for entry in entries(
        asked(special),
        called(special, "pay", **{special: special}),
        succeeded("2.0", special, result=special),
        approval_asked("2.1", "pay"),
        settled("2.1", "done"),
        finished("failed", special),
    ):
        transcript.recorded(entry)

    captured = capsys.readouterr()
    text = re.sub(r"\x1b\[[0-9]*m", "", captured.out) + captured.err
    assert all(map(is_visible, text.replace("\n", "")))
    assert text.count(r"\u202e") > 12


@pytest.mark.filterwarnings("ignore")  # there is no terminal
def test_an_interactive_screen_has_no_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    special = "".join(f"a{one}b" for one in SPECIAL)
    screen = Terminal(colour=False)

    screen.write(special, "tool")
    screen.add_history([special])

    # The terminal breaks the line.
    assert all(map(is_visible, capsys.readouterr().out.replace("\n", "")))
    assert all(map(is_visible, next(iter(screen._history.load_history_strings()))))


async def test_an_answer_on_a_terminal_has_no_special_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Terminal(colour=False)

    for one in SPECIAL:
        screen.write(f"a{one}b **c**\n", "prose")
    screen.show_busy(False)

    output = capsys.readouterr().out
    assert output.count(" c") == len(SPECIAL)
    assert all(map(is_visible, output.replace("\n", "")))


def test_escaping_is_the_same_for_a_text_in_pieces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    transcript = Transcript(stdout_writer(colour=False))

    for piece in ("⚠", "\ufe0f", " e", "\u0301", "\u0301" * 9, "\u202e", "x"):
        transcript.text(piece)

    escaped = "⚠\ufe0f e" + "\u0301" * 4 + r"\u0301" * 6 + r"\u202ex"
    assert capsys.readouterr().out == escaped


def test_models_that_gave_no_reply_are_part_of_the_transcript(
    capsys: pytest.CaptureFixture[str],
) -> None:
    transcript = Transcript(stdout_writer(colour=False))
    broken = ModelAttempt("fast", "it broke off\u202e", Usage(900, 100))
    reply = ModelReplied(
        tuple(says("Hello.")), Usage(), "m-1", "", named="careful", attempts=(broken,)
    )

    for entry in entries(asked("Hi"), reply):
        transcript.recorded(entry)

    assert capsys.readouterr().out.splitlines()[-2:] == [
        "(no reply from fast: it broke off\\u202e)",
        "Hello.",
    ]


class FakeScreen:
    """Records text and styles."""

    def __init__(self) -> None:
        self.text = ""
        self.styles: list[Style] = []

    def write(self, text: str, style: Style = "") -> None:
        self.text += text
        self.styles.append(style)


def transcript_of(*events: Event) -> str:
    screen = FakeScreen()
    transcript = Transcript(screen.write)
    for entry in entries(*events):
        transcript.recorded(entry)
    return screen.text


def test_a_transcript_is_made_from_the_journal() -> None:
    text = transcript_of(
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


def test_a_transcript_has_approvals_and_outcomes() -> None:
    text = transcript_of(
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
        "waiting for approval",
        "approved by bob",
        "done",
        "the outcome is unknown",
        "settled as retry by bob",
        "denied by bob: too dear",
        "(cancelled)",
    ]


def test_a_transcript_has_items_added_and_removed_between_turns() -> None:
    text = transcript_of(
        asked("enrol me"), said(), finished(), added(user("I am Ann.")), removed("2")
    )

    assert text.endswith(f"\n> I am Ann.\n(removed: msg_{'0' * 44}2)\n")


def test_shown_writes_nothing() -> None:
    screen = FakeScreen()

    Transcript(screen.write).shown()

    assert screen.text == ""


def test_a_streamed_reply_is_written_once() -> None:
    screen = FakeScreen()
    transcript = Transcript(screen.write)
    started, reply = entries(asked(), said("You are in."))

    transcript.recorded(started)
    for piece in ("You ", "are", " in."):
        transcript.text(piece)
    transcript.recorded(reply)

    assert screen.text.endswith("\nYou are in.\n")
    assert screen.text.count("You") == 1


def test_a_repeated_request_is_announced() -> None:
    screen = FakeScreen()
    transcript = Transcript(screen.write)

    transcript.text("You a")
    transcript.restarted("the stream was cut")
    transcript.text("You are in.")
    transcript.recorded(entries(asked(), said("You are in."))[1])

    assert screen.text == ("You a\n(requesting the reply again: the stream was cut)\nYou are in.\n")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("command", "notice"),
    [
        ("runs list", "no runs found"),
        ("runs list --status failed", "no runs found"),
        ("runs questions --as bob", "no open questions for bob"),
        ("usage --by principal", "no runs found that ended on these days"),
        ("outbox list", "no messages found"),
        ("keys list", "no keys found"),
        ("budgets list", "no budgets found"),
    ],
)
def test_a_list_without_rows_is_a_notice(tw: Twelvefold, command: str, notice: str) -> None:
    listed = tw(*command.split())
    as_json = tw(*command.split(), "--json")

    assert (listed.status, listed.out) == (0, "")
    assert listed.err.splitlines()[-1] == f"twelvefold: {notice}"
    assert (as_json.status, as_json.out) == (0, "")
    assert notice not in as_json.err
