import json
from dataclasses import replace
from typing import Any

import pytest

from tests import strict
from tests.services.model.builders import (
    FixedSettings,
    RecordingListener,
    fast_settings,
    model_request,
    output,
    received,
    user,
)
from tests.services.model.mock_server import MockServer, streams
from tests.services.model.streams import FakeReply, chat_events, chunk, response, sse, typed
from twelvefold.core.events import Item
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai import OpenAIModel
from twelvefold.services.model.openai.chat import CHAT
from twelvefold.services.model.openai.encoding.optional_parts import refused_parts
from twelvefold.services.model.openai.provider_fields import (
    ProviderFields,
    items_for_provider,
    mark_items,
    provider_of,
)
from twelvefold.services.model.openai.responses import RESPONSES

DONE = sse("[DONE]")
HERE = "api.example/v1 gpt"
SIGNATURE = {"google": {"thought_signature": "SIG=="}}


@pytest.mark.parametrize(
    ("base_url", "model", "provider"),
    [
        ("https://api.openai.com/v1", "gpt-5.2-mini", "api.openai.com/v1 gpt"),
        ("https://api.openai.com/v1/", "gpt-4o", "api.openai.com/v1 gpt"),
        ("https://user:secret@proxy:8080/v1?api-version=1", "o3", "proxy:8080/v1 o"),
        ("https://openrouter.ai/api/v1", "google/gemini-3-pro", "openrouter.ai/api/v1 gemini"),
        ("https://openrouter.ai/api/v1", "Qwen/Qwen3-8B", "openrouter.ai/api/v1 qwen"),
        ("http://localhost:11434/v1", "deepseek-r1:8b", "localhost:11434/v1 deepseek"),
        ("http://localhost/v1", "", "localhost/v1"),
        ("http://localhost/v1", "4you", "localhost/v1"),
    ],
)
def test_a_provider_is_a_server_and_a_family_of_models(
    base_url: str, model: str, provider: str
) -> None:
    assert provider_of(base_url, model) == provider


def tool_call(id: str, **more: Any) -> Item:
    function = {"name": "enrol", "arguments": "{}"}
    return {"index": 0, "id": id, "type": "function", "function": function, **more}


def chat_history(*deltas: Item, provider: str = HERE, without: str = "") -> list[Item]:
    """Return the messages after a reply of these deltas, whose calls have results."""
    reply, _ = received(CHAT, *(chunk(one) for one in deltas), chunk({}, "stop"), DONE)
    items = items_for_provider(mark_items(reply.items, HERE), provider)
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    request = model_request(user("hi"), *items, *(output(id, "ok") for id in calls))
    body = json.loads(CHAT.encode(request, FixedSettings(), frozenset({without})))
    messages: list[Item] = body["messages"][2:]
    return messages


CALLED: list[tuple[str, list[Item], Item, Item]] = [
    (
        "gemini",
        [{"tool_calls": [tool_call("a", extra_content=SIGNATURE)]}],
        {},
        {"extra_content": SIGNATURE},
    ),
    (
        "gemini, in the function",
        [
            {
                "tool_calls": [
                    tool_call("a")
                    | {"function": {"name": "enrol", "arguments": "{}", "thought_signature": "S"}}
                ]
            }
        ],
        {},
        {"function": {"thought_signature": "S", "name": "enrol", "arguments": "{}"}},
    ),
    (
        "gemini, a piece later",
        [
            {"tool_calls": [tool_call("a")]},
            {"tool_calls": [{"index": 0, "extra_content": SIGNATURE}]},
        ],
        {},
        {"extra_content": SIGNATURE},
    ),
    (
        "deepseek",
        [
            {"role": "assistant", "content": None, "reasoning_content": "I must "},
            {"reasoning_content": "enrol."},
            {"content": "", "reasoning_content": None},
            {"tool_calls": [tool_call("a")]},
        ],
        {"reasoning_content": "I must enrol."},
        {},
    ),
    (
        "openrouter",
        [
            {"reasoning_details": [{"type": "reasoning.text", "text": "I ", "index": 0}]},
            {"reasoning_details": [{"type": "reasoning.text", "text": "must", "index": 0}]},
            {"reasoning_details": [{"type": "reasoning.text", "signature": "S", "index": 0}]},
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "D", "index": 1}]},
            {"tool_calls": [tool_call("a")]},
        ],
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "I must", "signature": "S", "index": 0},
                {"type": "reasoning.encrypted", "data": "D", "index": 1},
            ]
        },
        {},
    ),
    (
        "a field of a server that is new",
        [
            {"new_field": {"a": 1, "text": "x"}},
            {"new_field": {"b": [2], "text": "y"}},
            {"tool_calls": [tool_call("a", score=0)]},
        ],
        {"new_field": {"a": 1, "b": [2], "text": "xy"}},
        {"score": 0},
    ),
]


