import json
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.attachments import image, message, png_of
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
    thread_of,
    user,
)
from tests.core.journals import WORKFLOW as JOURNAL_WORKFLOW
from tests.core.journals import journals, scrambled
from twelvefold.core.budget import BYTES_PER_TOKEN, Limits
from twelvefold.core.conversation.attachments import IMAGE_TOKENS
from twelvefold.core.conversation.sendable import NO_RESULT, RESULT
from twelvefold.core.events import (
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    RunStarted,
    ToolSucceeded,
)
from twelvefold.core.ports import ReadOnly
from twelvefold.core.request import build_request
from twelvefold.core.thread import Thread
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.errors import RequestError


@tool
async def look(db: ReadOnly) -> str:
    """Look."""
    return ""


BARE = Workflow("academy", "", ())
LIMITS = Limits()
LONG = "seats " * 200


def turn(first: int = 1) -> Sequence[Event]:
    """Return a turn with a long result that starts at position `first`."""
    result = succeeded(f"{first + 1}.0", "look", LONG)
    return asked("which seats are left"), called("look", id="c1"), result, said(), finished()


def left_out(length: int) -> str:
    return f"[a result of {length} characters was left out to save room]"


def room_for(thread: Thread, less: int = 0) -> Limits:
    """Return limits whose window is `less` bytes smaller than the thread needs."""
    items = build_request(thread, BARE, Limits(context_tokens=10**6)).request.items
    size = len(msgspec.json.encode(items)) - less
    tokens = next(n for n in range(10**6) if int(n * 0.9) * BYTES_PER_TOKEN >= size)
    return Limits(context_tokens=tokens)


def test_a_conversation_that_fits_is_sent_whole() -> None:
    thread = thread_of(*turn(), asked())

    compacted = build_request(thread, BARE, room_for(thread))

    assert (compacted.results_left_out, compacted.turns_left_out) == (0, 0)


def test_a_large_image_takes_the_room_of_its_estimate() -> None:
    picture = message(image(png_of(900_000)))
    thread = thread_of(asked("look", picture), said(), finished(), asked("and?"))
    tokens = int((IMAGE_TOKENS + 100) / 0.9)

    whole = build_request(thread, BARE, Limits(context_tokens=tokens))
    short = build_request(thread, BARE, Limits(context_tokens=IMAGE_TOKENS))

    assert (whole.turns_left_out, picture in whole.request.items) == (0, True)
    # It is left out with its turn, whole.
    assert (short.turns_left_out, short.request.items) == (1, (user("and?"),))


def test_an_image_that_must_be_sent_is_never_left_out() -> None:
    thread = thread_of(asked("look", message(image())))

    with pytest.raises(RequestError, match=f"about {IMAGE_TOKENS // 100}.. tokens long"):
        build_request(thread, BARE, Limits(context_tokens=1_000))


def test_an_image_in_a_result_is_left_out_with_the_result() -> None:
    result = {**output("c9", ""), "output": [image(png_of(900_000))]}
    call = function_call("c9", "look")
    thread = thread_of(asked("hi", call, result), said(), finished(), asked("and?"))

    compacted = build_request(thread, BARE, Limits(context_tokens=1_000))

    assert compacted.results_left_out == 1
    assert image(png_of(900_000)) not in compacted.request.items
    assert user("hi") in compacted.request.items


def test_the_oldest_results_are_replaced_first() -> None:
    thread = thread_of(*turn(), *turn(6), asked())

    compacted = build_request(thread, BARE, room_for(thread, less=100))

    results = [item["output"] for item in compacted.request.items if item["type"] == RESULT]
    assert results == [left_out(len(LONG)), LONG]
    assert (compacted.results_left_out, compacted.turns_left_out) == (1, 0)


def test_only_as_many_results_are_replaced_as_necessary() -> None:
    looked: list[Event] = [called("look", id="c1"), succeeded("2.0", "look", LONG)]
    looked_again: list[Event] = [called("look", id="c2"), succeeded("4.0", "look", LONG)]
    thread = thread_of(asked(), *looked, *looked_again, replied(ended="content_filter"))

    compacted = build_request(thread, BARE, room_for(thread, less=100))

    results = [item["output"] for item in compacted.request.items if item["type"] == RESULT]
    assert results == [left_out(len(LONG)), LONG]


def test_the_oldest_turns_are_dropped_after_the_results() -> None:
    thread = thread_of(*turn(), *turn(6), asked("and now"))

    compacted = build_request(thread, BARE, Limits(context_tokens=250))

    assert compacted.request.items[0] == user("which seats are left")
    assert compacted.request.items[-1] == user("and now")
    assert len(compacted.request.items) == 5
    assert (compacted.results_left_out, compacted.turns_left_out) == (2, 1)


