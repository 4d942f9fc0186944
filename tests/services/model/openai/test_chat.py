import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import TypeAdapter

from tests.attachments import PDF, file, image
from tests.services.model.builders import (
    ENROL,
    HASH,
    FixedSettings,
    model_request,
    output,
    received,
    user,
)
from tests.services.model.streams import FakeReply, chat_chunk, chat_events, chunk, sse
from twelvefold.core.events import Item, Usage
from twelvefold.core.ports import ModelRequest
from twelvefold.services.model.errors import ErrorReceived, RetryableError
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai.chat import CHAT

DONE = sse("[DONE]")
SYSTEM = {"role": "system", "content": "Be brief."}


def sent(
    request: ModelRequest, settings: FixedSettings | None = None, *without: str
) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        CHAT.encode(request, settings or FixedSettings(), frozenset(without))
    )
    return body


def messages(*items: Item) -> list[Item]:
    everything: list[Item] = sent(model_request(*items))["messages"]
    assert everything[0] == SYSTEM
    return everything[1:]


HELLO = {"role": "user", "content": "hello"}


def answers(*items: Item) -> list[Item]:
    """Return the messages after that of the user."""
    first, *others = messages(user("hello"), *items)
    assert first == HELLO
    return others


def tool_call(call_id: str, arguments: str = "{}", name: str = "enrol") -> Item:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def calls(*deltas: Item) -> list[bytes]:
    return [*(chunk({"tool_calls": [delta]}) for delta in deltas), chunk({}, "tool_calls"), DONE]


def test_a_request_asks_for_a_stream_with_usage() -> None:
    assert sent(model_request(user("hello"))) == {
        "model": "gpt-test",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [SYSTEM, {"role": "user", "content": "hello"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "enrol",
                    "description": "Enrol the caller in a course.",
                    "parameters": ENROL.parameters,
                    "strict": True,
                },
            }
        ],
    }


def test_text_and_calls_of_one_reply_are_one_message() -> None:
    assert messages(
        user("enrol me"),
        message("Let me see."),
        function_call("a", "enrol", "{}"),
        function_call("b", "enrol", "{}"),
        output("a", "ok"),
        output("b", "full"),
        message("Done."),
    ) == [
        {"role": "user", "content": "enrol me"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [tool_call("a"), tool_call("b")],
        },
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
        {"role": "tool", "tool_call_id": "b", "content": "full"},
        {"role": "assistant", "content": "Done."},
    ]


def test_text_after_calls_is_sent_before_their_results() -> None:
    assert answers(
        function_call("a", "enrol", "{}"), message("One moment."), output("a", "ok")
    ) == [
        {"role": "assistant", "content": "One moment.", "tool_calls": [tool_call("a")]},
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
    ]


def test_calls_without_text_have_no_content() -> None:
    assert answers(function_call("a", "enrol", "{}"), output("a", "ok"))[0]["content"] is None


def test_consecutive_texts_and_their_calls_are_one_message() -> None:
    assert answers(message("One."), message("Two."), function_call("a", "enrol", "{}")) == [
        {"role": "assistant", "content": "One.\n\nTwo.", "tool_calls": [tool_call("a")]}
    ]


def test_replies_with_calls_stay_apart() -> None:
    first, second = function_call("a", "enrol", "{}"), function_call("a", "enrol", "{}")

    roles = [m["role"] for m in answers(first, output("a", "1"), second, output("a", "2"))]

    assert roles == ["assistant", "tool", "assistant", "tool"]


