"""The body of `POST /v1/chat/completions`, and the turn that it requests.

Source: the request body of `POST /chat/completions` of the OpenAI API.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from twelvefold.core import Item, RequestOptions, Workflow
from twelvefold.web.http import raise_invalid
from twelvefold.web.schemas.chat_messages import ChatMessage, items_of, reject_functions
from twelvefold.web.schemas.decode import decode, hops_of, parse_idempotency_key
from twelvefold.web.schemas.items import Function
from twelvefold.web.schemas.turns import (
    AcceptedInputs,
    TurnRequest,
    check_choice,
    check_format,
    check_names,
    chosen_model,
    text_alone,
    workflow_of,
)
from twelvefold.web.schemas.types import (
    PASSED,
    STREAM,
    TOOL_CHOICE,
    UNUSED,
    InvalidValue,
    Metadata,
    ModelName,
    OpenObject,
    RequestObject,
    Temperature,
    Text64,
    Text512,
    Tokens,
    ToolName,
    TopP,
    Verbosity,
)

MIN_TOKENS = 16
"""The least that models' servers accept; a client that wants fewer gets these."""
_CHOSEN = ("tool_choice.function.name", "tool_choice.allowed_tools.tools[{}].function.name")


# --- the body -------------------------------------------------------------------------------------


class ChatStreamOptions(RequestObject):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatPlainText(OpenObject, tag="text"):
    """Any text."""


class ChatJsonObject(OpenObject, tag="json_object"):
    """Any JSON object."""


class ChatSchema(RequestObject):
    name: ToolName
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class ChatJsonSchema(RequestObject, tag="json_schema"):
    """JSON that fits a schema."""

    json_schema: ChatSchema


class ChatTool(RequestObject, tag="function"):
    """A function that the caller runs; no tool of the server has its name."""

    MISSING_TAG = "missing_required_parameter"

    function: Function


class ChatFunctionName(RequestObject):
    name: str


class ChatFunctionChoice(RequestObject, tag="function"):
    function: ChatFunctionName


class ChatAllowedTool(RequestObject):
    type: Literal["function"]
    function: ChatFunctionName


class ChatAllowedList(RequestObject):
    mode: Literal["auto", "required"]
    tools: list[ChatAllowedTool]


class ChatAllowedTools(RequestObject, tag="allowed_tools"):
    allowed_tools: ChatAllowedList


ResponseFormat = ChatPlainText | ChatJsonObject | ChatJsonSchema
ChatToolChoice = Literal["none", "auto", "required"] | ChatFunctionChoice | ChatAllowedTools
StopSequence = Annotated[str, Meta(min_length=1)]
StopSequences = StopSequence | Annotated[list[StopSequence], Meta(max_length=4)]
Seed = Annotated[int, Meta(ge=-(2**63), extra_json_schema={"maximum": 2**64})]
_STOP = Meta(description="The answer ends before the first of them, in a stream too.")
_MAX_TOKENS = Meta(description=f"Passed to the model; at least {MIN_TOKENS}.")


class CreateChatCompletion(RequestObject, kw_only=True):
    """A turn of a workflow whose conversation the caller keeps."""

    UNSUPPORTED: ClassVar = {
        "presence_penalty": (0, 0.0),
        "frequency_penalty": (0, 0.0),
        "logit_bias": ({},),
        "logprobs": (False,),
        "top_logprobs": (0,),
        "functions": ([],),
        "function_call": ("auto", "none"),
        "modalities": (["text"],),
        "audio": (),
        "prediction": (),
        "web_search_options": (),
        "moderation": (),
    }

    model: ModelName
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: Annotated[bool, STREAM] | None = None
    stream_options: ChatStreamOptions | None = None
    max_tokens: Annotated[Tokens, _MAX_TOKENS] | None = None
    max_completion_tokens: Annotated[Tokens, _MAX_TOKENS] | None = None
    temperature: Annotated[Temperature, PASSED] | None = None
    top_p: Annotated[TopP, PASSED] | None = None
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    stop: Annotated[StopSequences, _STOP] | None = None
    tools: Annotated[list[ChatTool], Meta(max_length=128)] | None = None
    tool_choice: Annotated[ChatToolChoice, TOOL_CHOICE] | None = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[ResponseFormat, PASSED] | None = None
    reasoning_effort: Annotated[Text64, PASSED] | None = None
    verbosity: Annotated[Verbosity, PASSED] | None = None
    metadata: Metadata | None = None
    user: Annotated[Text512, UNUSED] | None = None
    store: Annotated[bool, UNUSED] | None = None
    seed: Annotated[Seed, UNUSED] | None = None
    service_tier: Annotated[Text64, UNUSED] | None = None
    safety_identifier: Annotated[Text64, UNUSED] | None = None
    prompt_cache_key: Annotated[Text512, UNUSED] | None = None
    prompt_cache_retention: Annotated[str, UNUSED] | None = None

    def __post_init__(self) -> None:
        # msgspec's limits are integers of 64 bits.
        if self.seed is not None and self.seed > 2**64:
            raise InvalidValue(f"must be at most {2**64}", "seed", code="integer_above_max_value")


