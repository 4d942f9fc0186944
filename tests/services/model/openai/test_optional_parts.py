"""A part that a server refuses is left out if the error names it."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from tests.services.model.builders import (
    ENROL,
    FixedSettings,
    RecordingListener,
    fast_settings,
    model_request,
    user,
)
from tests.services.model.mock_server import Behaviour, Call, MockServer, answers, refuses, streams
from tests.services.model.streams import FakeReply, chat_events, chunk, responses_events, sse
from twelvefold.core.events import Item
from twelvefold.core.ports import ModelRequest
from twelvefold.errors import ModelRejected
from twelvefold.services.model.items import function_call, message
from twelvefold.services.model.openai import Api, OpenAIModel
from twelvefold.services.model.openai.chat import CHAT
from twelvefold.services.model.openai.encoding.optional_parts import refused_parts
from twelvefold.services.model.openai.responses import RESPONSES

EVENTS = {"responses": responses_events, "chat": chat_events}
FORMATS = {"responses": RESPONSES, "chat": CHAT}
EVERYTHING: Mapping[str, Any] = {
    "parallel_tool_calls": False,
    "temperature": 0.5,
    "top_p": 0.5,
    "max_output_tokens": 100,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "a", "schema": {},
                                            "strict": True}},
    "tool_choice": "required",
    "stop": ["END"],
}  # fmt: skip
REASONING: Item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}
REQUEST = replace(
    model_request(user("a"), REASONING, {**message("b"), "phase": "commentary"}, user("c")),
    options=EVERYTHING,
)


def refused(api: Api, error: Mapping[str, Any], request: ModelRequest = REQUEST) -> list[str]:
    """Return the names of the parts that an error refuses."""
    wire = FORMATS[api]
    body = wire.encode(request, FixedSettings(), frozenset())
    return [part.name for part in refused_parts(error, body, wire.optional_parts)]


@pytest.mark.parametrize(
    ("api", "error", "names"),
    [
        # OpenAI's own
        ("chat", {"param": "stream_options", "message": "?"}, ["stream_options"]),
        ("chat", {"param": "stream_options.include_usage"}, ["stream_options"]),
        ("chat", {"param": "tools[0].function.strict"}, ["strict"]),
        ("responses", {"param": "tools[0].strict"}, ["strict"]),
        ("responses", {"param": "include[0]", "code": "invalid_value"}, ["include"]),
        ("responses", {"param": "reasoning.summary", "code": "unsupported_value"},
         ["reasoning.summary"]),
        ("responses", {"param": "reasoning.effort", "code": "unsupported_parameter"},
         ["reasoning.effort"]),
        ("responses", {"param": "reasoning"}, ["reasoning"]),
        ("responses", {"param": "text.verbosity"}, ["text.verbosity"]),
        ("responses", {"param": "store"}, ["store"]),
        ("responses", {"param": None, "message": "Unknown parameter: 'include'."}, ["include"]),
        ("responses", {"message": "Unsupported parameter: 'temperature' is not supported with "
                                  "this model."}, ["temperature"]),
        ("chat", {"param": "stop", "code": "unsupported_parameter",
                  "message": "Unsupported parameter: 'stop' is not supported with this model."},
         ["stop"]),
        ("chat", {"message": "Unsupported value: 'temperature' does not support 0.5 with this "
                             "model. Only the default (1) value is supported."}, ["temperature"]),
        ("chat", {"message": "Unsupported parameter: 'max_completion_tokens' is not supported. "
                             "Use 'max_tokens' instead."}, ["max_completion_tokens"]),
        ("chat", {"message": "Unrecognized request argument supplied: parallel_tool_calls"},
         ["parallel_tool_calls"]),
        ("chat", {"message": "Unrecognized request arguments supplied: stream_options, verbosity"},
         ["stream_options", "verbosity"]),
        ("chat", {"message": "Unsupported parameter(s): 'top_p', 'temperature'"},
         ["temperature", "top_p"]),
        ("chat", {"param": "tools[0].function.parameters", "code": "invalid_function_parameters",
                  "message": "Invalid schema for function 'enrol': …"}, ["strict schemas"]),
        ("responses", {"message": "Invalid schema for function 'enrol': …"}, ["strict schemas"]),
        ("responses", {"code": "invalid_encrypted_content", "message": "?"}, ["input.reasoning"]),
        ("responses", {"param": "input", "message": "Item 'rs_1' of type 'reasoning' was provided "
                                                    "without its required following item."},
         ["input.reasoning"]),
        ("responses", {"param": "input[2].phase"}, ["input.phase"]),
        # FastAPI, vLLM, Mistral
        ("chat", {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]},
         ["stream_options"]),
        ("chat", {"message": {"detail": [{"type": "extra_forbidden",
                                          "loc": ["body", "parallel_tool_calls"]}]}},
         ["parallel_tool_calls"]),
        ("chat", {"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'tools', 0, 'function', "
                             "'strict'), 'msg': 'Extra inputs are not permitted', 'input': True}]"},
         ["strict"]),
        ("chat", {"message": [{"loc": ["stream_options", "include_usage"],
                               "msg": "extra fields not permitted",
                               "type": "value_error.extra"}]}, ["stream_options"]),
        ("responses", {"detail": [{"type": "extra_forbidden",
                                   "loc": ["body", "input", "list[x]", 2, "Message", "phase"]}]},
         ["input.phase"]),
        # Anthropic, Bedrock
        ("chat", {"message": "tools.0.function.strict: Extra inputs are not permitted"},
         ["strict"]),
        ("chat", {"message": "stream_options: Extra inputs are not permitted"}, ["stream_options"]),
        # Gemini
        ("chat", {"message": 'Invalid JSON payload received. Unknown name "strict" at '
                             "'tools[0].function': Cannot find field."}, ["strict"]),
        ("chat", {"message": 'Unknown name "stream_options": Cannot find field.'},
         ["stream_options"]),
        ("chat", {"message": "?", "details": [{"fieldViolations": [{"field": "top_p"}]}]},
         ["top_p"]),
        # Groq, LiteLLM, Go, Rust, Python, JSON Schema, Zod
        ("chat", {"message": "property 'parallel_tool_calls' is unsupported, did you mean 'x'?"},
         ["parallel_tool_calls"]),
        ("chat", {"message": "openai does not support parameters: ['parallel_tool_calls'], for "
                             "model=m"}, ["parallel_tool_calls"]),
        ("chat", {"message": "m does not support parameters: {'parallel_tool_calls': False, "
                             "'top_p': 0.5}"}, ["parallel_tool_calls", "top_p"]),
        ("chat", {"message": 'json: unknown field "stream_options"'}, ["stream_options"]),
        ("chat", {"message": "unknown field `strict`, expected one of `name`, `description`"},
         ["strict"]),
        ("chat", {"message": "create() got an unexpected keyword argument 'stream_options'"},
         ["stream_options"]),
        ("chat", {"message": "Additional properties are not allowed ('stream_options', "
                             "'parallel_tool_calls' were unexpected)"},
         ["stream_options", "parallel_tool_calls"]),
        ("chat", {"message": "Unrecognized key(s) in object: 'strict'"}, ["strict"]),
        ("chat", {"errors": [{"keyword": "additionalProperties",
                              "params": {"additionalProperty": "stream_options"}}]},
         ["stream_options"]),
        ("chat", {"message": "The parameter `temperature` is not supported"}, ["temperature"]),
        ("chat", {"message": "This model does not support the `temperature` parameter"},
         ["temperature"]),
        ("responses", {"message": "store is not supported by this server"}, ["store"]),
        ("responses", {"message": "store=false is not supported"}, ["store"]),
        # Fireworks, xAI, LiteLLM, Moonshot, Anthropic
        ("chat", {"message": "1 request validation errors: Extra inputs are not permitted, field: "
                             "'tools[0].function.strict', value: True"}, ["strict"]),
        ("chat", {"message": "Extra inputs are not permitted, field: 'stream_options', value: {}"},
         ["stream_options"]),
        ("chat", {"message": "Argument not supported on this model: reasoning_effort"},
         ["reasoning_effort"]),
        ("chat", {"message": "gpt-5 models (including m) don't support temperature=0.5. Only "
                             "temperature=1 is supported."}, ["temperature"]),
        ("chat", {"message": "The model does not support setting temperature"}, ["temperature"]),
        ("chat", {"message": "invalid temperature: only 1 is allowed for this model"},
         ["temperature"]),
        ("chat", {"message": "`temperature` may only be set to 1 when thinking is enabled."},
         ["temperature"]),
        ("chat", {"message": "`temperature` and `top_p` cannot both be specified for this model."},
         ["top_p"]),
    ],
)  # fmt: skip
def test_an_error_names_the_refused_parts(api: Api, error: Item, names: list[str]) -> None:
    assert refused(api, error) == names


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize(
    "error",
    [
        # a word in the text
        {"message": "reasoning must include an answer"},
        {"message": "Be strict about what you store and include; temperature matters"},
        {"message": "the tool 'include' is unknown", "param": "messages[1].content"},
        {"message": "The model `m` does not exist", "code": "model_not_found"},
        {"message": "not today"},
        {"message": "invalid messages: only 1 is allowed, whatever the temperature"},
        {"message": "this model does not support tool calls with temperature in their names"},
        {},
        # a required part
        {"param": "model"},
        {"param": "messages"},
        {"param": "input[0].content"},
        {"param": "tools"},
        {"param": "tool_choice", "message": "Unsupported parameter: 'tool_choice'"},
        {"param": "stream"},
        {"param": "response_format", "code": "invalid_json_schema"},
        {"param": "text.format", "message": "'text.format' is not supported"},
        {"param": "text.format.schema", "code": "invalid_json_schema"},
        {"param": "max_output_tokens", "message": "Unsupported parameter: 'max_output_tokens'"},
        {"message": "'tools' is not supported with this model"},
        {"param": "tools[0].function.name"},
        # an invalid value of the caller
        {"param": "temperature", "code": "decimal_above_max_value"},
        {"param": "top_p", "code": "invalid_type"},
        {"param": "reasoning.effort", "code": "invalid_value"},
        {"param": "max_completion_tokens", "code": "integer_above_max_value"},
        # a missing part
        {"detail": [{"type": "missing", "loc": ["body", "temperature"]}]},
        # a property of that name
        {"param": "tools[0].function.name.properties.strict"},
    ],
)
def test_nothing_else_is_left_out(api: Api, error: Item) -> None:
    assert refused(api, error) == []


def test_a_part_that_was_not_sent_is_not_refused() -> None:
    assert refused("chat", {"param": "temperature"}, model_request()) == []
    assert refused("responses", {"param": "reasoning"}, model_request()) == []


def test_a_caller_may_have_a_parameter_called_strict() -> None:
    error = {"message": "Invalid", "param": "tools[0].strict.properties.strict"}

    assert refused("responses", error) == []


def sent(api: Api, *without: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        FORMATS[api].encode(REQUEST, FixedSettings(), frozenset(without))
    )
    return body


NOT_IN_IT = (
    *("text", "input.provider", "messages.provider"),
    *("no signature", "no reasoning", "short call ids", "null content"),
)


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_only_the_named_part_is_left_out(api: Api) -> None:
    whole = sent(api)

    for part in FORMATS[api].optional_parts:
        body = sent(api, part.name)
        left = deepcopy(whole)
        assert part.remove_from(left) or part.name in NOT_IN_IT
        assert body == left
        assert {"model", "stream"} < set(body)


def test_an_empty_object_is_removed_with_its_last_option() -> None:
    assert "reasoning" not in sent("responses", "reasoning.effort", "reasoning.summary")
    assert sent("responses", "text.verbosity")["text"]["format"]["name"] == "a"


def test_max_tokens_replaces_the_newer_limit() -> None:
    body = sent("chat", "max_completion_tokens")

    assert (body["max_tokens"], "max_completion_tokens" in body) == (100, False)


def test_the_callers_options_are_unchanged() -> None:
    before = json.dumps(EVERYTHING)

    sent("responses", "text.verbosity", "reasoning.effort", "strict")

    assert json.dumps(EVERYTHING) == before
    assert ENROL.strict


CALLED = model_request(
    user("a"),
    function_call("c1", "enrol", "{}"),
    function_call("c2", "enrol", "{}"),
    {"type": "function_call_output", "call_id": "c1", "output": "1"},
    {"type": "function_call_output", "call_id": "c2", "output": "2"},
)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Function call is missing a thought_signature in functionCall parts.", "no signature"),
        ("Function call `default_api:enrol` in the 2. content block is missing a "
         "`thought_signature`.", "no signature"),
        ("The `reasoning_content` in the thinking mode must be passed back to the API.",
         "no reasoning"),
        ("Missing `reasoning_content` field in the assistant message at message index 2.",
         "no reasoning"),
        ("thinking is enabled but reasoning_content is missing in assistant tool call message",
         "no reasoning"),
    ],
)  # fmt: skip
def test_an_error_names_a_missing_field_of_earlier_calls(message: str, name: str) -> None:
    assert refused("chat", {"message": message}, CALLED) == [name]
    assert refused("chat", {"message": message}) == []


@pytest.mark.parametrize(
    "error",
    [
        {"detail": [{"type": "string_type", "loc": ["body", "messages", 1, "content"]}]},
        {"param": "messages.[1].content", "code": "invalid_type"},
    ],
)
def test_a_server_may_require_content_beside_calls(error: Item) -> None:
    assert refused("chat", error, CALLED) == ["null content"]
    assert refused("chat", error) == []

    body = json.loads(CHAT.encode(CALLED, FixedSettings(), frozenset({"null content"})))

    assert [one["content"] for one in body["messages"] if "tool_calls" in one] == [""]


@pytest.mark.parametrize(
    "message",
    [
        "Tool call id was c1 but must be a-z, A-Z, 0-9, with a length of 9.",
        "Tool call IDs should be alphanumeric strings with length 9!",
    ],
)
def test_a_server_may_require_call_ids_of_nine_characters(message: str) -> None:
    assert refused("chat", {"message": message}, CALLED) == ["short call ids"]
    own = function_call("D681PevKs", "enrol", "{}")
    result = {"type": "function_call_output", "call_id": "D681PevKs", "output": "3"}
    request = replace(CALLED, items=(*CALLED.items, own, result))

    body = json.loads(CHAT.encode(request, FixedSettings(), frozenset({"short call ids"})))

    calls = [call["id"] for one in body["messages"] for call in one.get("tool_calls", ())]
    assert calls == [one["tool_call_id"] for one in body["messages"] if one["role"] == "tool"]
    assert calls[-1] == "D681PevKs"
    assert all(len(one) == 9 and one.isalnum() for one in calls)
    assert len({*calls}) == 3
    assert refused("chat", {"message": message}, model_request(user("a"), own, result)) == []


def test_calls_of_another_model_get_placeholder_fields() -> None:
    without = frozenset({"no signature", "no reasoning"})
    signed = {"extra_content": {"google": {"thought_signature": "S"}}}
    own = [
        {"provider": "p", "call_fields": signed, "message_fields": {"reasoning_content": "R"}}
        | function_call("c1", "enrol", "{}")
    ]
    result = {"type": "function_call_output", "call_id": "c1", "output": "1"}

    def first_message(request: ModelRequest) -> Item:
        body = json.loads(CHAT.encode(request, FixedSettings(), without))
        return next(one for one in body["messages"] if "tool_calls" in one)

    theirs = first_message(CALLED)
    assert theirs["reasoning_content"] == " "
    assert [call.get("extra_content") for call in theirs["tool_calls"]] == [
        {"google": {"thought_signature": "skip_thought_signature_validator"}},
        None,
    ]
    ours = first_message(model_request(user("a"), *own, result))
    assert ours["reasoning_content"] == "R"
    assert ours["tool_calls"][0]["extra_content"] == signed["extra_content"]


# Over HTTP


def strict_server(api: Api, unknown: set[str]) -> Behaviour:
    """Refuse a request with any of these fields and name one; respond to every other."""
    good = streams(EVENTS[api](FakeReply("Hi")))

    async def behave(call: Call) -> None:
        found = sorted(unknown & call.body.keys())
        if found:
            error = {"message": f"Unknown parameter: '{found[0]}'.", "param": found[0]}
            await refuses(400, error)(call)
        else:
            await good(call)

    return behave


@pytest.mark.parametrize(
    ("api", "unknown"),
    [
        ("chat", {"stream_options", "temperature"}),
        ("responses", {"include", "store", "temperature"}),
    ],
)
async def test_a_refused_part_is_not_sent_again(
    server: MockServer, api: Api, unknown: set[str]
) -> None:
    server.will(strict_server(api, unknown))
    model = OpenAIModel(fast_settings(server.url, api=api, temperature=0.5))

    for _ in range(3):
        await model.reply(model_request(), RecordingListener())
    await model.close()

    assert len(server.calls) == len(unknown) + 3
    assert not any(unknown & call.body.keys() for call in server.calls[-3:])
    assert all(call.body["tools"] for call in server.calls)


async def test_a_refusal_is_recognized_with_another_status_or_in_a_stream(
    server: MockServer,
) -> None:
    error = {"message": "Unknown parameter: 'stream_options'."}
    good = streams(chat_events(FakeReply("Hi")))
    for behaviour in (
        refuses(422, error),
        refuses(500, error),
        refuses(404, error),
        answers(200, json.dumps({"error": error}).encode()),
        streams([sse({"error": error})]),
    ):
        server.will(behaviour, good)
        model = OpenAIModel(fast_settings(server.url, api="chat"))
        await model.reply(model_request(), RecordingListener())
        await model.close()
        assert ["stream_options" in call.body for call in server.calls] == [True, False]


async def test_a_required_part_is_never_left_out(server: MockServer) -> None:
    server.will(refuses(400, {"message": "Unknown parameter: 'tools'.", "param": "tools"}))
    model = OpenAIModel(fast_settings(server.url, api="chat"))

    with pytest.raises(ModelRejected, match="Unknown parameter: 'tools'"):
        await model.reply(model_request(), RecordingListener())
    await model.close()

    assert len(server.calls) == 1


async def test_a_part_is_sent_again_if_leaving_it_out_did_not_help(server: MockServer) -> None:
    schema = {
        "message": "Invalid schema for function 'enrol'",
        "param": "tools[0].function.parameters",
    }
    server.will(refuses(400, schema))
    model = OpenAIModel(fast_settings(server.url, api="chat"))

    for _ in range(2):
        with pytest.raises(ModelRejected, match="Invalid schema"):
            await model.reply(model_request(), RecordingListener())
    await model.close()

    strict = [call.body["tools"][0]["function"]["strict"] for call in server.calls]
    assert strict == [True, False, True, False]


async def test_a_schema_that_strict_mode_refuses_is_sent_without_it(server: MockServer) -> None:
    def behave(call: Call) -> Any:
        if call.body["tools"][0]["function"].get("strict"):
            param = "tools[0].function.parameters"
            return refuses(400, {"message": "Invalid schema", "param": param})(call)
        return streams([chunk({"content": "ok"}, "stop")])(call)

    server.will(behave)
    model = OpenAIModel(fast_settings(server.url, api="chat"))

    reply = await model.reply(model_request(), RecordingListener())
    await model.close()

    assert reply.items == (message("ok"),)
    assert function_call("a", "b", "{}") not in reply.items
