import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders import (
    asked,
    assistant,
    called,
    failed,
    finished,
    function_call,
    output,
    own_tool,
    removed,
    replied,
    said,
    succeeded,
    thread,
    user,
)
from tests.core.journals import WORKFLOW as JOURNAL_WORKFLOW
from tests.core.journals import journals, scrambled
from twelvefold.core.budget import Limits
from twelvefold.core.compaction import BYTES_PER_TOKEN
from twelvefold.core.conversation.call_results import RESULT
from twelvefold.core.conversation.sendable import NO_RESULT
from twelvefold.core.events import (
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    RunStarted,
    ToolSucceeded,
)
from twelvefold.core.ports import ModelRequest, ReadOnly, ToolSpec
from twelvefold.core.request import CompactedRequest, build_request
from twelvefold.core.request_options import NO_PARAMETERS
from twelvefold.core.thread import Thread
from twelvefold.core.workflow import Workflow, tool
from twelvefold.errors import RequestError


@tool
async def look(db: ReadOnly) -> str:
    """Look."""
    return ""


@tool(requires="look")
async def enrol(db: ReadOnly) -> str:
    """Enrol."""
    return ""


WORKFLOW = Workflow("academy", "Help people.", (look, enrol))
BARE = Workflow("academy", "", ())
LIMITS = Limits()
LONG = "seats " * 200


def turn(first: int = 1) -> Sequence[Event]:
    """A turn with a long result, from this position on."""
    result = succeeded(f"{first + 1}.0", "look", LONG)
    return asked("which seats are left"), called("look", id="c1"), result, said(), finished()


def left_out(length: int) -> str:
    return f"[a result of {length} characters was left out to save room]"


def room_for(told: Thread, less: int = 0) -> Limits:
    """A window that the whole thread would just fill, but for so many characters."""
    whole = build_request(told, BARE, Limits(context_tokens=10**6)).request.items
    characters = len(msgspec.json.encode(whole)) - less
    tokens = next(n for n in range(10**6) if int(n * 0.9) * BYTES_PER_TOKEN >= characters)
    return Limits(context_tokens=tokens)


def test_a_request_is_the_instructions_the_conversation_and_the_open_tools() -> None:
    told = thread(asked("hello"), said("hi"), finished(), asked("look"))

    assert build_request(told, WORKFLOW, LIMITS) == CompactedRequest(
        ModelRequest("Help people.", (user("hello"), assistant("hi"), user("look")), (look.spec,))
    )


def test_a_tool_is_offered_once_it_is_open() -> None:
    told = thread(asked(), called("look"), succeeded("2.0", "look"))

    assert build_request(told, WORKFLOW, LIMITS).request.tools == (look.spec, enrol.spec)


def test_a_conversation_that_fits_is_sent_whole() -> None:
    told = thread(*turn(), asked())

    compacted = build_request(told, BARE, room_for(told))

    assert (compacted.results_left_out, compacted.turns_left_out) == (0, 0)


def test_of_one_that_does_not_the_oldest_results_go_first() -> None:
    told = thread(*turn(), *turn(6), asked())

    compacted = build_request(told, BARE, room_for(told, less=100))

    results = [item["output"] for item in compacted.request.items if item["type"] == RESULT]
    assert results == [left_out(len(LONG)), LONG]
    assert (compacted.results_left_out, compacted.turns_left_out) == (1, 0)


def test_no_more_results_go_than_must() -> None:
    looked: list[Event] = [called("look", id="c1"), succeeded("2.0", "look", LONG)]
    looked_again: list[Event] = [called("look", id="c2"), succeeded("4.0", "look", LONG)]
    told = thread(asked(), *looked, *looked_again, replied(ended="content_filter"))

    compacted = build_request(told, BARE, room_for(told, less=100))

    results = [item["output"] for item in compacted.request.items if item["type"] == RESULT]
    assert results == [left_out(len(LONG)), LONG]


def test_then_the_oldest_turns_go() -> None:
    told = thread(*turn(), *turn(6), asked("and now"))

    compacted = build_request(told, BARE, Limits(context_tokens=250))

    assert compacted.request.items[0] == user("which seats are left")
    assert compacted.request.items[-1] == user("and now")
    assert len(compacted.request.items) == 5
    assert (compacted.results_left_out, compacted.turns_left_out) == (2, 1)


def test_results_that_the_model_has_not_seen_stay() -> None:
    told = thread(
        asked("w" * 2000),
        called("look", id="c1"),
        succeeded("2.0", "look", LONG),
        called("look", id="c2"),
        succeeded("4.0", "look", LONG),
    )

    compacted = build_request(told, BARE, room_for(told, less=10))

    results = [item for item in compacted.request.items if item["type"] == RESULT]
    assert results == [output("c1", left_out(len(LONG))), output("c2", LONG)]


def items_of(told: Thread, limits: Limits) -> tuple[Item, ...]:
    return build_request(told, BARE, limits).request.items