def test_reasoning_and_other_items_of_the_responses_api_are_not_sent() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}

    assert answers(reasoning, message("Hi"), {"type": "mcp_call", "id": "m"}) == [
        {"role": "assistant", "content": "Hi"}
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hello", "hello"),
        ([{"type": "input_text", "text": "hello"}], "hello"),
        (
            [
                {"type": "input_text", "text": "what is"},
                {"type": "input_image", "image_url": "data:x", "detail": "low"},
                {"type": "input_image", "image_url": "data:y", "detail": None},
            ],
            [
                {"type": "text", "text": "what is"},
                {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:y"}},
            ],
        ),
        (
            [file(), image("https://example.org/a.png")],
            [
                {"type": "file", "file": {"filename": "bill.pdf", "file_data": PDF}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        ),
        (
            [{"type": "text", "text": "a"}, {"type": "new"}],
            [{"type": "text", "text": "a"}, {"type": "new"}],
        ),
    ],
)
def test_a_user_message_may_have_parts(content: Any, expected: Any) -> None:
    sent_message = {"type": "message", "role": "user", "content": content}

    assert messages(sent_message) == [{"role": "user", "content": expected}]


def test_a_developer_message_is_sent_as_system() -> None:
    body = sent(model_request(user("hello"), {"role": "developer", "content": "x"}))

    assert body["messages"] == [{"role": "system", "content": "Be brief.\n\nx"}, HELLO]


def test_the_request_is_valid_for_openais_types() -> None:
    items = (user("a"), message("b"), function_call("c", "enrol", "{}"), output("c", "d"))
    body = sent(model_request(*items))

    for item in body["messages"]:
        TypeAdapter(ChatCompletionMessageParam).validate_python(item)
    for tool in body["tools"]:
        TypeAdapter(ChatCompletionToolParam).validate_python(tool)


def test_the_operators_settings_are_sent() -> None:
    body = sent(model_request(), FixedSettings("o3", temperature=0.0, max_output_tokens=100))

    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("o3", 0.0, 100)


def test_a_refused_part_is_replaced_or_left_out() -> None:
    settings = FixedSettings(max_output_tokens=100)

    body = sent(model_request(), settings, "stream_options", "max_completion_tokens")

    assert "stream_options" not in body
    assert "max_completion_tokens" not in body
    assert body["max_tokens"] == 100


def test_a_reply_has_model_and_usage() -> None:
    reply, _ = received(CHAT, *chat_events(FakeReply("Hi", usage=(100, 20, 30, 5))))

    assert reply.usage == Usage(100, 20, 30, 5)
    assert (reply.model, reply.request_hash, reply.ended) == ("gpt-test-2026", HASH, "completed")


def test_usage_may_come_with_the_last_choice_and_without_details() -> None:
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}

    reply, _ = received(CHAT, chunk({"content": "Hi"}), sse({**last, "usage": usage}), DONE)

    assert reply.usage == Usage(3, 2)


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
def test_a_truncated_reply_has_its_reason(ended: Any) -> None:
    reply, listener = received(CHAT, *chat_events(FakeReply("So far", ended=ended)))

    assert reply.ended == ended
    assert listener.text_now == "So far"


def test_a_refusal_is_shown_and_stored_as_a_refusal() -> None:
    reply, listener = received(
        CHAT, chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, "stop"), DONE
    )

    assert reply.items == (message("", refusal="I cannot."),)
    assert listener.text_now == "I cannot."


def test_reasoning_content_is_not_shown() -> None:
    reply, listener = received(
        CHAT, chunk({"reasoning_content": "hm"}), chunk({"content": "Hi"}), chunk({}, "stop"), DONE
    )

    assert reply.items == (message("Hi") | {"message_fields": {"reasoning_content": "hm"}},)
    assert listener.text_now == "Hi"


def test_content_may_have_parts() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hi"}]

    reply, _ = received(CHAT, chunk({"content": parts}), chunk({}, "stop"))

    assert reply.items == (message("Hi"),)


