"""The names of the GenAI conventions, v0.1.0: a change here changes what dashboards find."""

from twelvefold.observe import gen_ai

ATTRIBUTES = {
    *("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.conversation.id"),
    *("gen_ai.agent.name", "gen_ai.agent.version"),
    *("gen_ai.request.model", "gen_ai.request.stream", "gen_ai.request.max_tokens"),
    *("gen_ai.request.temperature", "gen_ai.request.top_p"),
    *("gen_ai.response.model", "gen_ai.response.finish_reasons"),
    "gen_ai.response.time_to_first_chunk",
    *("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.reasoning.output_tokens"),
    *("gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.call.id"),
    *("error.type", "server.address", "server.port"),
}
CONTENT = {
    *("gen_ai.input.messages", "gen_ai.output.messages"),
    *("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
}
METRICS = {
    "gen_ai.client.inference.duration",
    "gen_ai.client.inference.time_to_first_chunk",
    "gen_ai.client.inference.time_per_output_chunk",
    "gen_ai.client.inference.usage.input_tokens",
    "gen_ai.client.inference.usage.output_tokens",
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "gen_ai.client.inference.usage.reasoning.output_tokens",
    "gen_ai.client.inference.operation.input_tokens",
    "gen_ai.client.inference.operation.output_tokens",
    "gen_ai.invoke_agent.duration",
    "gen_ai.invoke_agent.inference_calls",
    "gen_ai.invoke_agent.tool_calls",
    "gen_ai.execute_tool.duration",
}
BUCKETS_S = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]


def test_the_names_are_those_of_the_conventions() -> None:
    names = {name: value for name, value in vars(gen_ai).items() if name.isupper()}
    texts = {name: value for name, value in names.items() if isinstance(value, str)}
    standard = {
        value for value in texts.values() if value.startswith(("gen_ai.", "error.", "server."))
    }

    assert standard == ATTRIBUTES | CONTENT | METRICS
    assert {v for name, v in texts.items() if name.startswith("METRIC_")} == METRICS
    assert {v for name, v in texts.items() if name.startswith("UNIT_")} == {
        *("s", "{token}", "{inference_call}", "{tool_call}")
    }
    assert {v for name, v in texts.items() if name.startswith("OPERATION_") and "." not in v} == {
        *("invoke_agent", "chat", "execute_tool", "wait")
    }
    assert gen_ai.CAPTURE_CONTENT == "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def test_the_buckets_are_those_of_the_conventions() -> None:
    assert list(gen_ai.DURATION_BUCKETS_S) == BUCKETS_S
    assert list(gen_ai.TOKEN_BUCKETS[:4]) == [1, 4, 16, 64]
    assert gen_ai.TOKEN_BUCKETS[-1] == 67_108_864
