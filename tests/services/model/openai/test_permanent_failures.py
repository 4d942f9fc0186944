"""A permanent failure ends the attempts, and its message names the remedy."""

import json
from typing import Any

import pytest

from tests.services.model.builders import RecordingListener, fast_settings, model_request
from tests.services.model.mock_server import Behaviour, Call, MockServer, answers, refuses, streams
from tests.services.model.streams import FakeReply, chat_events, sse
from twelvefold.errors import ModelRejected, ModelTooLarge, ModelUnavailable, ServiceFault
from twelvefold.services.model.openai import OpenAIModel

HI = streams(chat_events(FakeReply("Hi")))


async def fault_of(server: MockServer, **settings: Any) -> ServiceFault:
    model = OpenAIModel(fast_settings(server.url, api="chat", **settings))
    with pytest.raises(ServiceFault) as caught:
        await model.reply(model_request(), RecordingListener())
    await model.close()
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Failed to parse tool call arguments as JSON", "code": 400},
        {"message": "?", "code": "400"},
        {"message": "?", "type": "BadRequestError", "code": None},
        {"message": "?", "type": "invalid_request_error"},
        {"message": "?", "status": 422},
    ],
)
async def test_a_500_about_the_request_is_not_retried(
    server: MockServer, error: dict[str, Any]
) -> None:
    server.will(refuses(500, error))

    fault = await fault_of(server)

    assert type(fault) is ModelRejected
    assert str(fault) == f"{server.url} cannot process the request: {error['message']}"
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "message",
    [
        "[json.exception.parse_error.101] parse error at line 1, column 17: syntax error",
        "Failed to parse tool call arguments as JSON: unexpected end of input",
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "json: cannot unmarshal string into Go struct field ChatRequest.messages",
        "invalid character '}' looking for beginning of object key string",
        "Error rendering prompt with jinja template: Cannot call something that is not a function",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Value is not callable: null at row 58, column 111",
    ],
)
async def test_a_500_with_a_parser_error_is_retried_once(server: MockServer, message: str) -> None:
    server.will(refuses(500, {"message": message, "type": "server_error", "code": 500}))

    fault = await fault_of(server)

    assert type(fault) is ModelRejected
    assert str(fault) == f"{server.url} fails on every attempt of this request: HTTP 500: {message}"
    assert len(server.calls) == 2


async def test_a_500_with_a_parser_error_may_be_temporary(server: MockServer) -> None:
    server.will(refuses(500, {"message": "json.exception.parse_error"}), HI)
    model = OpenAIModel(fast_settings(server.url, api="chat"))

    await model.reply(model_request(), RecordingListener())
    await model.close()

    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "message",
    [
        "The server had an error while processing your request. Sorry about that!",
        "Internal Server Error",
        "Failed to parse the response of the upstream provider",
        "An unexpected error occurred",
    ],
)
async def test_a_server_that_fails_on_every_request_is_unavailable(
    server: MockServer, message: str
) -> None:
    server.will(refuses(500, {"message": message}))

    fault = await fault_of(server)

    assert type(fault) is ModelUnavailable
    assert str(fault).endswith(f"in 6 attempts: HTTP 500: {message}")


def fails_on_long_ones(status: int) -> Behaviour:
    """Fail on a request with tools, respond to one without."""

    async def behave(call: Call) -> None:
        await (refuses(status, {"message": "Oops"}) if "tools" in call.body else HI)(call)

    return behave


async def test_a_server_that_fails_on_one_request_rejects_it(server: MockServer) -> None:
    server.will(fails_on_long_ones(500))

    fault = await fault_of(server)

    assert type(fault) is ModelRejected
    assert str(fault) == f"{server.url} fails on every attempt of this request: HTTP 500: Oops"
    assert len(server.calls) == 7
    assert server.calls[-1].body["messages"] == [{"role": "user", "content": "ping"}]
    assert server.calls[-1].body["max_completion_tokens"] == 16
    assert fault.usage is not None


@pytest.mark.parametrize("status", [502, 503, 529])
async def test_an_overloaded_server_rejects_nothing(server: MockServer, status: int) -> None:
    server.will(fails_on_long_ones(status))

    assert type(await fault_of(server)) is ModelUnavailable
    assert len(server.calls) == 6


@pytest.mark.parametrize("status", [400, 405, 406, 410, 411, 413, 414, 415, 418, 422, 431, 451])
async def test_a_permanent_4xx_is_not_retried(server: MockServer, status: int) -> None:
    server.will(refuses(status, {"message": "No"}))

    kind = ModelTooLarge if status == 413 else ModelRejected
    assert type(await fault_of(server)) is kind
    assert len(server.calls) == 1


