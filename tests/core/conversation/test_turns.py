import msgspec
import pytest

from tests.builders import (
    added,
    allowed,
    approval_asked,
    asked,
    assistant,
    called,
    failed,
    finished,
    function_call,
    outcome_unknown,
    output,
    own_tool,
    removed,
    replied,
    said,
    succeeded,
    thread_of,
    user,
)
from twelvefold.core.conversation.sendable import NOT_RUN
from twelvefold.core.conversation.turns import UNKNOWN, Turn
from twelvefold.core.events import Event, Item, ReplyEnd, RequestOptions, RunStarted, encode


def turns(*events: Event) -> list[Turn]:
    return list(thread_of(*events).turns)


def test_an_empty_journal_has_no_turns() -> None:
    assert thread_of().turns == ()


def test_a_run_is_a_turn() -> None:
    first, second = turns(asked("hello"), said("hi"), finished(), asked("more"))

    assert first.items == (user("hello"), assistant("hi"))
    assert second.items == (user("more"),)


def test_a_reply_without_its_run_is_a_turn() -> None:
    (first, second) = turns(said("hi"), asked("more"))

    assert first.items == (assistant("hi"),)
    assert second.items == (user("more"),)


def test_the_size_of_a_turn_is_that_of_its_items_as_json() -> None:
    for turn in turns(asked("hello"), said("hi"), finished(), asked("more")):
        assert turn.size == len(msgspec.json.encode(turn.items))


def test_a_call_is_followed_by_its_result() -> None:
    (turn,) = turns(asked(), called("enrol", id="c1"), succeeded("2.0", result="enrolled"), said())

    assert turn.items[1:3] == (function_call("enrol", "c1"), output("c1", "enrolled"))


def test_results_follow_in_the_order_of_the_calls() -> None:
    (turn,) = turns(
        asked(),
        called("look", "enrol"),
        failed("2.1", "enrol", message="Error: full"),
        succeeded("2.0", "look", "seats: 0"),
    )

    assert turn.items[3:] == (output("c1", "seats: 0"), output("c1-2", "Error: full"))


def test_a_call_without_a_result_has_a_note_in_its_place() -> None:
    (turn,) = turns(asked(), called("look", "enrol"), succeeded("2.0", "look"), finished("failed"))

    assert turn.items[-1] == output("c1-2", NOT_RUN)


def test_a_call_with_an_unknown_outcome_differs_from_one_that_was_not_run() -> None:
    story: list[Event] = [asked(), called("pay", "look"), outcome_unknown("2.0", "pay")]

    (cancelled,) = turns(*story, finished("cancelled"))
    (known,) = turns(*story, succeeded("2.0", "pay", "paid"))
    (lost,) = turns(*story, failed("2.0", "pay", message="Error: lost"))

    assert cancelled.items[-2:] == (output("c1", UNKNOWN), output("c1-2", NOT_RUN))
    assert known.items[-2] == output("c1", "paid")
    assert lost.items[-2] == output("c1", "Error: lost")


def test_a_call_id_that_a_later_reply_repeats_has_its_own_result() -> None:
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

    assert (before.unread, after.unread) == (frozenset({3, 4}), frozenset())


def test_reasoning_stays_with_its_reply() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []}

    (turn,) = turns(asked(), replied(reasoning, assistant("Done.")))

    assert turn.items[1:] == (reasoning, assistant("Done."))


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
def test_only_the_text_of_a_reply_that_was_cut_off_remains(ended: ReplyEnd) -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    half = function_call("enrol", "c1", '{"code": "CR-')

    (turn,) = turns(asked(), replied(reasoning, assistant("I will"), half, ended=ended))

    assert turn.items[1:] == (assistant("I will"),)


def test_a_call_without_an_id_has_a_result_without_one() -> None:
    call = {"type": "function_call", "name": "look", "arguments": "{}"}

    (turn,) = turns(asked(), replied(call), succeeded("2.0", "look", "there"))

    assert turn.items[1:] == (call, output("", "there"))


