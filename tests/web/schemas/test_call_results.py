"""Calls and results of a request: new ones are kept, repeated ones dropped, single ones invalid."""

from typing import Any

import pytest

from tests.builders import entries
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Event,
    ItemsAdded,
    ModelReplied,
    OutcomeUnknown,
    RequestOptions,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    Usage,
)
from twelvefold.core.ids import ThreadId, call_id
from twelvefold.web.history.call_history import CallHistoryBuilder
from twelvefold.web.http.errors import ApiError
from twelvefold.web.ids import own_call_id
from twelvefold.web.schemas.call_results import CallHistory, without_repeats

Json = dict[str, Any]
THREAD = ThreadId("019" + "a" * 41)
THEIRS = {"type": "function", "name": "get_weather"}
USER = {"type": "message", "role": "user", "content": "hi"}
OTHER = {"type": "message", "role": "user", "content": "ho"}


def call(id: str = "c1", name: str = "get_weather", arguments: str = "{}") -> Json:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def output(id: str = "c1", text: str = "sunny") -> Json:
    return {"type": "function_call_output", "call_id": id, "output": text}


def started(*items: Json) -> RunStarted:
    return RunStarted(items or (USER,), "ann", "shop", "1", RequestOptions(tools=(THEIRS,)))


def replied(*items: Json) -> ModelReplied:
    return ModelReplied(items, Usage(), "m", "ab" * 32)


def history(*events: Event) -> CallHistory:
    builder = CallHistoryBuilder()
    for entry in entries(*events):
        builder.add(entry)
    return builder.history()


AWAITED = (started(), replied(call()))
ANSWERED = (*AWAITED, started(output()), replied())
SERVERS = (started(), replied(call("s1", "buy")), ToolSucceeded(call_id(2, 0), "buy", "bought"))


@pytest.mark.parametrize(
    ("before", "items", "kept"),
    [
        pytest.param((), [call(), output()], [0, 1], id="a pair"),
        pytest.param((), [output(), call()], [0, 1], id="a result before its call"),
        pytest.param((), [call(), output(), output()], [0, 1], id="a result twice"),
        pytest.param((), [call(), call(), output()], [0, 2], id="a call twice"),
        pytest.param((), [call(), output(), call(), output()], [0, 1, 2, 3], id="an id used again"),
        pytest.param(
            (),
            [call(), call("c2"), output("c2"), output(), output("c2"), USER],
            [0, 1, 2, 3, 5],
            id="one of two results twice",
        ),
        pytest.param(AWAITED, [output()], [0], id="an awaited result"),
        pytest.param(AWAITED, [output(), output()], [0], id="an awaited result twice"),
        pytest.param(AWAITED, [call(), output()], [1], id="an awaited result and its call"),
        pytest.param(AWAITED, [], [], id="nothing"),
        pytest.param(AWAITED, [USER, output()], [1], id="an awaited result and its question"),
        pytest.param(AWAITED, [USER, call(), output()], [2], id="the whole turn again"),
        pytest.param(AWAITED, [output(), USER], [0, 1], id="a question behind the result"),
        pytest.param(AWAITED, [USER], [0], id="the same question without a result"),
        pytest.param(AWAITED, [OTHER, output()], [0, 1], id="another question with the result"),
        pytest.param(
            (*AWAITED, started(output()), replied(call("c2"))),
            [USER, output(), output("c2")],
            [2],
            id="the whole turn again, after two calls",
        ),
        pytest.param(
            (*ANSWERED, started(OTHER), replied(call("c2"))),
            [USER, output("c2")],
            [0, 1],
            id="the question of an earlier turn",
        ),
        pytest.param(ANSWERED, [output()], [], id="a given result"),
        pytest.param(ANSWERED, [output("c1", "rainy"), USER], [1], id="a given result, changed"),
        pytest.param(ANSWERED, [call(), output(), USER], [2], id="a given result and its call"),
        pytest.param(
            ANSWERED, [call(arguments='{"a":1}'), output()], [0, 1], id="another call with its id"
        ),
        pytest.param(
            (*ANSWERED, started(), replied(call())), [output()], [0], id="an id awaited again"
        ),
        pytest.param(
            (*ANSWERED, started(), replied(call("c2"))),
            [output(), output("c2")],
            [1],
            id="every result so far",
        ),
        pytest.param((ItemsAdded((call(), output())),), [output()], [], id="an added result"),
        pytest.param(SERVERS, [output("s1")], [], id="a server's result"),
        pytest.param(
            SERVERS,
            [output(own_call_id(THREAD, call_id(2, 0)))],
            [],
            id="a server's result by the id that was shown",
        ),
        pytest.param(
            (*SERVERS[:2], ToolFailed(call_id(2, 0), "buy", "refused", "no")),
            [output("s1")],
            [],
            id="a server's refusal",
        ),
        pytest.param(
            (*SERVERS[:2], OutcomeUnknown(call_id(2, 0), "buy", final=True)),
            [output("s1")],
            [],
            id="a server's unknown outcome",
        ),
    ],
)
def test_new_items_are_kept(before: tuple[Event, ...], items: list[Json], kept: list[int]) -> None:
    assert without_repeats(items, history(*before)) == tuple(items[index] for index in kept)


@pytest.mark.parametrize(
    ("before", "items", "param"),
    [
        pytest.param((), [output()], "input[0].call_id", id="no call"),
        pytest.param((), [USER, call(), output("c2")], "input[2].call_id", id="another call"),
        pytest.param((), [call()], "input", id="no result"),
        pytest.param((), [call(), output(), call("c2")], "input", id="one result of two"),
        pytest.param(AWAITED, [output("c2")], "input[0].call_id", id="not the awaited call"),
        pytest.param(ANSWERED, [output(), output("c2")], "input[1].call_id", id="behind a repeat"),
        pytest.param(
            (*SERVERS[:2], ApprovalAsked(call_id(2, 0), "buy")),
            [output("s1")],
            "input[0].call_id",
            id="a call that waits for approval",
        ),
        pytest.param(SERVERS, [output("call_1")], "input[0].call_id", id="an id like ours"),
    ],
)
def test_a_result_without_its_call_and_a_call_without_its_result_are_invalid(
    before: tuple[Event, ...], items: list[Json], param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        without_repeats(items, history(*before))

    assert (caught.value.code, caught.value.param) == ("invalid_call_id", param)


def test_an_answer_to_an_approval_may_add_tools_of_the_caller() -> None:
    began = RunStarted((USER,), "ann", "shop", "1")
    approved = ApprovalAnswered(call_id(2, 0), True, "ann", options=RequestOptions(tools=(THEIRS,)))
    calls_so_far = history(began, replied(call("s1", "buy")), approved, replied(call()))

    assert calls_so_far.awaited == {"c1"}
