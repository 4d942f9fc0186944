"""The body of `POST /v1/responses`, and the turn that it requests.

Source: the request body of `POST /responses` of the OpenAI API. A parameter is used, refused or
unknown: none that would change the result is ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from twelvefold.core import DEFAULT_OPTIONS, IdempotentRequest, Item, RequestOptions, Workflow
from twelvefold.web.http import abbreviate, raise_invalid
from twelvefold.web.schemas.decode import (
    InvalidValue,
    RequestObject,
    decode,
    hops_of,
    parse_idempotency_key,
    tool_items_of,
)
from twelvefold.web.schemas.items import (
    Choices,
    FunctionTool,
    InputItem,
    is_answer,
    own_items,
    reject_unaccepted,
)
from twelvefold.web.schemas.named_models import chosen_model, workflow_of
from twelvefold.web.schemas.types import (
    PASSED,
    RETURNED,
    STREAM,
    TOOL_CHOICE,
    UNUSED,
    Id,
    Metadata,
    ModelName,
    Temperature,
    Text64,
    Text512,
    Tokens,
    ToolName,
    TopP,
    Verbosity,
)

_ECHOED = ("user", "safety_identifier", "prompt_cache_key", "truncation", "top_logprobs")
_PASSED = (
    *("instructions", "parallel_tool_calls", "max_tool_calls", "max_output_tokens", "tool_choice"),
    *("temperature", "top_p", "text", "reasoning", "metadata", "stream", "store"),
)


# --- the body -------------------------------------------------------------------------------------


class StreamOptions(RequestObject):
    include_obfuscation: bool | None = None


class ConversationReference(RequestObject):
    id: Id


class Reasoning(RequestObject):
    effort: Text64 | None = None
    summary: Text64 | None = None
    generate_summary: Text64 | None = None


class _PlainFormat(RequestObject):
    @classmethod
    def check_unknown(cls, key: str, value: object) -> None:
        raise InvalidValue(
            f"must be json_schema where there is {key}", "type", code="unsupported_value"
        )


class PlainText(_PlainFormat, tag="text"):
    """Any text."""


class JsonObject(_PlainFormat, tag="json_object"):
    """Any JSON object."""


class JsonSchema(RequestObject, tag="json_schema", kw_only=True):
    """JSON that fits a schema."""

    name: ToolName
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextOptions(RequestObject):
    format: PlainText | JsonObject | JsonSchema | None = None
    verbosity: Verbosity | None = None


class FunctionChoice(RequestObject, tag="function"):
    name: str


class AllowedTool(RequestObject):
    type: Literal["function"]
    name: str


class AllowedTools(RequestObject, tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


ToolChoice = Literal["none", "auto", "required"] | FunctionChoice | AllowedTools
_INSTRUCTIONS = Meta(description="Appended to those of the workflow, for this turn alone.")
_PREVIOUS = Meta(description="The response to continue from. Excludes `conversation`.")
_BACKGROUND = Meta(description="Answer immediately; a worker drives the run.")
_STORE = Meta(description="False: the response cannot be read later.")


class CreateResponse(RequestObject, kw_only=True):
    """A turn of a workflow."""

    UNSUPPORTED = dict.fromkeys(("prompt", "moderation", "context_management"), ())

    model: ModelName
    input: str | Annotated[list[InputItem], Meta(min_length=1)]
    instructions: Annotated[str, _INSTRUCTIONS] | None = None
    previous_response_id: Annotated[Id, _PREVIOUS] | None = None
    conversation: Id | ConversationReference | None = None
    background: Annotated[bool, _BACKGROUND] | None = None
    store: Annotated[bool, _STORE] | None = None
    stream: Annotated[bool, STREAM] | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=128)] | None = None
    tool_choice: Annotated[ToolChoice, TOOL_CHOICE] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Tokens | None = None
    max_output_tokens: Annotated[int, Meta(ge=16, le=2**31 - 1)] | None = None
    temperature: Annotated[Temperature, PASSED] | None = None
    top_p: Annotated[TopP, PASSED] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20), RETURNED] | None = None
    text: Annotated[TextOptions, PASSED] | None = None
    reasoning: Annotated[Reasoning, PASSED] | None = None
    metadata: Metadata | None = None
    include: Annotated[list[str], Meta(max_length=100), UNUSED] | None = None
    truncation: Annotated[Literal["auto", "disabled"], RETURNED] | None = None
    service_tier: Annotated[Text64, UNUSED] | None = None
    user: Annotated[Text512, RETURNED] | None = None
    safety_identifier: Annotated[Text64, RETURNED] | None = None
    prompt_cache_key: Annotated[Text512, RETURNED] | None = None
    prompt_cache_retention: Annotated[str, UNUSED] | None = None
    prompt_cache_options: Annotated[dict[str, Any], UNUSED] | None = None


# --- the turn -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A requested turn. `items` may still contain references to other items.

    `items_at` is the parameter of the items. `given` has the names of the body's parameters,
    null ones included: an answer to an approval changes those options alone. `allowed_tools` are
    those that the API key allows; None: all. `priority` is that of the key. `trace` is the header
    `traceparent`.
    """

    workflow: Workflow
    items: tuple[Item, ...]
    options: RequestOptions
    stream: bool = False
    background: bool = False
    previous: str = ""
    conversation: str = ""
    key: IdempotentRequest | None = None
    items_at: str = "input"
    given: frozenset[str] = field(default=frozenset(), compare=False)
    allowed_tools: tuple[str, ...] | None = None
    priority: int = 0
    trace: str = ""


