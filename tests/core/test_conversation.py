import pytest

from tests.builders import (
    asked,
    assistant,
    called,
    entries,
    failed,
    finished,
    function_call,
    output,
    replied,
    said,
    succeeded,
    user,
)
from twelvefold.core.conversation import NOT_RUN, Turn, turns_of
from twelvefold.core.events import Event, ReplyEnd


def turns(*events: Event) -> list[Turn]:
    return list(turns_of(entries(*events)))


def test_nothing_has_happened_in_an_empty_journal() -> None:
    assert turns_of(()) == ()


def test_a_run_is_a_turn() -> None:
    first, second = turns(asked("hello"), said("hi"), finished(), asked("more"))

    assert first.items == (user("hello"), assistant("hi"))
    assert second.items == (user("more"),)


def test_a_turn_is_as_long_as_its_entries_are_in_the_journal() -> None:
    journal = entries(asked("hello"), said("hi"), finished(), asked("more"))

    assert [turn.size for turn in turns_of(journal)] == [
        sum(entry.size for entry in journal[:3]),
        journal[3].size,
    ]


def test_a_call_is_followed_by_its_result() -> None:
    (turn,) = turns(asked(), called("enrol", id="c1"), succeeded("2.0", result="enrolled"), said())

    assert turn.items[1:3] == (function_call("enrol", "c1"), output("c1", "enrolled"))


def test_results_follow_in_the_order_of_the_calls_whichever_came_first() -> None:
    (turn,) = turns(
        asked(),
        called("look", "enrol"),
        failed("2.1", "enrol", message="Error: full"),
        succeeded("2.0", "look", "seats: 0"),
    )

    assert turn.items[3:] == (output("c1", "seats: 0"), output("c1-2", "Error: full"))


def test_a_call_that_has_no_result_yet_is_told_so() -> None:
    (turn,) = turns(asked(), called("look", "enrol"), succeeded("2.0", "look"), finished("failed"))

    assert turn.items[-1] == output("c1-2", NOT_RUN)


def test_a_call_id_that_comes_again_in_a_later_reply_has_its_own_result() -> None:
    (turn,) = turns(
        asked(),
        called("look", id="c1"),
        succeeded("2.0", result="one"),
        called("look", id="c1"),
        succeeded("4.0", result="two"),
    )

    assert [item["output"] for item in turn.items if "output" in item] == ["one", "two"]


def test_the_results_of_the_last_reply_are_unread() -> None:
    (before,) = turns(asked(), called("look", "enrol"), succeeded("2.0"), succeeded("2.1"))
    (after,) = turns(asked(), called("look", "enrol"), succeeded("2.0"), succeeded("2.1"), said())

    assert (before.unread, after.unread) == (2, 0)


def test_reasoning_stays_with_its_reply() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []}

    (turn,) = turns(asked(), replied(reasoning, assistant("Done.")))

    assert turn.items[1:] == (reasoning, assistant("Done."))


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
def test_of_a_reply_that_was_cut_short_only_the_words_remain(ended: ReplyEnd) -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    half = function_call("enrol", "c1", '{"code": "CR-')

    (turn,) = turns(asked(), replied(reasoning, assistant("I will"), half, ended=ended))

    assert turn.items[1:] == (assistant("I will"),)


def test_a_call_without_an_id_has_a_result_without_one() -> None:
    call = {"type": "function_call", "name": "look", "arguments": "{}"}

    (turn,) = turns(asked(), replied(call), succeeded("2.0", "look", "there"))

    assert turn.items[1:] == (call, output("", "there"))