@pytest.mark.parametrize(
    ("deltas", "of_message", "of_call"), [case[1:] for case in CALLED], ids=[c[0] for c in CALLED]
)
def test_fields_of_a_call_are_returned_to_their_provider_only(
    deltas: list[Item], of_message: Item, of_call: Item
) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "enrol", "arguments": "{}"}}
    plain = {"role": "assistant", "content": None, "tool_calls": [call]}

    assert chat_history(*deltas)[0] == {**plain, **of_message, "tool_calls": [{**call, **of_call}]}
    assert chat_history(*deltas, provider="api.example/v1 claude")[0] == plain
    assert chat_history(*deltas, without="messages.provider")[0] == plain


def test_each_of_several_calls_has_its_fields() -> None:
    first, second = tool_call("a", extra_content=SIGNATURE), tool_call("b") | {"index": 1}

    (reply, *_) = chat_history({"tool_calls": [first, second]})

    assert ["extra_content" in call for call in reply["tool_calls"]] == [True, False]


def test_blank_text_beside_calls_keeps_the_fields() -> None:
    deltas: list[Item] = [
        {"content": "\n\n", "reasoning_content": "Hm."},
        {"tool_calls": [tool_call("a")]},
    ]
    reply, _ = received(CHAT, *(chunk(one) for one in deltas), chunk({}, "stop"))

    assert [item.get("message_fields") for item in reply.items] == [
        None,
        {"reasoning_content": "Hm."},
    ]


def test_reasoning_is_returned_beside_calls_only() -> None:
    delta = {"content": "Hi", "reasoning_content": "Hm.", "reasoning": "Hm.", "extra_content": "S"}

    assert chat_history(delta) == [{"role": "assistant", "content": "Hi", "extra_content": "S"}]


def test_a_whole_reply_has_its_fields_too() -> None:
    whole = {"role": "assistant", "content": "Hi", "extra_content": SIGNATURE}
    event = sse({"choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]})

    reply, _ = received(CHAT, event)
    twice, _ = received(CHAT, chunk({"content": "Hi", "extra_content": SIGNATURE}), event)

    assert reply.items == (message("Hi") | {"message_fields": {"extra_content": SIGNATURE}},)
    assert twice.items == reply.items


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        (["a", "b"], {"x": "b"}),
        ([[{"text": "a"}], [{"text": "b"}]], {"x": [{"text": "a"}, {"text": "b"}]}),
        ([["a"], ["b"]], {"x": ["a", "b"]}),
        ([{"text": "a"}, {"text": None}], {"x": {"text": "a"}}),
        ([None, "", [], {}], {}),
        ([[1], "a"], {"x": "a"}),
    ],
)
def test_fields_of_a_stream_are_merged(pieces: list[Any], found: Item) -> None:
    fields = ProviderFields()
    for piece in pieces:
        fields.add_message({"x": piece, "content": "known"})

    assert fields.found == found


# --- Responses

UNKNOWN: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "x": None}
ODD_CALL: Item = {**function_call("c1", "enrol", "{}"), "thought": {"deep": [1]}}
ODD_MESSAGE: Item = {**message("Hi"), "signature": "S"}
REASONING: Item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g"}


def items_done(*items: Item) -> list[bytes]:
    done = [{"type": "response.output_item.done", "output_index": 0, "item": i} for i in items]
    return typed(*done, {"type": "response.completed", "response": response(status="completed")})


def input_after(*items: Item, provider: str = HERE) -> list[Item]:
    reply, _ = received(RESPONSES, *items_done(*items))
    kept = items_for_provider(mark_items(reply.items, HERE), provider)
    request = model_request(user("hi"), *kept, output("c1", "ok"))
    sent: list[Item] = json.loads(RESPONSES.encode(request, FixedSettings(), frozenset()))["input"]
    return sent[1:-1]


def test_items_and_fields_are_returned_as_received() -> None:
    assert input_after(REASONING, UNKNOWN, ODD_MESSAGE, ODD_CALL) == [
        REASONING,
        UNKNOWN,
        {"type": "message", "role": "assistant", "content": "Hi", "signature": "S"},
        ODD_CALL,
    ]


def test_another_provider_gets_only_standard_fields() -> None:
    sent = input_after(REASONING, UNKNOWN, ODD_MESSAGE, ODD_CALL, provider="elsewhere gpt")

    assert sent == [
        {"type": "message", "role": "assistant", "content": "Hi"},
        function_call("c1", "enrol", "{}"),
    ]