AcceptedInputs = Callable[[str, str], Choices]
"""Returns the inputs that each model of a run takes, by workflow and the model that was chosen."""


def text_alone(_workflow: str, _model: str) -> Choices:
    """Return the inputs of one model that takes neither images nor files."""
    return (frozenset(),)


def parse_turn(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    workflows: Mapping[str, Workflow],
    accepted: AcceptedInputs = text_alone,
) -> TurnRequest:
    """Return the turn that a body requests. Raises ApiError for the first invalid parameter."""
    created = decode(body, CreateResponse)
    given: dict[str, Any] = msgspec.to_builtins(created)
    items = _items(given["input"])
    workflow = workflow_of(created.model, workflows)
    _check_together(created)
    chosen = chosen_model(created.model, workflows)
    options = _options(given, items, workflow, headers, chosen)
    choices = accepted(workflow.name, options.model)
    reject_unaccepted(items, choices, [f"input[{n}]" for n in range(len(items))])
    return TurnRequest(
        workflow,
        tuple(own_items(items)),
        options,
        bool(created.stream),
        bool(created.background),
        created.previous_response_id or "",
        _conversation(created.conversation),
        parse_idempotency_key(headers, "responses", body),
        given=frozenset(body),
        trace=headers.get("traceparent", ""),
    )


def check_names(tools: Sequence[Item], workflow: Workflow, param: str) -> None:
    """Raise ApiError for a name that is taken; `param` is the place of a name by its index."""
    names: set[str] = set()
    for index, tool in enumerate(tools):
        name, at = tool["name"], param.format(index)
        if name in workflow.by_name:
            raise_invalid(f"{name!r} is a tool of the server's own; give yours another name", at)
        if name in names:
            raise_invalid(f"{name!r} is there twice", at)
        names.add(name)


def check_choice(
    choice: str | Item | None,
    tools: Sequence[Item],
    workflow: Workflow,
    at: tuple[str, str] = ("tool_choice.name", "tool_choice.tools[{}].name"),
) -> None:
    """Raise ApiError for the choice of a tool that neither the caller nor the server has.

    `at`: the places of one tool's name, and of an allowed tool's name by its index.
    """
    if not isinstance(choice, dict):
        return
    known = {tool["name"] for tool in tools} | set(workflow.by_name)
    chosen = [(choice["name"], at[0])] if choice["type"] == "function" else []
    chosen += [
        (tool["name"], at[1].format(index)) for index, tool in enumerate(choice.get("tools", ()))
    ]
    for name, place in chosen:
        if name not in known:
            raise_invalid(f"there is no tool {abbreviate(name)}", place)


def check_format(text: Item | None, workflow: Workflow, param: str) -> None:
    """Raise ApiError for a format of the answer that is not the one of the workflow's output.

    Plain text, the default, means that of the workflow. `param` is the place of the format.
    """
    form, output = (text or {}).get("format") or {}, workflow.output_type
    if output is None or form.get("type", "text") == "text":
        return
    if form["type"] != "json_schema" or not output.has_schema(form["schema"]):
        raise_invalid(
            f"{workflow.name!r} answers with the type {output.name!r}; leave the format out, or "
            "send the JSON Schema of this type",
            param,
        )


def _conversation(given: str | ConversationReference | None) -> str:
    return given.id if isinstance(given, ConversationReference) else given or ""


def _items(given: str | list[Item]) -> tuple[Item, ...]:
    if isinstance(given, str):
        return ({"type": "message", "role": "user", "content": given},)
    return tuple(given)


def _check_together(body: CreateResponse) -> None:
    """Raise ApiError for parameters that exclude or need each other."""
    if body.previous_response_id is not None and body.conversation is not None:
        message = "excludes conversation; give one of the two"
        raise_invalid(message, "previous_response_id", "mutually_exclusive_parameters")
    if body.background and body.store is False:
        raise_invalid("needs store to be true", "background", "unsupported_value")
    if body.stream_options is not None and not body.stream:
        raise_invalid("is for streams alone", "stream_options")


def _options(
    given: Mapping[str, Any],
    items: Sequence[Item],
    workflow: Workflow,
    headers: Mapping[str, str],
    model: str,
) -> RequestOptions:
    """Return the options of a body; `given`: its members that are not null, as plain objects.

    `model` is the model that the caller chose.
    """
    tools = tuple(given.get("tools", ()))
    check_names(tools, workflow, "tools[{}].name")
    if "tools" in given or not any(map(is_answer, items)):
        # The tools of an answer without any are those of the run that it answers.
        check_choice(given.get("tool_choice"), tools, workflow)
    check_format(given.get("text"), workflow, "text.format")
    options = RequestOptions(
        **{name: given[name] for name in _PASSED if name in given},
        tools=tools,
        echo={name: given[name] for name in _ECHOED if name in given},
        conversation="conversation" in given,
        previous=given.get("previous_response_id", ""),
        hops=hops_of(headers),
        tool_items=tool_items_of(headers),
        model=model,
    )
    return DEFAULT_OPTIONS if options == DEFAULT_OPTIONS else options