@pytest.mark.parametrize(
    "deltas",
    [
        # the format of OpenAI
        [
            {"index": 0, **tool_call("a", "")},
            {"index": 0, "function": {"arguments": '{"x"'}},
            {"index": 0, "function": {"arguments": ": 1}"}},
            {"index": 1, **tool_call("b", '{"y": 2}', "drop")},
        ],
        # alternating
        [
            {"index": 0, **tool_call("a", '{"x"')},
            {"index": 1, **tool_call("b", '{"y"', "drop")},
            {"index": 0, "function": {"arguments": ": 1}"}},
            {"index": 1, "function": {"arguments": ": 2}"}},
        ],
        # without an index
        [
            tool_call("a", '{"x"'),
            {"function": {"arguments": ": 1}"}},
            tool_call("b", '{"y": 2}', "drop"),
        ],
        # all with the same index
        [
            {"index": 0, **tool_call("a", '{"x": 1}')},
            {"index": 0, **tool_call("b", '{"y": 2}', "drop")},
        ],
        # the name in pieces, the id with each of them
        [
            {"index": 0, **tool_call("a", "", "en")},
            {"index": 0, **tool_call("a", "", "rol")},
            {"index": 0, "id": "a", "function": {"name": None, "arguments": '{"x": 1}'}},
            {"index": 1, **tool_call("b", '{"y": 2}', "drop")},
        ],
        # the name repeated with each piece
        [
            {"index": 0, **tool_call("a", '{"x"')},
            {"index": 0, **tool_call("a", ": 1}")},
            {"index": 1, **tool_call("b", '{"y": 2}', "drop")},
        ],
        # arguments as an object
        [
            {"index": 0, "id": "a", "function": {"name": "enrol", "arguments": {"x": 1}}},
            {"index": 1, "id": "b", "function": {"name": "drop", "arguments": {"y": 2}}},
        ],
        # empty pieces
        [
            {"index": 0, **tool_call("a", '{"x": 1}')},
            {"index": 0},
            {"index": 0, "function": None},
            {"index": 1, **tool_call("b", '{"y": 2}', "drop")},
        ],
    ],
)
def test_calls_are_assembled_from_any_pieces(deltas: list[Item]) -> None:
    reply, _ = received(CHAT, *calls(*deltas))

    assert reply.items == (
        function_call("a", "enrol", '{"x": 1}'),
        function_call("b", "drop", '{"y": 2}'),
    )


def test_a_call_without_id_gets_one_and_without_arguments_none() -> None:
    bare = {"function": {"name": "enrol", "arguments": ""}}

    reply, _ = received(CHAT, *calls({"index": 0, **bare}, {"index": 1, **bare, "id": ""}))

    assert reply.items == (
        function_call(f"call_{HASH[:24]}0", "enrol", "{}"),
        function_call(f"call_{HASH[:24]}1", "enrol", "{}"),
    )


def test_whole_calls_without_index_and_id_are_separate() -> None:
    bare = {"function": {"name": "enrol", "arguments": {"x": 1}}}

    reply, _ = received(CHAT, *calls(bare, bare))

    assert [item["arguments"] for item in reply.items] == ['{"x": 1}', '{"x": 1}']


def test_an_id_shared_by_two_calls_is_unchanged() -> None:
    reply, _ = received(
        CHAT, *calls({"index": 0, **tool_call("a", "{}")}, {"index": 1, **tool_call("a", "{}")})
    )

    assert [item["call_id"] for item in reply.items] == ["a", "a"]


def test_a_character_split_over_two_chunks_is_joined() -> None:
    halves = [b"a\\ud83d", b"\\ude00b", b"\\ud83dc", b"d\\ud83d"]
    chunks = [b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % half for half in halves]

    reply, listener = received(CHAT, *chunks, chunk({}, "stop"), DONE)

    assert listener.deltas == ["a", "😀b", "\ufffdc", "d", "\ufffd"]
    assert reply.items == (message("a😀b\ufffdcd\ufffd"),)


def test_a_character_split_within_arguments_is_joined() -> None:
    halves = [b'{\\"x\\": \\"\\ud83d', b'\\ude00\\"}']
    begin = (
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"enrol",'
    )
    chunks = [begin + b'"arguments":"%s"}}]}}]}\n\n' % half for half in halves]

    reply, _ = received(CHAT, *chunks, chunk({}, "tool_calls"))

    assert reply.items == (function_call("a", "enrol", '{"x": "😀"}'),)


