"""Chat Completions streams of other servers than OpenAI's."""

import json
from typing import Any

import pytest

from tests.services.model.builders import HASH, received
from tests.services.model.streams import chunk, sse
from twelvefold.core.events import Item, Usage
from twelvefold.services.model.errors import ErrorReceived, RetryableError
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai.chat import CHAT

DONE = sse("[DONE]")
STOP = chunk({}, "stop")


def piece(
    index: Any = None, id: Any = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    """Return an element of `delta.tool_calls` without None values."""
    function = {"name": name, "arguments": arguments}
    outer = {"index": index, "id": id, "function": {k: v for k, v in function.items() if v}}
    return {key: value for key, value in outer.items() if value is not None}


def calls_of(*deltas: object, finish: str | None = "tool_calls") -> list[tuple[str, str, str]]:
    """Return id, name and arguments of the calls from these pieces, one chunk each."""
    reply, _ = received(
        CHAT, *(chunk({"tool_calls": [d]}) for d in deltas), chunk({}, finish), DONE
    )
    return [(item["call_id"], item["name"], item["arguments"]) for item in reply.items]


def made_up(index: int) -> str:
    return f"call_{HASH[:24]}{index}"


# Calls


@pytest.mark.parametrize("id", [None, ""])
@pytest.mark.parametrize(
    ("index", "second"), [(0, "add"), (0, "drop"), (None, "add"), ("0", "add")]
)
def test_calls_with_the_same_index_and_no_id_are_two(id: Any, index: Any, second: str) -> None:
    found = calls_of(piece(index, id, "add", '{"a":1}'), piece(index, id, second, '{"a":2}'))

    assert found == [(made_up(0), "add", '{"a":1}'), (made_up(1), second, '{"a":2}')]


def test_three_calls_with_the_same_index_in_one_chunk_are_three() -> None:
    deltas = [piece(0, "", "add", json.dumps({"a": n})) for n in range(3)]

    reply, _ = received(CHAT, chunk({"tool_calls": deltas}), chunk({}, "stop"), DONE)

    assert [item["arguments"] for item in reply.items] == ['{"a": 0}', '{"a": 1}', '{"a": 2}']


def test_calls_without_id_whose_arguments_come_in_pieces_are_two() -> None:
    found = calls_of(
        piece(0, None, "add"),
        piece(0, None, None, '{"a"'),
        piece(0, None, None, ":1}"),
        piece(0, None, "add", '{"a"'),
        piece(0, None, None, ":2}"),
    )

    assert found == [(made_up(0), "add", '{"a":1}'), (made_up(1), "add", '{"a":2}')]


def test_two_concatenated_objects_are_two_calls() -> None:
    found = calls_of(piece(0, "a", "add", '{"a": 1}'), piece(0, None, None, ' {"a": 2}'))

    assert found == [("a", "add", '{"a": 1}'), (made_up(1), "add", '{"a": 2}')]


@pytest.mark.parametrize("empty", ["{}", "null", "{} ", {}])
@pytest.mark.parametrize("rest", [['{"a":1}'], ['{"a"', ":1}"]])
@pytest.mark.parametrize("id", ["a", None])
def test_an_empty_object_before_the_arguments_is_ignored(
    empty: Any, rest: list[str], id: Any
) -> None:
    found = calls_of(piece(0, "a", "add", empty), *(piece(0, id, None, text) for text in rest))

    assert found == [("a", "add", '{"a":1}')]


def test_an_empty_object_alone_is_a_call_without_arguments() -> None:
    assert calls_of(piece(0, "a", "now", "{}")) == [("a", "now", "{}")]


def test_an_empty_object_after_the_arguments_is_ignored() -> None:
    assert calls_of(piece(0, "a", "add", '{"a":1}'), piece(0, None, None, "{}")) == [
        ("a", "add", '{"a":1}')
    ]


def test_an_index_may_be_a_number_in_one_piece_and_text_in_the_next() -> None:
    found = calls_of(piece("0", "a", "add", '{"a"'), piece(0, arguments=":1}"))

    assert found == [("a", "add", '{"a":1}')]


def test_pieces_without_an_index_belong_to_the_last_call() -> None:
    found = calls_of(
        piece(0, "a", "add"),
        piece(None, None, None, '{"a"'),
        piece(None, None, None, ":1}"),
        piece(1, "b", "drop"),
        piece(None, None, None, "{}"),
    )

    assert found == [("a", "add", '{"a":1}'), ("b", "drop", "{}")]


def test_pieces_without_an_index_belong_to_the_call_with_their_id() -> None:
    found = calls_of(
        piece(0, "a", "add"),
        piece(1, "b", "drop"),
        piece(None, "a", None, '{"a":1}'),
        piece(None, "b", None, '{"b":2}'),
    )

    assert found == [("a", "add", '{"a":1}'), ("b", "drop", '{"b":2}')]


def test_a_new_id_with_every_piece_is_still_one_call() -> None:
    found = calls_of(piece(0, "a", "add"), piece(0, "x", None, '{"a"'), piece(0, "y", None, ":1}"))

    assert found == [("a", "add", '{"a":1}')]


def test_a_call_that_the_last_chunk_repeats_is_one() -> None:
    whole = piece(0, "a", "add", '{"a":1}')

    reply, _ = received(
        CHAT,
        chunk({"tool_calls": [piece(0, "a", "add")]}),
        chunk({"tool_calls": [piece(0, None, None, '{"a":1}')]}),
        sse({"choices": [{"message": {"tool_calls": [whole]}, "finish_reason": "tool_calls"}]}),
    )

    assert reply.items == (function_call("a", "add", '{"a":1}'),)


def test_a_call_that_the_last_delta_repeats_is_one() -> None:
    found = calls_of(
        piece(0, "a", "add"),
        piece(0, None, None, '{"a":1}'),
        piece(0, "a", "add", '{"a":1}'),
    )

    assert found == [("a", "add", '{"a":1}')]


@pytest.mark.parametrize("index", [0, None])
def test_the_name_with_every_piece_is_still_one_call(index: int | None) -> None:
    found = calls_of(
        piece(index, None, "add", '{"a"'),
        piece(index, None, "add", ":1}"),
        piece(index, None, "add", '{"a":2}'),
    )

    assert found == [(made_up(0), "add", '{"a":1}'), (made_up(1), "add", '{"a":2}')]


def test_arguments_that_were_encoded_twice_are_an_object() -> None:
    assert calls_of(piece(0, "a", "add", json.dumps('{"a":1}'))) == [("a", "add", '{"a":1}')]


def test_invalid_json_arguments_are_unchanged() -> None:
    assert calls_of(piece(0, "a", "add", '{"a": 1, "b": ')) == [("a", "add", '{"a": 1, "b": ')]


def test_a_call_without_function_has_the_fields_itself() -> None:
    flat = {"index": 0, "id": "a", "name": "add", "arguments": '{"a":1}'}

    assert calls_of(flat) == [("a", "add", '{"a":1}')]


@pytest.mark.parametrize("odd", [None, 7, "x", [], {"index": 0}, {"index": 0, "function": None}])
def test_an_invalid_call_is_ignored(odd: object) -> None:
    assert calls_of(piece(0, "a", "add", '{"a":1}'), odd) == [("a", "add", '{"a":1}')]


@pytest.mark.parametrize("finish", ["function_call", "tool_calls", "stop", None, ""])
def test_a_legacy_function_call_is_a_call(finish: str | None) -> None:
    deltas = [{"name": "add", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ":1}"}]

    reply, _ = received(
        CHAT, *(chunk({"function_call": one}) for one in deltas), chunk({}, finish), DONE
    )

    assert reply.items == (function_call(made_up(0), "add", '{"a":1}'),)
    assert reply.ended == "completed"


def test_a_legacy_function_call_beside_the_same_tool_call_is_one() -> None:
    both = {
        "tool_calls": [piece(0, "a", "add", '{"a":1}')],
        "function_call": {"name": "add", "arguments": '{"a":1}'},
    }

    reply, _ = received(CHAT, chunk(both), STOP)

    assert reply.items == (function_call("a", "add", '{"a":1}'),)


@pytest.mark.parametrize("finish", ["stop", "STOP", "end_turn", "function_call", None])
def test_calls_are_read_with_any_finish_reason(finish: str | None) -> None:
    assert calls_of(piece(0, "a", "add", "{}"), finish=finish) == [("a", "add", "{}")]


# Texts


@pytest.mark.parametrize("calls", [None, [], {}])
def test_empty_tool_calls_are_ignored(calls: object) -> None:
    reply, _ = received(CHAT, chunk({"content": "hi", "tool_calls": calls}), STOP)

    assert reply.items == (message("hi"),)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}],
        [{"type": "output_text", "text": "hi"}],
        {"type": "text", "text": "hi"},
        ["h", "i"],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "hi"}],
        [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "hi"}],
        [None, 7, {"type": "text", "text": None}, {"type": "text", "text": "hi"}],
    ],
)
@pytest.mark.parametrize("field", ["delta", "message"])
def test_content_may_be_a_list_of_parts(content: object, field: str) -> None:
    choice = {"index": 0, field: {"role": "assistant", "content": content}}

    reply, listener = received(CHAT, sse({"choices": [choice]}), STOP)

    assert reply.items == (message("hi"),)
    assert listener.text_now == "hi"