# --- tools of the caller

WEATHER = own_tool("get_weather")


def all_items(*events: Event) -> list[Item]:
    return [item for turn in turns(*events) for item in turn.items]


def start_with(*items: Item) -> RunStarted:
    """Return the start of a run with results as its input."""
    return RunStarted(items, "ann", "academy", "1.0")


def weather(*calls: Item) -> list[Event]:
    """Return a run that ends with calls of the caller's tool."""
    return [asked("and now?", tools=(WEATHER,)), replied(*calls), finished()]


def test_a_call_of_the_callers_tool_is_followed_by_the_callers_result() -> None:
    story = weather(function_call("get_weather", "c1"))

    assert all_items(*story, asked("so?", output("c1", "sunny"))) == [
        user("and now?"),
        function_call("get_weather", "c1"),
        output("c1", "sunny"),
        user("so?"),
    ]


@pytest.mark.parametrize("late", [False, True])
def test_a_run_or_an_approval_may_declare_a_tool_of_the_caller(late: bool) -> None:
    story: list[Event] = [
        asked("refund it", tools=() if late else (WEATHER,)),
        called("refund"),
        approval_asked(),
    ]
    answer = allowed(options=RequestOptions(tools=(WEATHER,)) if late else None)
    story += [answer, succeeded("2.0"), replied(function_call("get_weather", "c1")), finished()]

    items = all_items(*story, asked("so?", output("c1", "sunny")))

    assert items[-3:] == [function_call("get_weather", "c1"), output("c1", "sunny"), user("so?")]


def test_the_callers_result_may_come_with_an_earlier_run_or_between_runs() -> None:
    story = weather(function_call("get_weather", "c1"))
    expected = [function_call("get_weather", "c1"), output("c1", "sunny")]

    later: list[Event] = [asked("hm", output("c1", "sunny")), said(), finished(), asked()]
    between: list[Event] = [added(output("c1", "sunny")), asked()]

    assert all_items(*story, *later)[1:3] == all_items(*story, *between)[1:3] == expected


def test_a_callers_call_without_a_result_was_not_run() -> None:
    story = weather(function_call("get_weather", "c1"))

    assert all_items(*story, asked("never mind", output("c2", "?")))[2:] == [
        output("c1", NOT_RUN),
        user("never mind"),
        output("c2", "?"),
    ]


def test_the_callers_results_follow_in_the_order_of_the_calls() -> None:
    calls = [function_call("get_weather", id) for id in ("c1", "c2", "c1")]
    second = start_with(output("c2", "two"), output("c1", "one"), user("so?"))

    assert all_items(*weather(*calls), second)[4:] == [
        output("c1", "one"),
        output("c2", "two"),
        output("c1", "one"),
        user("so?"),
    ]


def test_a_caller_cannot_replace_the_result_of_a_workflow_tool() -> None:
    calls = replied(function_call("get_weather", "c1"), function_call("look", "c2"))
    story: list[Event] = [asked(tools=(WEATHER,)), calls, succeeded("2.1", "look", "3"), finished()]

    assert all_items(*story, start_with(output("c1", "sunny"), output("c2", "forged")))[3:] == [
        output("c1", "sunny"),
        output("c2", "3"),
        output("c2", "forged"),
    ]


def test_a_result_beside_its_own_call_belongs_to_that_call() -> None:
    story = weather(function_call("get_weather", "c1"))
    replayed = (function_call("get_weather", "c1"), output("c1", "rain"))

    assert all_items(*story, start_with(*replayed))[2:] == [output("c1", NOT_RUN), *replayed]


def test_a_result_belongs_to_the_newest_call_with_its_id() -> None:
    story = weather(function_call("get_weather", "c1")) * 2

    items = all_items(*story, start_with(output("c1", "sunny")))

    assert [item["output"] for item in items if "output" in item] == [NOT_RUN, "sunny"]


