"""What makes a thread listed, and what its title is."""

import pytest

from tests.builders import added, asked, removed, user
from twelvefold.core.events import Event, Item
from twelvefold.core.listing import TITLE_CHARS, is_listed, title_of


@pytest.mark.parametrize(
    ("first", "listed"),
    [
        (None, True),
        (added(user("hi")), True),
        (asked(), True),
        (asked(store=False), False),
        (asked(store=False, conversation=True), True),
    ],
    ids=["empty", "items", "kept", "not_kept", "named"],
)
def test_a_thread_is_listed_unless_it_began_with_a_turn_not_to_be_kept(
    first: Event | None, listed: bool
) -> None:
    assert is_listed(first) is listed


@pytest.mark.parametrize(
    ("items", "title"),
    [
        ((user("  two\n\tlines "),), "two lines"),
        ((user("rules") | {"role": "system"}, user(""), user("hi"), user("ho")), "hi"),
        ((user("x") | {"content": None}, {"type": "reasoning"}), ""),
        ((user("x" * TITLE_CHARS),), "x" * TITLE_CHARS),
        ((user("é" * (TITLE_CHARS + 1)),), "é" * (TITLE_CHARS - 1) + "…"),
    ],
    ids=["one_line", "first_words", "no_words", "just_fits", "cut"],
)
def test_a_title_is_what_a_user_says_first(items: tuple[Item, ...], title: str) -> None:
    assert title_of(added(*items)) == title


def test_parts_that_are_no_text_are_left_out_of_a_title() -> None:
    parts = [{"type": "input_image"}, {"type": "input_text", "text": "look"}, {"text": None}]

    assert title_of(asked("", user("") | {"content": parts})) == "look"


def test_other_entries_have_no_title() -> None:
    assert title_of(removed("1i0")) == ""