def test_an_unread_result_is_never_cut_and_the_error_names_the_setting() -> None:
    told = thread(asked(), called("look"), succeeded("2.0", "look", "seats " * 4000))

    with pytest.raises(RequestError) as refused:
        build_request(told, BARE, Limits(context_tokens=3000))

    assert str(refused.value) == (
        "this turn is about 8061 tokens long, and a window of 3000 leaves room for 2700; "
        "set OPENAI_CONTEXT_TOKENS if the model's window is larger"
    )


def own_call(question: str, id: str = "c1") -> list[Event]:
    """A turn that ends with a call of a tool of the caller's."""
    start = asked(question, tools=(own_tool("get"),))
    return [start, replied(function_call("get", id)), finished()]


def brings(id: str, text: str, *more: Item) -> RunStarted:
    return RunStarted((output(id, text), *more), "ann", "academy", "1.0")


def test_a_question_and_the_callers_result_are_sent_whole_or_not_at_all() -> None:
    question, result = "q" * 150_000, "r" * 245_000
    told = thread(*own_call(question), brings("c1", result))

    with pytest.raises(RequestError, match="OPENAI_CONTEXT_TOKENS"):
        build_request(told, BARE, LIMITS)

    assert items_of(told, Limits(context_tokens=150_000)) == (
        user(question),
        function_call("get"),
        output("c1", result),
    )


def test_what_the_caller_brought_along_is_not_replaced_and_older_turns_go_instead() -> None:
    told = thread(*turn(), *own_call("and here"), brings("c1", LONG, user("so?")))

    compacted = build_request(told, BARE, Limits(context_tokens=600))

    assert compacted.request.items == (
        user("and here"),
        function_call("get"),
        output("c1", LONG),
        user("so?"),
    )
    assert (compacted.results_left_out, compacted.turns_left_out) == (1, 1)


def test_what_the_caller_brought_along_may_go_once_the_model_has_read_it() -> None:
    brought = [*own_call("and here"), brings("c1", LONG)]
    looked: list[Event] = [called("look", id="c2"), succeeded("5.0", "look", LONG)]

    items = items_of(thread(*brought, *looked), Limits(context_tokens=700))

    assert items == (
        user("and here"),
        function_call("get"),
        output("c1", left_out(len(LONG))),
        function_call("look", "c2"),
        output("c2", LONG),
    )


def test_of_a_history_that_the_caller_sends_only_the_last_results_are_unread() -> None:
    brought = [
        *(user("one"), function_call("get", "a"), output("a", LONG)),
        *(function_call("get", "b"), output("b", LONG)),
    ]
    told = thread(RunStarted(tuple(brought), "ann", "academy", "1.0"))

    items = items_of(told, Limits(context_tokens=650))

    assert [item["output"] for item in items if item["type"] == RESULT] == [
        left_out(len(LONG)),
        LONG,
    ]


def test_an_item_that_was_taken_out_takes_no_room() -> None:
    story: list[Event] = [asked("hello", user("x" * 3000)), said("hi"), finished(), removed("1i1")]
    told = thread(*story, asked("more"))

    compacted = build_request(told, BARE, Limits(context_tokens=500))

    assert compacted.request.items == (user("hello"), assistant("hi"), user("more"))
    assert compacted.turns_left_out == 0


def test_a_run_whose_only_item_was_taken_out_still_has_the_last_turn() -> None:
    story: list[Event] = [asked("one"), said("1"), finished(), asked("two"), said("2"), finished()]
    told = thread(*story, asked("three"), removed("7i0"))

    compacted = build_request(told, BARE, room_for(told, less=10))

    assert compacted.request.items == (user("two"), assistant("2"))
    assert compacted.turns_left_out == 1


def test_the_callers_own_tools_take_room_once_and_their_earlier_lists_none() -> None:
    wordy = own_tool("get", description="Get. " * 100)
    story: list[Event] = [asked("hello", tools=(wordy,)), said("hi"), finished()]
    told = thread(*story * 3, asked("more"))

    assert len(items_of(told, Limits(context_tokens=400))) == 7


def test_arguments_that_grow_when_they_are_sent_make_the_rest_shorter() -> None:
    garbled = replied(function_call("look", "c1", '"' * 500))
    bad = failed("2.0", "look", "arguments", "Error: no JSON")
    told = thread(*turn(), asked(), garbled, failed("7.0", "look", "arguments"))
    assert bad.failure == "arguments"

    items = items_of(told, room_for(told))

    assert len(msgspec.json.encode(items)) <= room_for(told).context_tokens * 0.9 * 3


def test_a_conversation_in_chinese_is_as_long_as_its_tokens() -> None:
    told = thread(*turn(), asked("课" * 900))

    compacted = build_request(told, BARE, Limits(context_tokens=1100))

    assert compacted.turns_left_out == 1


def test_a_turn_that_the_model_has_made_too_long_is_no_fault_of_the_users() -> None:
    told = thread(asked(), *[replied(assistant("so " * 500), function_call("x"))] * 3)

    with pytest.raises(RequestError) as refused:
        build_request(told, BARE, Limits(context_tokens=1000))

    assert "shorten" not in str(refused.value)