async def test_the_servers_retry_header_is_respected(server: MockServer) -> None:
    server.will(refuses(400, {"message": "Warming up"}, headers={"x-should-retry": "true"}), HI)
    model = OpenAIModel(fast_settings(server.url, api="chat"))

    await model.reply(model_request(), RecordingListener())
    await model.close()

    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ({"code": 401, "message": "No"}, ModelUnavailable, "OPENAI_API_KEY is refused by"),
        ({"status": 402, "message": "No"}, ModelUnavailable, "has no quota left"),
        ({"code": "404", "message": "no model m"}, ModelUnavailable, "check OPENAI_BASE_URL"),
        ({"code": 422, "message": "No"}, ModelRejected, "refuses the request: No"),
    ],
)
async def test_an_error_in_a_stream_is_classified_by_its_status(
    server: MockServer, error: dict[str, Any], kind: type[ServiceFault], text: str
) -> None:
    server.will(streams([sse({"error": error})]))

    fault = await fault_of(server)

    assert type(fault) is kind
    assert text in str(fault)


# A window that is too small


@pytest.mark.parametrize("status", [400, 413, 422, 500, 200])
@pytest.mark.parametrize(
    ("error", "tokens"),
    [
        ({"code": "context_length_exceeded", "message": "Too long"}, "the size of its window"),
        ({"message": "This model's maximum context length is 8192 tokens. However, your messages "
                     "resulted in 9000 tokens."}, "8192"),
        ({"message": "the request exceeds the available context size (4096 tokens), try "
                     "increasing it", "type": "exceed_context_size_error", "n_ctx": 4096}, "4096"),
        ({"message": "prompt is too long: 208310 tokens > 200000 maximum"}, "200000"),
        ({"message": "The input token count (1200000) exceeds the maximum number of tokens "
                     "allowed (1048576)."}, "1048576"),
        ({"message": "Input is too long for requested model."}, "the size of its window"),
        ({"message": "Your input exceeds the context window of this model. Please adjust."},
         "the size of its window"),
        ({"message": "context length of only 4,096 tokens"}, "4096"),
        # Anthropic, TGI, Moonshot, xAI, Mistral, Zhipu, DashScope, older vLLM
        ({"message": "input length and `max_tokens` exceed context limit: 190000 + 21333 > 204698, "
                     "decrease input length or `max_tokens` and try again"}, "204698"),
        ({"message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
                     "Given: 4000 `inputs` tokens and 200 `max_new_tokens`"}, "4096"),
        ({"message": "Input validation error: `inputs` must have less than 1024 tokens. "
                     "Given: 2000"}, "1024"),
        ({"message": "Invalid request: Your request exceeded model token limit: 8192"}, "8192"),
        ({"message": "This model's maximum prompt length is 131072 but the request contains "
                     "200000 tokens."}, "131072"),
        ({"message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with "
                     "32768 maximum context length"}, "32768"),
        ({"code": "1261", "message": "Prompt exceeds max length"}, "the size of its window"),
        ({"message": "Range of input length should be [1, 30720]"}, "30720"),
        ({"message": "The total number of tokens (input + output) exceeds the model's limit"},
         "the size of its window"),
        ({"message": "max_tokens must be at least 1, got -404."}, "the size of its window"),
    ],
)  # fmt: skip
async def test_a_context_overflow_names_its_setting(
    server: MockServer, status: int, error: dict[str, Any], tokens: str
) -> None:
    server.will(answers(status, json.dumps({"error": error}).encode()))

    fault = await fault_of(server)

    assert type(fault) is ModelTooLarge
    assert str(fault).startswith(
        f"{server.url}: the request exceeds the model's context window; "
        f"set OPENAI_CONTEXT_TOKENS to {tokens}: "
    )
    assert len(server.calls) == 1


async def test_a_too_large_output_limit_names_both_settings(server: MockServer) -> None:
    message = (
        "'max_completion_tokens' is too large: 32000. This model's maximum context length is 8192"
    )
    server.will(refuses(400, {"message": message}))

    fault = await fault_of(server)

    assert "lower OPENAI_MAX_OUTPUT_TOKENS, or set OPENAI_CONTEXT_TOKENS" in str(fault)


async def test_a_limit_on_tokens_per_minute_is_not_a_context_overflow(server: MockServer) -> None:
    message = "Rate limit reached on tokens per min: maximum tokens 30000, too many tokens"
    server.will(refuses(429, {"message": message, "code": "rate_limit_exceeded"}), HI)
    model = OpenAIModel(fast_settings(server.url, api="chat"))

    await model.reply(model_request(), RecordingListener())
    await model.close()

    assert len(server.calls) == 2
