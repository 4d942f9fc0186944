"""Invisible characters, and those that affect their neighbours, are escaped."""

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twelvefold.observe.escape import (
    MAX_MARKS,
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
"""Texts and their escapes; the page's tests use the same table."""


def test_no_invisible_character_is_shown() -> None:
    visible = {one for one in EVERY if is_visible(one)}

    assert not visible & {one for one in EVERY if unicodedata.category(one) in HIDDEN}
    assert not visible & {one for one in EVERY if unicodedata.category(one) == "Zs" and one != " "}
    assert not visible & {*DEFAULT_IGNORABLE, *ALONE}
    assert {"a", "é", "ש", "م", "漢", "🙂", "~", " ", "\u0301"} <= visible


@pytest.mark.parametrize("around", ["{}", "a{}b", " {} ", '"{}"', "ש{}", "{0}{0}", "🙂{}"])
def test_every_invisible_character_is_escaped_in_any_context(around: str) -> None:
    # Every 97th of the unassigned and private ones.
    sampled = ("Cn", "Co")
    hidden = [
        one
        for number, one in enumerate(EVERY)
        if not is_visible(one) and (unicodedata.category(one) not in sampled or number % 97 == 0)
    ]

    assert all(map(is_visible, escape("".join(map(around.format, hidden)))))


@given(st.text())
def test_an_escaped_text_has_only_visible_characters(text: str) -> None:
    assert all(map(is_visible, escape(text)))
    assert all(is_visible(one) or one in "\n\t\u200c\u200d\ufe0f" for one in escape_prose(text))


@given(st.text(st.sampled_from("ae ש\u0301\u0489\u20dd\u0e31漢.\u200b")))
def test_the_combining_marks_of_a_character_are_limited(text: str) -> None:
    marks = MAX_MARKS
    for one in escape(text):
        marks = marks + 1 if unicodedata.category(one)[0] == "M" else 0
        assert marks <= MAX_MARKS


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_escaped_json_has_the_same_value_on_one_visible_line(value: object) -> None:
    escaped = escape_json(json.dumps(value, ensure_ascii=False))

    assert json.loads(escaped) == value
    assert all(map(is_visible, escaped))


@given(st.text(st.sampled_from("ae\n 🙂❤\ufe0f\u200d\u202e\u0301")), st.integers(0, 9))
def test_escaping_is_the_same_for_a_text_in_pieces(text: str, at: int) -> None:
    escaper = prose_escaper()

    assert escaper.feed(text[:at]) + escaper.feed(text[at:]) == escape_prose(text)


@pytest.mark.parametrize(("text", "escaped"), json.loads(TABLE.read_text(encoding="utf-8")))
def test_the_escapes_are_those_of_the_table(text: str, escaped: str) -> None:
    assert escape(text) == escaped


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
def test_ordinary_texts_are_not_changed(text: str) -> None:
    assert escape_prose(text) == text


def test_a_text_of_several_lines_cannot_control_a_terminal() -> None:
    text = "a\x1b[2Jb\rc\u202ed\u2028e\n\u200dz"

    assert escape_prose(text) == r"a\x1b[2Jb\rc\u202ed\u2028e" + "\n" + r"\u200dz"