def test_a_whole_message_after_its_deltas_is_not_repeated() -> None:
    whole = {"choices": [{"message": {"content": "hi you"}, "finish_reason": "stop"}]}

    reply, listener = received(CHAT, chunk({"content": "hi"}), sse(whole), DONE)

    assert reply.items == (message("hi you"),)
    assert listener.deltas == ["hi", " you"]


def test_the_text_of_the_completions_api_is_read() -> None:
    choices = [{"index": 0, "text": "h"}, {"index": 0, "text": "i", "finish_reason": "stop"}]

    reply, _ = received(CHAT, *(sse({"choices": [one]}) for one in choices))

    assert reply.items == (message("hi"),)


def test_other_choices_are_ignored() -> None:
    two = [{"index": n, "delta": {"content": text}} for n, text in enumerate(["hi", "ho"])]

    reply, _ = received(CHAT, sse({"choices": two}), STOP)

    assert reply.items == (message("hi"),)


@pytest.mark.parametrize(
    "odd",
    [
        *({"model": 7}, {"model": None}, {"id": 1}, {"choices": [None]}),
        {"choices": [{"index": 0, "delta": []}]},
        {"choices": [{"index": 0, "delta": ""}]},
        {"choices": [{"index": 0, "delta": {}, "message": ""}]},
    ],
)
def test_unusual_chunks_are_tolerated(odd: Item) -> None:
    reply, _ = received(CHAT, sse(odd), chunk({"content": "hi"}), STOP)

    assert reply.items == (message("hi"),)


