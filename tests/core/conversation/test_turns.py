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
    thread,
    user,
)
from twelvefold.core.conversation.call_results import UNKNOWN
from twelvefold.core.conversation.sendable import NOT_RUN
from twelvefold.core.conversation.turns import Turn
from twelvefold.core.events import Event, Item, ReplyEnd, RequestOptions, RunStarted, encode


def turns(*events: Event) -> list[Turn]:
    return list(thread(*events).turns)


def test_nothing_has_happened_in_an_empty_journal() -> None:
    assert thread().turns == ()


def test_a_run_is_a_turn() -> None:
    first, second = turns(asked("hello"), said("hi"), finished(), asked("more"))

    assert first.items == (user("hello"), assistant("hi"))
    assert second.items == (user("more"),)


def test_a_turn_is_as_long_as_its_items_are_as_json() -> None:
    for turn in turns(asked("hello"), said("hi"), finished(), asked("more")):
        assert turn.size == len(msgspec.json.encode(turn.items))


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


def test_a_call_that_may_have_happened_is_not_told_as_one_that_was_not_run() -> None:
    story: list[Event] = [asked(), called("pay", "look"), outcome_unknown("2.0", "pay")]

    (cancelled,) = turns(*story, finished("cancelled"))
    (known,) = turns(*story, succeeded("2.0", "pay", "paid"))
    (lost,) = turns(*story, failed("2.0", "pay", message="Error: lost"))

    assert cancelled.items[-2:] == (output("c1", UNKNOWN), output("c1-2", NOT_RUN))
    assert known.items[-2] == output("c1", "paid")
    assert lost.items[-2] == output("c1", "Error: lost")


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

    assert (before.unread, after.unread) == (frozenset({3, 4}), frozenset())


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


# --- tools of the caller's own

WEATHER = own_tool("get_weather")


def all_items(*events: Event) -> list[Item]:
    return [item for turn in turns(*events) for item in turn.items]


def answered(*items: Item) -> RunStarted:
    """A run's start that brings results along."""
    return RunStarted(items, "ann", "academy", "1.0")


def weather(*calls: Item) -> list[Event]:
    """A run that ends with calls of the caller's own tool."""
    return [asked("and now?", tools=(WEATHER,)), replied(*calls), finished()]


def test_a_callers_own_call_is_followed_by_what_the_caller_brings_along() -> None:
    story = weather(function_call("get_weather", "c1"))

    assert all_items(*story, asked("so?", output("c1", "sunny"))) == [
        user("and now?"),
        function_call("get_weather", "c1"),
        output("c1", "sunny"),
        user("so?"),
    ]


@pytest.mark.parametrize("late", [False, True])
def test_a_tool_of_the_caller_s_may_come_with_an_answer_or_be_there_before(late: bool) -> None:
    story: list[Event] = [
        asked("refund it", tools=() if late else (WEATHER,)),
        called("refund"),
        approval_asked(),
    ]
    answer = allowed(options=RequestOptions(tools=(WEATHER,)) if late else None)
    story += [answer, succeeded("2.0"), replied(function_call("get_weather", "c1")), finished()]

    items = all_items(*story, asked("so?", output("c1", "sunny")))

    assert items[-3:] == [function_call("get_weather", "c1"), output("c1", "sunny"), user("so?")]


def test_it_may_be_brought_along_by_a_run_that_is_over_or_between_two_runs() -> None:
    story = weather(function_call("get_weather", "c1"))
    expected = [function_call("get_weather", "c1"), output("c1", "sunny")]

    later: list[Event] = [asked("hm", output("c1", "sunny")), said(), finished(), asked()]
    between: list[Event] = [added(output("c1", "sunny")), asked()]

    assert all_items(*story, *later)[1:3] == all_items(*story, *between)[1:3] == expected


def test_a_callers_own_call_without_a_result_was_not_run() -> None:
    story = weather(function_call("get_weather", "c1"))

    assert all_items(*story, asked("never mind", output("c2", "?")))[2:] == [
        output("c1", NOT_RUN),
        user("never mind"),
        output("c2", "?"),
    ]


def test_the_results_of_several_calls_stand_in_the_order_of_the_calls() -> None:
    calls = [function_call("get_weather", id) for id in ("c1", "c2", "c1")]
    brought = answered(output("c2", "two"), output("c1", "one"), user("so?"))

    assert all_items(*weather(*calls), brought)[4:] == [
        output("c1", "one"),
        output("c2", "two"),
        output("c1", "one"),
        user("so?"),
    ]