# --- the turn -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A turn, and whether its stream ends with the usage."""

    turn: TurnRequest
    with_usage: bool


def parse_chat(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    workflows: Mapping[str, Workflow],
    accepted: AcceptedInputs = text_alone,
) -> ChatRequest:
    """Return the turn that a body requests. Raises ApiError."""
    reject_functions(body.get("messages"))
    created = decode(body, CreateChatCompletion)
    workflow = workflow_of(created.model, workflows)
    stream = bool(created.stream)
    if created.stream_options is not None and not stream:
        raise_invalid("is for streams alone", "stream_options")
    chosen = chosen_model(created.model, workflows)
    options = _options(created, workflow, hops_of(headers), chosen)
    turn = TurnRequest(
        workflow,
        items_of(created.messages, accepted(workflow.name, options.model)),
        options,
        stream,
        key=parse_idempotency_key(headers, "chat/completions", body),
        items_at="messages",
        trace=headers.get("traceparent", ""),
    )
    with_usage = created.stream_options is not None and bool(created.stream_options.include_usage)
    return ChatRequest(turn, with_usage)


def _options(
    body: CreateChatCompletion, workflow: Workflow, hops: int, model: str
) -> RequestOptions:
    tools = tuple(_tool(tool) for tool in body.tools or ())
    check_names(tools, workflow, "tools[{}].function.name")
    choice = _choice(body.tool_choice)
    check_choice(choice, tools, workflow, _CHOSEN)
    check_format(_text(body), workflow, "response_format")
    if body.stop and workflow.output_type is not None:
        raise_invalid(f"{workflow.name!r} has a typed output, which must not be cut", "stop")
    return RequestOptions(
        tools=tools,
        tool_choice=choice,
        choice_holds=_demands(choice, {tool["name"] for tool in tools}),
        parallel_tool_calls=body.parallel_tool_calls,
        max_output_tokens=_max_tokens(body),
        temperature=body.temperature,
        top_p=body.top_p,
        text=_text(body) or None,
        reasoning={"effort": body.reasoning_effort} if body.reasoning_effort else None,
        metadata=body.metadata or {},
        stream=bool(body.stream),
        store=False,
        hops=hops,
        # Every call in an answer of this API is the caller's to run.
        tool_items="hidden",
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        model=model,
    )


def _tool(tool: ChatTool) -> Item:
    return {"type": "function", **msgspec.to_builtins(tool.function)}


def _choice(choice: ChatToolChoice | None) -> str | Item | None:
    match choice:
        case ChatFunctionChoice(function=function):
            return {"type": "function", "name": function.name}
        case ChatAllowedTools(allowed_tools=allowed):
            tools = [{"type": "function", "name": tool.function.name} for tool in allowed.tools]
            return {"type": "allowed_tools", "mode": allowed.mode, "tools": tools}
        case _:
            return choice


def _demands(choice: str | Item | None, names: Collection[str]) -> bool:
    """Return whether the answer must contain a call of one of the caller's own tools.

    The answer shows no other calls, so a call of the server's cannot meet the demand.
    """
    if choice == "required":
        return bool(names)
    if not isinstance(choice, dict) or choice.get("mode") != "required":
        return False
    return any(tool["name"] in names for tool in choice["tools"])


def _max_tokens(body: CreateChatCompletion) -> int | None:
    wanted = body.max_completion_tokens or body.max_tokens
    return None if wanted is None else max(wanted, MIN_TOKENS)


def _text(body: CreateChatCompletion) -> Item:
    text: Item = {}
    if isinstance(body.response_format, ChatJsonSchema):
        schema = msgspec.to_builtins(body.response_format.json_schema)
        text["format"] = {"type": "json_schema", **schema}
    elif body.response_format is not None:
        text["format"] = msgspec.to_builtins(body.response_format)
    return text | ({"verbosity": body.verbosity} if body.verbosity else {})
