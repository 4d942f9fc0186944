"""The history that is sent for any journal is valid for strict servers."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strict
from tests.builders import (
    added,
    asked,
    assistant,
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
from tests.core.journals import WORKFLOW
from tests.services.model.builders import FixedSettings
from twelvefold.core.budget import Limits
from twelvefold.core.events import Event, Item, ReplyEnd, RunStarted
from twelvefold.core.ports import ModelRequest
from twelvefold.core.request import build_request
from twelvefold.services.model.openai.chat import CHAT
from twelvefold.services.model.openai.encoding.alternation import CONVERSATION_START, NO_REPLY
from twelvefold.services.model.openai.provider_fields import items_for_provider
from twelvefold.services.model.openai.responses import RESPONSES

Json = dict[str, Any]


def request_of(*events: Event) -> ModelRequest:
    return build_request(thread_of(*events), WORKFLOW, Limits()).request


def chat_body(request: ModelRequest) -> Json:
    body: Json = json.loads(CHAT.encode(request, FixedSettings(), frozenset()))
    return body


def responses_body(request: ModelRequest) -> Json:
    body: Json = json.loads(RESPONSES.encode(request, FixedSettings(), frozenset()))
    return body


def chat_messages(*events: Event) -> list[Json]:
    """What is sent behind the system's message, held against the strictest server."""
    body = chat_body(request_of(*events))
    strict.check_chat(body)
    messages: list[Json] = body["messages"][1:]
    return messages


def responses_input(*events: Event) -> list[Json]:
    body = responses_body(request_of(*events))
    strict.check_responses(body)
    items: list[Json] = body["input"]
    return items


def brings(*items: Item) -> RunStarted:
    return RunStarted(items, "ann", "academy", "1.0")


def said_by(role: str, content: Any) -> Item:
    return {"type": "message", "role": role, "content": content}