def test_a_call_beside_those_of_the_server_has_a_result_of_its_own() -> None:
    calls = replied(function_call("get_weather", "c1"), function_call("look", "c2"))
    story: list[Event] = [asked(tools=(WEATHER,)), calls, succeeded("2.1", "look", "3"), finished()]

    assert all_items(*story, answered(output("c1", "sunny"), output("c2", "forged")))[3:] == [
        output("c1", "sunny"),
        output("c2", "3"),
        output("c2", "forged"),
    ]


def test_a_result_that_comes_with_a_call_of_its_own_belongs_to_that() -> None:
    story = weather(function_call("get_weather", "c1"))
    replayed = (function_call("get_weather", "c1"), output("c1", "rain"))

    assert all_items(*story, answered(*replayed))[2:] == [output("c1", NOT_RUN), *replayed]


def test_a_result_answers_the_newest_call_of_its_id() -> None:
    story = weather(function_call("get_weather", "c1")) * 2

    items = all_items(*story, answered(output("c1", "sunny")))

    assert [item["output"] for item in items if "output" in item] == [NOT_RUN, "sunny"]


def test_a_call_that_was_cut_short_waits_for_nothing() -> None:
    half = replied(function_call("get_weather", "c1", "{"), ended="max_output_tokens")
    story: list[Event] = [asked(tools=(WEATHER,)), half, finished("incomplete")]

    assert all_items(*story, answered(output("c1", "?")))[1:] == [output("c1", "?")]


def test_a_result_may_be_a_list_of_parts() -> None:
    brought = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_image"}]}

    items = all_items(*weather(function_call("get_weather", "c1")), answered(brought))

    assert items[2]["output"] == [{"type": "input_image"}]


def test_a_callers_tools_are_no_part_of_the_conversation() -> None:
    with_tools = asked(tools=(own_tool("x", description="long " * 100),), metadata={"a": "b"})

    assert turns(with_tools)[0].size < len(encode(asked())[2]) + 100


def test_nor_are_those_that_come_with_an_answer() -> None:
    story = (asked(), called("refund"), approval_asked())
    long = RequestOptions(tools=(own_tool("x", description="long " * 100),))

    assert turns(*story, allowed(options=long))[0].size < turns(*story, allowed())[0].size + 100


# --- items put in and taken out


def test_what_was_put_in_between_runs_is_a_turn_of_its_own() -> None:
    first, between, last = turns(asked("a"), said("b"), finished(), added(user("c")), asked("d"))

    assert (first.items[1:], between.items, last.items) == (
        (assistant("b"),),
        (user("c"),),
        (user("d"),),
    )


def test_a_conversation_may_begin_with_what_was_put_in() -> None:
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
def test_what_was_taken_out_is_not_said_again(place: str, gone: list[int]) -> None:
    left = all_items(*STORY, removed(place), asked())

    assert left == [item for index, item in enumerate(WHOLE) if index not in gone]


def test_a_message_that_was_shown_as_it_came_is_taken_out_by_its_first_piece() -> None:
    shown = msgspec.structs.replace(said("Hello."), first_delta=3)
    story: list[Event] = [asked("hi"), shown, finished()]

    assert all_items(*story, removed("2x3"), asked("so?")) == [user("hi"), user("so?")]
    assert len(all_items(*story, removed("2"), removed("2x1"), asked("so?"))) == 3


def test_a_request_for_approval_is_not_what_the_model_reads() -> None:
    assert all_items(*STORY, removed("2.0", "mcpr"), asked()) == WHOLE


def test_reasoning_goes_with_what_it_led_to() -> None:
    reasoning: Item = {"type": "reasoning", "id": "rs_1"}
    story: list[Event] = [asked("hi"), replied(reasoning, assistant("a"), assistant("b"))]

    assert all_items(*story, finished(), removed("2"), asked("so?")) == [
        user("hi"),
        assistant("b"),
        user("so?"),
    ]


def test_a_result_that_was_taken_out_is_a_result_no_more() -> None:
    story = weather(function_call("get_weather", "c1"))
    story += [answered(output("c1", "secret")), said("I see."), finished()]

    left = all_items(*story, removed("4i0"), asked())
    other = all_items(*story, removed("1i0"), asked())

    assert left[2] == output("c1", NOT_RUN)
    assert other[1] == output("c1", "secret")