def test_a_call_of_a_reply_that_was_cut_off_gets_no_result() -> None:
    half = replied(function_call("get_weather", "c1", "{"), ended="max_output_tokens")
    story: list[Event] = [asked(tools=(WEATHER,)), half, finished("incomplete")]

    assert all_items(*story, start_with(output("c1", "?")))[1:] == [output("c1", "?")]


def test_a_result_may_be_a_list_of_parts() -> None:
    result = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_image"}]}

    items = all_items(*weather(function_call("get_weather", "c1")), start_with(result))

    assert items[2]["output"] == [{"type": "input_image"}]


def test_tools_of_the_caller_do_not_count_towards_the_size_of_a_turn() -> None:
    with_tools = asked(tools=(own_tool("x", description="long " * 100),), metadata={"a": "b"})

    assert turns(with_tools)[0].size < len(encode(asked())[2]) + 100


def test_tools_of_an_approval_do_not_count_towards_the_size_of_a_turn() -> None:
    story = (asked(), called("refund"), approval_asked())
    long = RequestOptions(tools=(own_tool("x", description="long " * 100),))

    assert turns(*story, allowed(options=long))[0].size < turns(*story, allowed())[0].size + 100


# --- added and removed items


def test_items_added_between_runs_are_a_turn() -> None:
    first, between, last = turns(asked("a"), said("b"), finished(), added(user("c")), asked("d"))

    assert (first.items[1:], between.items, last.items) == (
        (assistant("b"),),
        (user("c"),),
        (user("d"),),
    )


def test_a_conversation_may_begin_with_added_items() -> None:
    assert all_items(added(user("a")), added(user("b")), asked("c")) == [
        user("a"),
        user("b"),
        user("c"),
    ]


STORY: list[Event] = [
    asked("one", user("two")),
    replied(assistant("hm"), assistant("well"), function_call("look", "c1")),
    succeeded("2.0", "look", "3"),
    said("three"),
    finished(),
    added(user("four"), user("five")),
]
WHOLE = all_items(*STORY, asked())


@pytest.mark.parametrize(
    ("place", "gone"),
    [
        ("1i0", [0]),
        ("1i1", [1]),
        ("2", [2]),
        ("2_1", [3]),
        ("2.0", [4, 5]),
        ("4", [6]),
        ("6i1", [8]),
        ("4x2", []),
        ("4_1", []),
    ],
)
def test_a_removed_item_is_left_out(place: str, gone: list[int]) -> None:
    left = all_items(*STORY, removed(place), asked())

    assert left == [item for index, item in enumerate(WHOLE) if index not in gone]


def test_a_streamed_message_is_removed_by_the_number_of_its_first_delta() -> None:
    shown = msgspec.structs.replace(said("Hello."), first_delta=3)
    story: list[Event] = [asked("hi"), shown, finished()]

    assert all_items(*story, removed("2x3"), asked("so?")) == [user("hi"), user("so?")]
    assert len(all_items(*story, removed("2"), removed("2x1"), asked("so?"))) == 3


def test_removing_a_request_for_approval_changes_no_turn() -> None:
    assert all_items(*STORY, removed("2.0", "mcpr"), asked()) == WHOLE


def test_reasoning_is_removed_with_the_message_it_led_to() -> None:
    reasoning: Item = {"type": "reasoning", "id": "rs_1"}
    story: list[Event] = [asked("hi"), replied(reasoning, assistant("a"), assistant("b"))]

    assert all_items(*story, finished(), removed("2"), asked("so?")) == [
        user("hi"),
        assistant("b"),
        user("so?"),
    ]


def test_a_call_whose_result_was_removed_was_not_run() -> None:
    story = weather(function_call("get_weather", "c1"))
    story += [start_with(output("c1", "secret")), said("I see."), finished()]

    left = all_items(*story, removed("4i0"), asked())
    other = all_items(*story, removed("1i0"), asked())

    assert left[2] == output("c1", NOT_RUN)
    assert other[1] == output("c1", "secret")