def test_unread_results_stay() -> None:
    thread = thread_of(
        asked("w" * 2000),
        called("look", id="c1"),
        succeeded("2.0", "look", LONG),
        called("look", id="c2"),
        succeeded("4.0", "look", LONG),
    )

    compacted = build_request(thread, BARE, room_for(thread, less=10))

    results = [item for item in compacted.request.items if item["type"] == RESULT]
    assert results == [output("c1", left_out(len(LONG))), output("c2", LONG)]


def items_of(thread: Thread, limits: Limits) -> tuple[Item, ...]:
    return build_request(thread, BARE, limits).request.items


def test_an_unread_result_is_never_cut_and_the_error_names_the_setting() -> None:
    thread = thread_of(asked(), called("look"), succeeded("2.0", "look", "seats " * 4000))

    with pytest.raises(RequestError) as raised:
        build_request(thread, BARE, Limits(context_tokens=3000))

    assert str(raised.value) == (
        "this turn is about 8061 tokens long, and a window of 3000 leaves room for 2700; "
        "set OPENAI_CONTEXT_TOKENS if the model's window is larger"
    )


def own_call(question: str, id: str = "c1") -> list[Event]:
    """Return a turn that ends with a call of the caller's tool."""
    start = asked(question, tools=(own_tool("get"),))
    return [start, replied(function_call("get", id)), finished()]


def start_with_result(id: str, text: str, *more: Item) -> RunStarted:
    return RunStarted((output(id, text), *more), "ann", "academy", "1.0")


def test_a_question_and_the_callers_result_are_sent_in_full_or_not_at_all() -> None:
    question, result = "q" * 150_000, "r" * 245_000
    thread = thread_of(*own_call(question), start_with_result("c1", result))

    with pytest.raises(RequestError, match="OPENAI_CONTEXT_TOKENS"):
        build_request(thread, BARE, LIMITS)

    assert items_of(thread, Limits(context_tokens=150_000)) == (
        user(question),
        function_call("get"),
        output("c1", result),
    )


def test_older_turns_are_dropped_before_the_callers_results_are_replaced() -> None:
    thread = thread_of(*turn(), *own_call("and here"), start_with_result("c1", LONG, user("so?")))

    compacted = build_request(thread, BARE, Limits(context_tokens=600))

    assert compacted.request.items == (
        user("and here"),
        function_call("get"),
        output("c1", LONG),
        user("so?"),
    )
    assert (compacted.results_left_out, compacted.turns_left_out) == (1, 1)


def test_the_callers_results_may_be_replaced_after_the_model_has_read_them() -> None:
    answered = [*own_call("and here"), start_with_result("c1", LONG)]
    looked: list[Event] = [called("look", id="c2"), succeeded("5.0", "look", LONG)]

    items = items_of(thread_of(*answered, *looked), Limits(context_tokens=700))

    assert items == (
        user("and here"),
        function_call("get"),
        output("c1", left_out(len(LONG))),
        function_call("look", "c2"),
        output("c2", LONG),
    )


def test_only_the_last_results_of_a_history_from_the_caller_are_unread() -> None:
    history = [
        *(user("one"), function_call("get", "a"), output("a", LONG)),
        *(function_call("get", "b"), output("b", LONG)),
    ]
    thread = thread_of(RunStarted(tuple(history), "ann", "academy", "1.0"))

    items = items_of(thread, Limits(context_tokens=650))

    assert [item["output"] for item in items if item["type"] == RESULT] == [
        left_out(len(LONG)),
        LONG,
    ]


def test_a_removed_item_takes_no_room() -> None:
    story: list[Event] = [asked("hello", user("x" * 3000)), said("hi"), finished(), removed("1i1")]
    thread = thread_of(*story, asked("more"))

    compacted = build_request(thread, BARE, Limits(context_tokens=500))

    assert compacted.request.items == (user("hello"), assistant("hi"), user("more"))
    assert compacted.turns_left_out == 0


def test_the_turn_before_is_sent_if_the_only_item_of_the_latest_was_removed() -> None:
    story: list[Event] = [asked("one"), said("1"), finished(), asked("two"), said("2"), finished()]
    thread = thread_of(*story, asked("three"), removed("7i0"))

    compacted = build_request(thread, BARE, room_for(thread, less=10))

    assert compacted.request.items == (user("two"), assistant("2"))
    assert compacted.turns_left_out == 1


def test_tools_of_the_callers_earlier_runs_take_no_room() -> None:
    wordy = own_tool("get", description="Get. " * 100)
    story: list[Event] = [asked("hello", tools=(wordy,)), said("hi"), finished()]
    thread = thread_of(*story * 3, asked("more"))

    assert len(items_of(thread, Limits(context_tokens=400))) == 7


