"""The attributes of spans. Few for each span: the encoding of an attribute takes most of its CPU.

What holds for the whole run is in the span of the run alone, except for the names by which backends
find replies and calls.
"""

from collections.abc import Sequence

from twelvefold.core import ModelReplied, RunFinished, RunId, RunStarted, Usage
from twelvefold.observe import gen_ai

Attribute = str | bool | int | float | Sequence[str]
Attributes = dict[str, Attribute]
PROVIDER = "openai"
"""The provider in the spans: all models are called by the OpenAI API."""
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def finish_reason(event: ModelReplied, *, has_calls: bool) -> str:
    """Return why a reply ended, in the words of the conventions."""
    return _FINISH_REASONS.get(event.ended, "tool_calls" if has_calls else "stop")


def reply_attributes(
    run: RunId, started: RunStarted | None, event: ModelReplied | None, finish: str = ""
) -> Attributes:
    """Return the attributes of a reply, or of a request without one."""
    attributes: Attributes = {
        gen_ai.OPERATION_NAME: gen_ai.OPERATION_CHAT,
        gen_ai.PROVIDER_NAME: PROVIDER,
        gen_ai.CONVERSATION_ID: f"conv_{run.thread}",
    }
    if event is None:
        return attributes
    usage = event.usage
    attributes[gen_ai.REQUEST_MODEL] = attributes[gen_ai.RESPONSE_MODEL] = event.model
    attributes[gen_ai.RESPONSE_FINISH_REASONS] = (finish,)
    attributes[gen_ai.USAGE_INPUT_TOKENS] = usage.input_tokens
    attributes[gen_ai.USAGE_OUTPUT_TOKENS] = usage.output_tokens
    if usage.cached_tokens:
        attributes[gen_ai.USAGE_CACHE_READ_INPUT_TOKENS] = usage.cached_tokens
    if usage.reasoning_tokens:
        attributes[gen_ai.USAGE_REASONING_OUTPUT_TOKENS] = usage.reasoning_tokens
    if usage.estimated:
        attributes[gen_ai.USAGE_ESTIMATED] = True
    if started and started.options.stream:
        attributes[gen_ai.REQUEST_STREAM] = True
    if event.attempts:
        attributes[gen_ai.MODEL_ATTEMPTS] = len(event.attempts)
    return attributes


def call_attributes(workflow: str, tool: str, id: str) -> Attributes:
    """Return the attributes of a tool call; `id` is the model's."""
    return {
        gen_ai.OPERATION_NAME: gen_ai.OPERATION_EXECUTE_TOOL,
        gen_ai.AGENT_NAME: workflow,
        gen_ai.TOOL_NAME: tool,
        gen_ai.TOOL_TYPE: "function",
        gen_ai.TOOL_CALL_ID: id,
    }


def wait_attributes(kind: str, end: str) -> Attributes:
    """Return the attributes of a wait; `end` is what ended it."""
    attributes: Attributes = {
        gen_ai.OPERATION_NAME: gen_ai.OPERATION_WAIT,
        gen_ai.WAIT_KIND: kind,
    }
    if end:
        attributes[gen_ai.WAIT_END] = end
    return attributes


def run_attributes(
    run: RunId, started: RunStarted | None, event: RunFinished, usage: Usage
) -> Attributes:
    """Return the attributes of a whole run."""
    return {
        gen_ai.OPERATION_NAME: gen_ai.OPERATION_INVOKE_AGENT,
        gen_ai.AGENT_NAME: started.workflow if started else "",
        gen_ai.AGENT_VERSION: started.release if started else "",
        gen_ai.CONVERSATION_ID: f"conv_{run.thread}",
        gen_ai.USAGE_INPUT_TOKENS: usage.input_tokens,
        gen_ai.USAGE_OUTPUT_TOKENS: usage.output_tokens,
        gen_ai.RUN_ID: str(run),
        gen_ai.RUN_STATUS: event.status,
    }