FAILED = finished("failed", "rejected")
STORIES: dict[str, Sequence[Event]] = {
    "a failed turn": [asked("one"), FAILED, asked("two"), FAILED, asked("three")],
    "an empty reply": [asked(), replied(assistant("")), finished(), asked("hello?")],
    "an empty reply, asked again": [asked(), replied(assistant(""))],
    "a reply of nothing": [asked(), replied(), replied(), said(), finished(), asked("and?")],
    "garbled arguments": [
        asked(),
        replied(function_call("add", "c1", '{"a": 1, "b": ')),
        failed("2.0", "add", "arguments"),
    ],
    "an impossible name": [
        asked(),
        replied(function_call("add numbers, please", "c1")),
        failed("2.0", "add numbers, please", "unknown_tool"),
    ],
    "one id in every round": [
        asked(),
        *(replied(function_call("look", "functions.look:0")), succeeded("2.0", "look", "1")),
        *(replied(function_call("look", "functions.look:0")), succeeded("4.0", "look", "")),
    ],
    "a result and then a failure": [
        asked(),
        replied(function_call("look")),
        succeeded("2.0", "look"),
        FAILED,
        asked("what now?"),
    ],
    "calls that were never run": [
        asked(),
        replied(assistant("Yes."), function_call("look", "a"), function_call("look", "a")),
        FAILED,
        asked("what now?"),
    ],
    "a reply that was cut off": [
        asked(),
        replied(assistant("I will"), function_call("look"), ended="max_output_tokens"),
        finished("incomplete", "max_output_tokens"),
        asked("go on"),
    ],
    "a cut reply without a word": [
        asked(),
        replied(function_call("look"), ended="max_output_tokens"),
        finished("incomplete"),
        asked("go on"),
    ],
    "nothing at all": [asked(), removed("1i0")],
    "an assistant who speaks first": [added(assistant("Hello, I am Ann.")), asked("hi")],
    "a system's message in between": [
        asked(),
        said(),
        finished(),
        brings(user("one"), said_by("developer", "Be quick."), user("two")),
    ],
    "parts and a text": [
        brings(said_by("user", [{"type": "input_text", "text": "Look:"}]), user("what is it?"))
    ],
    "an item that was taken out": [asked(), said(), finished(), asked("more"), removed("2")],
    "results of a caller, out of order": [
        asked("go", tools=(own_tool("get"),)),
        replied(function_call("get", "a"), function_call("get", "b")),
        finished(),
        brings(output("b", ""), user("so?"), output("a", "1")),
    ],
    "a whole conversation of a caller": [
        brings(
            *(user("go"), function_call("get", "a", "nonsense"), output("a", ""), assistant("")),
            *(function_call("get", "a"), output("a", "2"), user("so?")),
        )
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_a_strict_server_accepts_the_history(story: str) -> None:
    request = request_of(*STORIES[story])

    strict.check_chat(chat_body(request))
    strict.check_responses(responses_body(request))


def test_consecutive_user_messages_are_joined() -> None:
    joined = "one\n\ntwo\n\nthree"

    assert chat_messages(*STORIES["a failed turn"]) == [{"role": "user", "content": joined}]
    assert responses_input(*STORIES["a failed turn"]) == [user(joined)]


def test_an_assistant_message_separates_a_result_and_a_user() -> None:
    messages = chat_messages(*STORIES["a result and then a failure"])

    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[3]["content"] == NO_REPLY


def test_a_user_message_precedes_a_first_assistant_message() -> None:
    first, second, _ = chat_messages(*STORIES["an assistant who speaks first"])

    assert (first["content"], second["content"]) == (CONVERSATION_START, "Hello, I am Ann.")


def test_system_messages_are_joined_at_the_top() -> None:
    events = STORIES["a system's message in between"]

    system, *_, last = chat_body(request_of(*events))["messages"]

    assert system["content"] == "Help.\n\nBe quick."
    assert last["content"] == "one\n\ntwo"
    assert responses_input(*events)[-2:] == [user("one\n\ntwo"), said_by("developer", "Be quick.")]


def test_consecutive_parts_and_text_are_one_message() -> None:
    (message,) = chat_messages(*STORIES["parts and a text"])

    assert [part["text"] for part in message["content"]] == ["Look:", "what is it?"]


def test_invalid_arguments_are_sent_in_an_object_with_the_error() -> None:
    _, call, result = responses_input(*STORIES["garbled arguments"])

    assert json.loads(call["arguments"]) == {"_raw": '{"a": 1, "b": '}
    assert result == output("c1", "Error: no")


# --- whatever the journal holds

_blank = st.sampled_from(["", " ", "\n\n", "hm"])
_ids = st.sampled_from(["", "c1", "c1", "c1_2", "functions.add:0", "a b", "ü", "x" * 70, "x" * 71])
_names = st.sampled_from(["look", "add", "", "look up", "n" * 99, "搜索", "get"])
_arguments = st.one_of(
    st.sampled_from(["{}", "", "[]", "null", '{"a": NaN}', '{"a":1,"a":2}', '{"a": ', "[" * 200]),
    st.text(max_size=6),
)
_calls = st.builds(
    lambda name, id, arguments, more: {**function_call(name, id, arguments), **more},
    *(_names, _ids, _arguments),
    st.sampled_from([{}, {"provider": "elsewhere", "call_fields": {"extra": 1}, "x": 1}]),
)
_texts = st.builds(assistant, _blank)
_odd: st.SearchStrategy[Item] = st.sampled_from(
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {"type": "web_search_call", "id": "ws_1", "provider": "elsewhere"},
        {"type": "unheard_of"},
        {"type": "mcp_call", "id": "m", "name": "look", "arguments": "{", "output": None},
        {"type": "message", "role": "assistant", "content": None},
        {"type": "message", "role": "assistant", "content": "Hm.", "phase": "commentary"},
    ]
)
_replies = st.lists(st.one_of(_calls, _texts, _odd), max_size=4)
_results = st.builds(
    lambda id, output: {"type": "function_call_output", "call_id": id, "output": output},
    *(_ids, st.sampled_from(["3", "", None, [], [{"type": "input_text", "text": "3"}]])),
)
_spoken = st.builds(
    lambda role, content: {"type": "message", "role": role, "content": content},
    st.sampled_from(["user", "user", "assistant", "system", "developer"]),
    st.one_of(_blank, st.just([{"type": "input_text", "text": ""}])),
)
_brought = st.lists(st.one_of(_spoken, _spoken, _calls, _results, _odd), max_size=4)
_wishes = st.sampled_from([{}, {}, {"tools": (own_tool("get"),)}])
_starts = st.builds(
    lambda items, wishes: replace_items(asked("", **wishes), tuple(items)), _brought, _wishes
)


ENDS: list[ReplyEnd] = ["completed", "completed", "max_output_tokens"]


def replace_items(start: RunStarted, items: tuple[Item, ...]) -> RunStarted:
    return RunStarted(items, start.principal, start.workflow, start.release, start.options)


@st.composite
def odd_journals(draw: st.DrawFn) -> list[Event]:
    """Strategy for runs of unusual replies, with and without results, and of other items."""
    events: list[Event] = []
    for _ in range(draw(st.integers(1, 3))):
        events.append(draw(_starts))
        for _ in range(draw(st.integers(0, 3))):
            ended = draw(st.sampled_from(ENDS))
            items = draw(_replies)
            events.append(replied(*items, ended=ended))
            position = len(events)
            for index in range(sum(item.get("type") == "function_call" for item in items)):
                if draw(st.booleans()):
                    events.append(succeeded(f"{position}.{index}", "look", draw(_blank)))
        events += draw(
            st.sampled_from(
                [
                    [finished()],
                    [FAILED, added(assistant("by the way"), user(""))],
                    [finished(), removed("1i0"), removed("2.0", "fc")],
                ]
            )
        )
    return [*events, draw(_starts)]


@settings(max_examples=100, deadline=None)
@given(odd_journals())
def test_a_strict_server_accepts_any_journal(events: list[Event]) -> None:
    request = request_of(*events)
    elsewhere = replace(request, items=items_for_provider(request.items, "here"))

    strict.check_chat(chat_body(elsewhere))
    strict.check_responses(responses_body(elsewhere))