def test_arguments_that_grow_when_they_are_sent_count_with_their_new_size() -> None:
    garbled = replied(function_call("look", "c1", '"' * 500))
    thread = thread_of(*turn(), asked(), garbled, failed("7.0", "look", "arguments"))

    items = items_of(thread, room_for(thread))

    assert len(msgspec.json.encode(items)) <= room_for(thread).context_tokens * 0.9 * 3


def test_the_size_of_a_chinese_conversation_is_counted_in_bytes() -> None:
    thread = thread_of(*turn(), asked("课" * 900))

    compacted = build_request(thread, BARE, Limits(context_tokens=1100))

    assert compacted.turns_left_out == 1


def test_the_error_for_long_items_of_the_model_does_not_advise_a_shorter_input() -> None:
    thread = thread_of(asked(), *[replied(assistant("so " * 500), function_call("x"))] * 3)

    with pytest.raises(RequestError) as raised:
        build_request(thread, BARE, Limits(context_tokens=1000))

    assert "shorten" not in str(raised.value)


def test_a_result_shorter_than_the_note_stays() -> None:
    short: list[Event] = [
        asked(LONG),
        called("look"),
        succeeded("2.0", "look", "ok"),
        said(),
        finished(),
    ]
    thread = thread_of(*short, asked("more"))

    compacted = build_request(thread, BARE, room_for(thread, less=10))

    assert (compacted.results_left_out, compacted.turns_left_out) == (0, 1)


@pytest.mark.parametrize("parts", [[{"type": "input_text", "text": LONG}], LONG, None])
def test_the_callers_results_may_have_any_shape(parts: object) -> None:
    history = [function_call("look"), {"type": RESULT, "call_id": "c1", "output": parts}]
    start = RunStarted((*history, assistant("I see."), user("go on")), "ann", "academy", "1.0")
    thread = thread_of(start)

    compacted = build_request(thread, BARE, room_for(thread, less=10 if parts else 0))

    kept = [item["output"] for item in compacted.request.items if item["type"] == RESULT]
    assert kept == [left_out(len(str(parts))) if parts else "(no result)"]


def test_instructions_and_tools_take_room() -> None:
    thread = thread_of(*turn(), asked())
    wordy = Workflow("academy", "Help. " * 100, (replace(look, description="Look. " * 100),))

    compacted = build_request(thread, wordy, room_for(thread))

    assert compacted.results_left_out == 1


def test_the_error_for_a_turn_longer_than_the_window_names_both_sizes() -> None:
    thread = thread_of(*turn(), asked("x" * 3000))

    with pytest.raises(RequestError) as raised:
        build_request(thread, BARE, Limits(context_tokens=1000))

    assert str(raised.value) == (
        "this turn is about 1015 tokens long, and a window of 1000 leaves room for 900; "
        "shorten the input, or set OPENAI_CONTEXT_TOKENS if the model's window is larger"
    )


def test_instructions_longer_than_the_window_leave_no_room() -> None:
    with pytest.raises(RequestError, match="leaves room for 0"):
        build_request(
            thread_of(asked()), Workflow("a", "x" * 9000, ()), Limits(context_tokens=1000)
        )


@settings(max_examples=30)
@given(st.one_of(journals, scrambled), st.integers(300, 3000))
def test_a_request_keeps_its_calls_together_and_to_the_window(
    events: Sequence[Event], window: int
) -> None:
    thread, limits = thread_of(*events), Limits(context_tokens=window)
    assume(thread.latest)

    try:
        compacted = build_request(thread, JOURNAL_WORKFLOW, limits)
    except RequestError:
        return
    items = compacted.request.items
    newest, *behind = [entry.event for entry in thread.latest]
    assert len(json.dumps(items)) <= window * BYTES_PER_TOKEN
    assert _calls_and_results_match(items)
    for result in _unread_of(thread):
        assert result in [item.get("output") for item in items]
    # Added and removed items may have changed what the latest turn is.
    edited = any(isinstance(one, ItemsAdded | ItemRemoved) for one in behind)
    if isinstance(newest, RunStarted) and not edited:
        assert newest.items[0] in items
    assert compacted == build_request(thread_of(*events), JOURNAL_WORKFLOW, limits)


def _unread_of(thread: Thread) -> Sequence[str]:
    """Return the results after the model's last reply in an active thread."""
    events = [entry.event for entry in thread.latest]
    replies = [index for index, event in enumerate(events) if isinstance(event, ModelReplied)]
    called = thread.latest[replies[-1]].position if replies and thread.status == "active" else 0
    return [
        event.result or NO_RESULT
        for event in events
        if isinstance(event, ToolSucceeded) and event.call.startswith(f"{called}.")
    ]


def _calls_and_results_match(items: Sequence[Item]) -> bool:
    """Return whether the results of each reply follow its calls, in the same order."""
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