def test_a_whole_reply_without_a_stream_is_read() -> None:
    sent_message = {"role": "assistant", "content": "Hi", "tool_calls": [tool_call("a")]}
    whole = chat_chunk([{"index": 0, "message": sent_message, "finish_reason": "tool_calls"}])

    reply, listener = received(CHAT, sse(whole))

    assert reply.items == (message("Hi"), function_call("a", "enrol", "{}"))
    assert listener.text_now == "Hi"


@pytest.mark.parametrize("end", [[chunk({}, "stop")], [DONE]])
def test_a_finish_reason_or_done_completes_a_reply(end: list[bytes]) -> None:
    reply, _ = received(CHAT, chunk({"content": "Hi"}), *end)

    assert reply.items == (message("Hi"),)


@pytest.mark.parametrize("events", [[], [chunk({"content": "Hi"})], [DONE]])
def test_a_reply_without_an_end_is_retried(events: list[bytes]) -> None:
    with pytest.raises(RetryableError, match="the stream ended before the reply was complete"):
        received(CHAT, *events)


def test_an_empty_reply_is_an_empty_message() -> None:
    reply, listener = received(CHAT, chunk({"role": "assistant", "content": ""}), chunk({}, "stop"))

    assert reply.items == (message(""),)
    assert listener.deltas == []


@pytest.mark.parametrize(
    ("event", "error"),
    [({"error": {"code": 502}}, {"code": 502}), ({"error": "bad"}, {"message": "bad"})],
)
def test_an_error_within_a_stream_is_raised(event: Item, error: Item) -> None:
    with pytest.raises(ErrorReceived) as caught:
        received(CHAT, chunk({"content": "Hi"}), sse(event))

    assert caught.value.error == error


def test_a_reply_that_the_server_aborted_is_retried() -> None:
    with pytest.raises(RetryableError, match="the server broke off the reply"):
        received(CHAT, chunk({"content": "Hi"}), chunk({}, "error"))


@pytest.mark.parametrize("data", ['{"choices": [', "[1]", '{"choices": 7}', "[" * 100_000])
def test_an_invalid_chunk_is_retried(data: str) -> None:
    with pytest.raises(RetryableError, match=r"malformed JSON|is not a chunk"):
        received(CHAT, f"data: {data}\n\n".encode())


SCHEMA: Item = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_p": 0.5, "temperature": 0.0}, {"top_p": 0.5, "temperature": 0.0}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "function", "name": "enrol"}},
            {"tool_choice": {"type": "function", "function": {"name": "enrol"}}},
        ),
        ({"max_output_tokens": 16}, {"max_completion_tokens": 16}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"summary": "auto"}}, {}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {"text": {"format": {**SCHEMA, "description": None, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
    ],
)
def test_options_are_translated_for_this_api(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    plain = sent(model_request())

    assert sent(replace(model_request(), options=options)) == plain | expected


def test_the_callers_options_override_the_settings() -> None:
    request = replace(model_request(), options={"temperature": 0.0, "max_output_tokens": 16})

    body = sent(
        request, FixedSettings(temperature=0.5, max_output_tokens=99), "max_completion_tokens"
    )

    assert (body["temperature"], body["max_tokens"]) == (0.0, 16)


@pytest.mark.parametrize(
    ("wanted", "limit", "is_sent"),
    [(2_000_000, 100, 100), (16, 100, 16), (None, 100, 100), (16, None, 16), (None, None, None)],
)
def test_the_operators_limit_bounds_the_callers(
    wanted: int | None, limit: int | None, is_sent: int | None
) -> None:
    options = {"max_output_tokens": wanted} if wanted else {}

    body = sent(replace(model_request(), options=options), FixedSettings(max_output_tokens=limit))

    assert body.get("max_completion_tokens") == is_sent