@pytest.mark.parametrize("nothing", [b"data:\n\n", b"data:  \n\n"])
def test_an_event_without_data_is_a_heartbeat(nothing: bytes) -> None:
    reply, _ = received(CHAT, nothing, chunk({"content": "hi"}), nothing, STOP)

    assert reply.items == (message("hi"),)


# Ends


@pytest.mark.parametrize(
    ("reason", "ended"),
    [
        ("stop", "completed"),
        ("eos", "completed"),
        ("length", "max_output_tokens"),
        ("MAX_TOKENS", "max_output_tokens"),
        ("model_length", "max_output_tokens"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("sensitive", "content_filter"),
    ],
)
def test_other_finish_reasons_are_recognized(reason: str, ended: str) -> None:
    reply, _ = received(CHAT, chunk({"content": "hi"}), chunk({}, reason))

    assert reply.ended == ended


def test_the_first_finish_reason_is_kept() -> None:
    reply, _ = received(CHAT, chunk({"content": "hi"}, "length"), STOP)

    assert reply.ended == "max_output_tokens"


@pytest.mark.parametrize(
    "reason",
    [
        *("error", "abort", "network_error", "cancelled", "malformed_function_call"),
        "function_call_filter: MALFORMED_FUNCTION_CALL",
    ],
)
def test_a_failure_as_finish_reason_is_retried(reason: str) -> None:
    with pytest.raises(RetryableError, match="broke off the reply"):
        received(CHAT, chunk({"content": "hi"}), chunk({}, reason))


def test_an_empty_finish_reason_is_ignored() -> None:
    with pytest.raises(RetryableError, match="ended before"):
        received(CHAT, chunk({"content": "h"}, ""), chunk({"content": "i"}, ""))


def test_usage_after_the_text_completes_a_reply() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}

    reply, _ = received(CHAT, chunk({"content": "hi"}), sse({"choices": [], "usage": usage}))

    assert reply.items == (message("hi"),)


