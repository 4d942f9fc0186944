"""The part of a conversation that is prepared once for all its requests."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from tests.builders import (
    added,
    asked,
    assistant,
    called,
    entries,
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
from tests.core.journals import WORKFLOW, journals
from twelvefold.core.budget import Limits
from twelvefold.core.conversation.sendable import make_sendable
from twelvefold.core.events import Event, Item, RunStarted
from twelvefold.core.ports import ModelRequest
from twelvefold.core.request import build_request
from twelvefold.core.thread import Thread
from twelvefold.core.workflow import Workflow

BARE = Workflow("academy", "", ())
WIDE = Limits(context_tokens=10**6)
RUN = (asked(), said(), finished())


def request_after_each_run(*events: Event, workflow: Workflow = BARE) -> ModelRequest:
    """Return the last request of a process that has made a request at each event."""
    thread = Thread()
    for entry in entries(*events):
        thread = thread.after(entry)
        request = build_request(thread, workflow, WIDE).request
    return request


def whole(*events: Event) -> tuple[Item, ...]:
    return make_sendable(item for turn in thread_of(*events).turns for item in turn.items)


def known(request: ModelRequest) -> int:
    """Return how many of the items were prepared before."""
    return request.history.count if request.history else 0


@given(journals)
@settings(deadline=None)
def test_a_request_does_not_depend_on_what_was_prepared_before(events: Sequence[Event]) -> None:
    request = request_after_each_run(*events, workflow=WORKFLOW)

    assert request.items == whole(*events)
    assert request.items == build_request(thread_of(*events), WORKFLOW, WIDE).request.items


def test_the_items_of_earlier_runs_are_known() -> None:
    request = request_after_each_run(*RUN, *RUN, asked("again"))

    assert request.items == (*(user("enrol me"), assistant("You are in.")) * 2, user("again"))
    assert known(request) == 4


def test_the_items_of_earlier_runs_are_prepared_once() -> None:
    first = request_after_each_run(*RUN, asked("a"))
    thread = thread_of(*RUN, asked("a"))
    build_request(thread, BARE, WIDE)
    history = build_request(thread, BARE, WIDE).request.history
    assert history is not None
    history.encoded["key"] = 1

    (*_, last) = entries(*RUN, asked("a"), said(), finished(), asked("b"))
    later = thread.after(*entries(*RUN, asked("a"), said(), finished())[4:], last)
    request = build_request(later, BARE, WIDE).request

    assert known(first) == 2
    assert request.history is not None
    assert (request.history.count, request.history.encoded) == (4, {"key": 1})
    assert build_request(later, BARE, WIDE).request.history is request.history


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ((asked(), finished("failed"), asked("b")), 0),
        ((*RUN, asked(), finished("failed"), asked("b")), 2),
        ((*RUN, asked(), finished("failed"), asked("b"), said(), finished(), asked("c")), 5),
        ((*RUN, asked(), called("look"), finished("failed"), asked("b")), 2),
        ((RunStarted((), "ann", "academy", "1"), said(), finished(), asked("b")), 0),
        ((*RUN, RunStarted((assistant("hm"),), "ann", "academy", "1")), 0),
        ((*RUN, RunStarted(({"role": "system", "content": "x"}, user("b")), "ann", "a", "1")), 2),
        ((asked("x", function_call("f"), assistant("y")), said(), finished(), asked("b")), 0),
        ((*RUN, added(user("c"), assistant("d")), asked("e")), 4),
        ((*RUN, removed("2"), asked("e")), 0),
    ],
    ids=lambda one: str(one) if isinstance(one, int) else "",
)
def test_only_items_that_nothing_later_changes_are_known(
    events: Sequence[Event], count: int
) -> None:
    request = request_after_each_run(*events)

    assert known(request) == count
    assert request.items == whole(*events)


def test_a_result_of_the_caller_belongs_to_an_earlier_turn() -> None:
    events = (
        *RUN,
        asked(tools=(own_tool("mine"),)),
        called("mine", id="own"),
        finished(),
        asked("and", output("own", "42")),
        said(),
        finished(),
        asked("thanks"),
    )

    request = request_after_each_run(*events)

    assert request.items == whole(*events)
    assert output("own", "42") in request.items


def test_call_ids_are_unique_beside_those_that_are_known() -> None:
    run = (asked(), called("look", id="c1"))
    events = (*run, succeeded("2.0"), said(), finished(), *run, succeeded("7.0"))
    more = (said(), finished(), *run, failed("12.0"))

    request = request_after_each_run(*events, *more)

    ids = [item["call_id"] for item in request.items if item["type"] == "function_call"]
    assert ids == ["c1", "c1_2", "c1_3"]
    assert known(request) == 8


def test_a_conversation_that_is_too_long_is_shortened_whatever_is_known() -> None:
    thread = thread_of(asked("w" * 3000), said(), finished(), asked("b"))
    build_request(thread, BARE, WIDE)

    compacted = build_request(thread, BARE, Limits(context_tokens=500))

    assert compacted.turns_left_out == 1
    assert compacted.request.history is None


def test_a_window_with_room_for_the_items_but_not_for_their_prepared_form() -> None:
    arguments = '{"a": "' + '"' * 900
    bad = replied({**function_call("look", "c1"), "arguments": arguments})
    long_run = (asked("w" * 3000), said(), finished())
    thread = thread_of(*long_run, asked(), bad, failed("5.0", "look"))
    size = sum(turn.size for turn in thread.turns)

    compacted = build_request(thread, BARE, Limits(context_tokens=int(size / 3 / 0.9) + 10))

    assert (compacted.turns_left_out, compacted.request.history) == (1, None)
