"""Which threads are listed, and their titles, by their entries."""

import pytest

from tests.builders import added, asked, removed, user
from twelvefold.core.events import Event, Item
from twelvefold.services.store.rows import TITLE_CHARS, is_listed, title_of


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
def test_a_thread_is_listed_unless_it_began_with_store_false_outside_a_conversation(
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
def test_a_title_is_the_text_of_the_first_user_message(items: tuple[Item, ...], title: str) -> None:
    assert title_of(added(*items)) == title


def test_a_title_has_only_the_text_parts() -> None:
    parts = [{"type": "input_image"}, {"type": "input_text", "text": "look"}, {"text": None}]

    assert title_of(asked("", user("") | {"content": parts})) == "look"


def test_other_entries_have_no_title() -> None:
    assert title_of(removed("1i0")) == ""