def test_reasoning_of_an_older_journal_is_sent_and_its_other_fields_are_not() -> None:
    older = (user("hi"), UNKNOWN, REASONING, ODD_CALL, output("c1", "ok"))

    body = json.loads(RESPONSES.encode(model_request(*older), FixedSettings(), frozenset()))

    assert body["input"][1:-1] == [REASONING, function_call("c1", "enrol", "{}")]


async def test_a_model_marks_what_its_provider_sent_and_returns_it(server: MockServer) -> None:
    first = [chunk({"tool_calls": [tool_call("a", extra_content=SIGNATURE)]}), chunk({}, "stop")]
    server.will(*(streams(events) for events in (first, *[chat_events(FakeReply("Hi"))] * 2)))
    settings = fast_settings(server.url, api="chat", model="gemini-3-pro")
    gemini, other = OpenAIModel(settings), OpenAIModel(replace(settings, model="other"))

    reply = await gemini.reply(model_request(user("hi")), RecordingListener())
    history = model_request(user("hi"), *reply.items, output("a", "ok"))
    await gemini.reply(history, RecordingListener())
    await other.reply(history, RecordingListener())

    (call,) = reply.items
    assert call["provider"] == provider_of(server.url, "gemini-3-pro")
    sent = [json.dumps(call.body["messages"]) for call in server.calls[1:]]
    assert ["SIG==" in one for one in sent] == [True, False]
    await gemini.close()
    await other.close()


@pytest.mark.parametrize(
    "error",
    [
        {"param": "messages.1.tool_calls.0.extra_content", "message": "Unknown field"},
        {"message": "property 'messages.1.reasoning_content' is unsupported"},
        {"detail": [{"loc": ["body", "messages", 1, "new_field"], "type": "extra_forbidden"}]},
    ],
)
def test_a_field_that_a_server_refuses_in_a_message_is_left_out(error: Item) -> None:
    fields = {"reasoning_content": "Hm.", "new_field": 1}
    call = function_call("a", "enrol", "{}") | {"provider": HERE, "message_fields": fields}
    call["call_fields"] = {"extra_content": SIGNATURE}
    request = model_request(user("hi"), call, output("a", "ok"))

    parts = refused_parts(
        error, CHAT.encode(request, FixedSettings(), frozenset()), CHAT.optional_parts
    )

    assert [part.name for part in parts] == ["messages.provider"]
    plain = json.loads(CHAT.encode(request, FixedSettings(), frozenset({"messages.provider"})))
    strict.check_chat(plain)


@pytest.mark.parametrize(
    "error",
    [
        {"param": "messages.1.content", "message": "must be a string"},
        {"param": "messages", "message": "too many"},
        {"message": "reasoning_content must be passed back"},
        {"param": "tools.0.function.strict"},
    ],
)
def test_an_error_about_something_else_leaves_the_fields_in(error: Item) -> None:
    call = function_call("a", "enrol", "{}") | {"provider": HERE, "message_fields": {"x": 1}}
    body = CHAT.encode(
        model_request(user("hi"), call, output("a", "ok")), FixedSettings(), frozenset()
    )

    parts = refused_parts(error, body, CHAT.optional_parts)

    assert "messages.provider" not in [part.name for part in parts]


@pytest.mark.parametrize(
    "error",
    [
        {"param": "input[1].signature", "message": "Unknown parameter"},
        {"param": "input[2].thought", "code": "unknown_parameter"},
    ],
)
def test_a_field_that_a_server_refuses_in_an_item_is_left_out(error: Item) -> None:
    own = [{**one, "provider": HERE} for one in (UNKNOWN, ODD_MESSAGE, ODD_CALL)]
    request = model_request(user("hi"), *own, output("c1", "ok"))

    parts = refused_parts(
        error, RESPONSES.encode(request, FixedSettings(), frozenset()), RESPONSES.optional_parts
    )

    assert [part.name for part in parts] == ["input.provider"]
    plain = json.loads(RESPONSES.encode(request, FixedSettings(), frozenset({"input.provider"})))
    strict.check_responses(plain)


def test_a_long_call_id_is_shortened_for_another_provider() -> None:
    """A proxy of Gemini puts the thought signature into the id."""
    long = [f"call_1__thought__{'x' * 90}{end}" for end in "ab"]
    calls = mark_items([function_call(id, "add", {}) for id in (*long, "c3")], HERE)
    items = (*calls, output(long[0], "3"), output(long[1], "4"), output("c3", "5"))

    here, elsewhere = (
        items_for_provider(items, HERE),
        items_for_provider(items, "other.example/v1 gpt"),
    )

    assert [item["call_id"] for item in here] == [*long, "c3"] * 2
    sent = [item["call_id"] for item in elsewhere]
    assert sent[:3] == sent[3:]
    assert len(set(sent)) == 3
    assert (sent[2], {len(id) for id in sent[:2]}) == ("c3", {64})