@pytest.mark.parametrize(
    "done", [b"data: [DONE] \n\n", b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n"]
)
def test_done_may_have_blanks_around_it(done: bytes) -> None:
    reply, _ = received(CHAT, chunk({"content": "hi"}), done)

    assert reply.items == (message("hi"),)


# Errors


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"error": {"message": "bad", "code": 400}}, "bad"),
        ({"error": "bad"}, "bad"),
        ({"error": "Bad Request", "message": "bad", "statusCode": 400}, "bad"),
        ({"error": True, "message": "bad"}, "bad"),
        ({"error": {"detail": "bad"}}, "bad"),
        ({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, "bad"),
        ({"type": "error", "message": "bad"}, "bad"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "bad"}}, "bad"),
        ({"message": "bad", "code": 500}, "bad"),
        ({"detail": "bad"}, "bad"),
        ({"choices": [], "error": {"message": "bad"}}, "bad"),
        (
            {"choices": [{"delta": {}, "error": {"message": "bad"}, "finish_reason": "error"}]},
            "bad",
        ),
    ],
)
def test_an_error_within_a_stream_is_recognized(event: Item, text: str) -> None:
    with pytest.raises(ErrorReceived) as caught:
        received(CHAT, chunk({"content": "hi"}), sse(event), DONE)

    assert caught.value.error["message"] == text


def test_an_error_without_a_data_field_is_recognized() -> None:
    raw = b'{"error": {"message": "bad"}}\n\n'

    with pytest.raises(ErrorReceived, match="bad"):
        received(CHAT, chunk({"content": "hi"}), raw)


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_empty_error_is_ignored(error: object) -> None:
    last = {"choices": [{"delta": {}, "finish_reason": "stop", "error": error}], "error": error}

    reply, _ = received(CHAT, chunk({"content": "hi"}), sse(last))

    assert reply.items == (message("hi"),)


# Usage

U31: Item = {"prompt_tokens": 3, "completion_tokens": 1}


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [], "usage": U31},
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": U31}]},
        {"choices": [], "x_groq": {"id": "x", "usage": {**U31, "queue_time": 0.1}}},
        {"choices": [], "usage": {"prompt_tokens": 3.0, "completion_tokens": 1.0}},
        {"choices": [], "usage": {"prompt_tokens": "3", "completion_tokens": "1"}},
        {"choices": [], "usage": {"input_tokens": 3, "output_tokens": 1}},
        {"choices": [], "usage": {"prompt_tokens": 3, "total_tokens": 4}},
        {"choices": [], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}},
        {"choices": [], "timings": {"prompt_n": 1, "cache_n": 2, "predicted_n": 1}},
        {"choices": [], "prompt_eval_count": 3, "eval_count": 1},
        {"choices": [], "usage": None, "meta": {"usage": U31}},
    ],
)
def test_usage_is_read_from_every_known_field(last: Item) -> None:
    reply, _ = received(CHAT, chunk({"content": "hi"}, "stop"), sse(last), DONE)

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 1)


@pytest.mark.parametrize(
    "later",
    [
        None,
        {},
        [],
        "none",
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": True},
        {"prompt_tokens": "?", "completion_tokens": "nan"},
    ],
)
def test_empty_usage_after_real_values_is_ignored(later: object) -> None:
    usage: Item = {**U31, "prompt_tokens_details": {"cached_tokens": 2.0}}
    first = {"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage}

    reply, _ = received(CHAT, sse(first), sse({"choices": [], "usage": later}), DONE)

    assert reply.usage == Usage(3, 1, 2)


def test_growing_usage_is_that_of_the_last_chunk() -> None:
    usages: list[Item] = [{**U31, "completion_tokens": n} for n in (1, 2, 3)]
    chunks = [sse({"choices": [{"delta": {"content": "x"}}], "usage": one}) for one in usages]

    reply, _ = received(CHAT, *chunks, STOP)

    assert reply.usage == Usage(3, 3)


def test_reasoning_in_the_total_only_counts_as_output() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 100}

    reply, _ = received(
        CHAT, chunk({"content": "hi"}, "stop"), sse({"choices": [], "usage": usage})
    )

    assert reply.usage == Usage(10, 90)


@pytest.mark.parametrize(
    "details",
    [
        {"prompt_cache_hit_tokens": 2},
        {"cached_tokens": 2},
        {"prompt_tokens_details": {"cached_tokens": "2"}},
        {"input_tokens_details": {"cached_tokens": 2}},
    ],
)
def test_cached_tokens_have_several_names(details: Item) -> None:
    last: Item = {"choices": [], "usage": {**U31, **details}}

    reply, _ = received(CHAT, chunk({"content": "hi"}, "stop"), sse(last))

    assert reply.usage == Usage(3, 1, 2)