def test_a_result_that_is_shorter_than_its_note_stays() -> None:
    short: list[Event] = [
        asked(LONG),
        called("look"),
        succeeded("2.0", "look", "ok"),
        said(),
        finished(),
    ]
    told = thread(*short, asked("more"))

    compacted = build_request(told, BARE, room_for(told, less=10))

    assert (compacted.results_left_out, compacted.turns_left_out) == (0, 1)


@pytest.mark.parametrize("parts", [[{"type": "input_text", "text": LONG}], LONG, None])
def test_results_that_a_caller_brought_along_may_have_any_shape(parts: object) -> None:
    brought = [function_call("look"), {"type": RESULT, "call_id": "c1", "output": parts}]
    start = RunStarted((*brought, assistant("I see."), user("go on")), "ann", "academy", "1.0")
    told = thread(start)

    compacted = build_request(told, BARE, room_for(told, less=10 if parts else 0))

    kept = [item["output"] for item in compacted.request.items if item["type"] == RESULT]
    assert kept == [left_out(len(str(parts))) if parts else "(no result)"]


def test_the_instructions_and_the_tools_take_room_too() -> None:
    told = thread(*turn(), asked())
    wordy = Workflow("academy", "Help. " * 100, (replace(look, description="Look. " * 100),))

    compacted = build_request(told, wordy, room_for(told))

    assert compacted.results_left_out == 1


def test_a_turn_that_alone_is_longer_than_the_window_is_refused_with_what_there_is() -> None:
    told = thread(*turn(), asked("x" * 3000))

    with pytest.raises(RequestError) as refused:
        build_request(told, BARE, Limits(context_tokens=1000))

    assert str(refused.value) == (
        "this turn is about 1015 tokens long, and a window of 1000 leaves room for 900; "
        "shorten the input, or set OPENAI_CONTEXT_TOKENS if the model's window is larger"
    )


def test_instructions_that_are_longer_than_the_window_leave_no_room() -> None:
    with pytest.raises(RequestError, match="leaves room for 0"):
        build_request(thread(asked()), Workflow("a", "x" * 9000, ()), Limits(context_tokens=1000))


def test_what_the_caller_wants_goes_into_the_request() -> None:
    weather = own_tool("get_weather")
    wishes: dict[str, Any] = {"tools": (weather,), "temperature": 0.5, "hops": 2}
    start = asked("hello", instructions="Be brief.", tool_choice="required", **wishes)

    request = build_request(thread(start), WORKFLOW, LIMITS).request

    assert request == ModelRequest(
        "Help people.\n\nBe brief.",
        (user("hello"),),
        (look.spec, ToolSpec("get_weather", "", NO_PARAMETERS, strict=False)),
        {"temperature": 0.5, "tool_choice": "required"},
        hops=2,
    )


@pytest.mark.parametrize(("ours", "theirs"), [("Help.", ""), ("", "Help.")])
def test_instructions_of_one_side_alone_are_all(ours: str, theirs: str) -> None:
    told = thread(asked(instructions=theirs))

    assert build_request(told, Workflow("a", ours, ()), LIMITS).request.instructions == "Help."


def test_a_call_is_demanded_only_of_the_first_reply() -> None:
    told = thread(asked(tool_choice="required"), called("look"), succeeded("2.0", "look"))

    assert build_request(told, WORKFLOW, LIMITS).request.options == {}


@settings(max_examples=30)
@given(st.one_of(journals, scrambled), st.integers(300, 3000))
def test_a_request_keeps_its_calls_together_and_to_the_window(
    events: Sequence[Event], window: int
) -> None:
    told, limits = thread(*events), Limits(context_tokens=window)
    assume(told.latest)

    try:
        compacted = build_request(told, JOURNAL_WORKFLOW, limits)
    except RequestError:
        return
    items = compacted.request.items
    newest, *behind = [entry.event for entry in told.latest]
    assert len(json.dumps(items)) <= window * BYTES_PER_TOKEN
    assert _calls_and_results_match(items)
    for result in _unread_of(told):
        assert result in [item.get("output") for item in items]
    # Items are put in and taken out between two runs, or all that was said may be gone.
    edited = any(isinstance(one, ItemsAdded | ItemRemoved) for one in behind)
    if isinstance(newest, RunStarted) and not edited:
        assert newest.items[0] in items
    assert compacted == build_request(thread(*events), JOURNAL_WORKFLOW, limits)


def _unread_of(told: Thread) -> Sequence[str]:
    """The results behind the last entry by the model, of a thread that goes on."""
    events = [entry.event for entry in told.latest]
    replies = [index for index, event in enumerate(events) if isinstance(event, ModelReplied)]
    called = told.latest[replies[-1]].position if replies and told.status == "active" else 0
    return [
        event.result or NO_RESULT
        for event in events
        if isinstance(event, ToolSucceeded) and event.call.startswith(f"{called}.")
    ]


def _calls_and_results_match(items: Sequence[Item]) -> bool:
    """Whether the calls of each reply are followed by their results, in the same order."""
    waiting: list[object] = []
    for item in items:
        if item["type"] == "function_call":
            waiting.append(item["call_id"])
        elif item["type"] == RESULT:
            if not waiting or item["call_id"] != waiting.pop(0):
                return False
        elif waiting:
            return False
    return not waiting
