"""No character of a value that cannot be seen, or that moves its neighbours, is shown as it is."""

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twelvefold.observe.escape import (
    MARKS,
    escape,
    escape_json,
    escape_prose,
    is_visible,
    prose_escaper,
)

EVERY = [chr(number) for number in range(sys.maxunicode + 1)]
HIDDEN = ["Cc", "Cf", "Zl", "Zp", "Co", "Cs", "Cn"]
DEFAULT_IGNORABLE = (
    *("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180e\u200b\u200f\u202a\u202e\u2060\u2064"),
    *("\u2066\u2069\u3164\ufe00\ufe0f\ufeff\uffa0\ufff0\U0001bca0\U0001d173\U000e0001\U000e0041"),
    *("\U000e007f\U000e0100\U000e01ef"),
)
ALONE = "\u00a0\u1680\u2000\u2003\u2007\u200a\u202f\u205f\u3000\u2800\U0001d159"
TABLE = Path(__file__).with_name("escapes.json")
"""What is escaped how; the page's own function is held to the same table."""


def test_no_invisible_character_is_shown() -> None:
    shown = {one for one in EVERY if is_visible(one)}

    assert not shown & {one for one in EVERY if unicodedata.category(one) in HIDDEN}
    assert not shown & {one for one in EVERY if unicodedata.category(one) == "Zs" and one != " "}
    assert not shown & {*DEFAULT_IGNORABLE, *ALONE}
    assert {"a", "é", "ש", "م", "漢", "🙂", "~", " ", "\u0301"} <= shown


@pytest.mark.parametrize("around", ["{}", "a{}b", " {} ", '"{}"', "ש{}", "{0}{0}", "🙂{}"])
def test_every_invisible_character_is_escaped_wherever_it_stands(around: str) -> None:
    # Of those that are reserved and private, each 97th.
    few = ("Cn", "Co")
    hidden = [
        one
        for number, one in enumerate(EVERY)
        if not is_visible(one) and (unicodedata.category(one) not in few or number % 97 == 0)
    ]

    assert all(map(is_visible, escape("".join(map(around.format, hidden)))))


@given(st.text())
def test_an_escaped_text_has_visible_characters_alone(text: str) -> None:
    assert all(map(is_visible, escape(text)))
    assert all(is_visible(one) or one in "\n\t\u200c\u200d\ufe0f" for one in escape_prose(text))


@given(st.text(st.sampled_from("ae ש\u0301\u0489\u20dd\u0e31漢.\u200b")))
def test_no_character_carries_more_marks_than_a_script_needs(text: str) -> None:
    marks = MARKS
    for one in escape(text):
        marks = marks + 1 if unicodedata.category(one)[0] == "M" else 0
        assert marks <= MARKS


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_escaped_json_has_the_same_value_on_one_visible_line(value: object) -> None:
    shown = escape_json(json.dumps(value, ensure_ascii=False))

    assert json.loads(shown) == value
    assert all(map(is_visible, shown))


@given(st.text(st.sampled_from("ae\n 🙂❤\ufe0f\u200d\u202e\u0301")), st.integers(0, 9))
def test_a_text_in_pieces_is_escaped_as_the_whole(text: str, at: int) -> None:
    escaper = prose_escaper()

    assert escaper.feed(text[:at]) + escaper.feed(text[at:]) == escape_prose(text)


@pytest.mark.parametrize(("text", "shown"), json.loads(TABLE.read_text(encoding="utf-8")))
def test_what_is_escaped_is_escaped_like_this(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain\ttext\nünïcode 🙂",
        "می‌خواهم",  # a zero-width non-joiner between letters
        "❤️‍🔥 1️⃣ 👨‍👩‍👧 ⚠️",
        "שלום עולם",
        "हिन्दी",
        "Tiếng Việt",
    ],
)
def test_ordinary_texts_are_shown_as_they_are(text: str) -> None:
    assert escape_prose(text) == text


def test_a_text_of_several_lines_cannot_command_a_terminal() -> None:
    text = "a\x1b[2Jb\rc\u202ed\u2028e\n\u200dz"

    assert escape_prose(text) == r"a\x1b[2Jb\rc\u202ed\u2028e" + "\n" + r"\u200dz"
