"""The turn that a request asks for, with its names, tools and options checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from twelvefold.core import (
    DEFAULT_OPTIONS,
    IdempotentRequest,
    Item,
    RequestOptions,
    Workflow,
    find_unaccepted,
)
from twelvefold.web.http import ApiError, Caller, abbreviate, raise_invalid
from twelvefold.web.schemas.decode import decode, hops_of, parse_idempotency_key, tool_items_of
from twelvefold.web.schemas.items import ANSWER, QUESTION, RESULT, Choices, InputItem
from twelvefold.web.schemas.responses import ConversationReference, CreateResponse

_ECHOED = ("user", "safety_identifier", "prompt_cache_key", "truncation", "top_logprobs")
_PASSED = (
    *("instructions", "parallel_tool_calls", "max_tool_calls", "max_output_tokens", "tool_choice"),
    *("temperature", "top_p", "text", "reasoning", "metadata", "stream", "store"),
)
AcceptedInputs = Callable[[str, str], Choices]
"""Returns the inputs that each model of a run takes, by workflow and the model that was chosen."""


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

    def for_caller(self, caller: Caller) -> "TurnRequest":
        """Return the turn with the tools that the caller's key allows, and the key's priority."""
        return replace(self, allowed_tools=caller.tools, priority=caller.priority)


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


def workflow_of(name: str, workflows: Mapping[str, Workflow]) -> Workflow:
    """Return the workflow that a model's name stands for. Raises ApiError."""
    return _workflow_and_model(name, workflows)[0]


def chosen_model(name: str, workflows: Mapping[str, Workflow]) -> str:
    """Return the model that a name chooses, "" for that of the workflow. Raises ApiError."""
    return _workflow_and_model(name, workflows)[1]


def _workflow_and_model(name: str, workflows: Mapping[str, Workflow]) -> tuple[Workflow, str]:
    if workflow := workflows.get(name):
        return workflow, ""
    # Neither name has a slash.
    workflow_name, _, model = name.rpartition("/")
    if (workflow := workflows.get(workflow_name)) and model in workflow.models:
        return workflow, model
    known = ", ".join(model_names(workflows))
    message = f"there is no model {abbreviate(name)}; there are: {known}"
    raise ApiError(404, message, code="model_not_found", param="model")


def model_names(workflows: Mapping[str, Workflow]) -> list[str]:
    """Return the names that `model` may have: each workflow, and its models for callers."""
    return [
        name
        for workflow in workflows.values()
        for name in (workflow.name, *(f"{workflow.name}/{model}" for model in workflow.models))
    ]


def own_items(items: Sequence[Item]) -> list[Item]:
    """Return the items without those of runs below a response, which CHILD_ITEMS=nested shows."""
    return [item for item in items if "parent" not in item]


def reject_unaccepted(items: Sequence[Item], choices: Choices, places: Sequence[str]) -> None:
    """Raise ApiError for images and files that none of the models takes.

    `places` has the parameter of each item.
    """
    if problem := find_unaccepted(items, choices):
        raise_invalid(problem.message, f"{places[problem.index]}.{problem.at}", problem.code)


def is_answer(item: Item) -> bool:
    """Return whether an item answers a call that waits: an approval, or a tool's question."""
    return item["type"] == ANSWER or (
        item["type"] == RESULT and str(item["call_id"]).startswith(QUESTION)
    )


def plain_items(items: Sequence[InputItem]) -> list[Item]:
    """Return items as the journal keeps them, without members that are null."""
    plain: list[Item] = msgspec.to_builtins(items)
    return own_items(plain)


def answered_id(item: Item) -> str:
    """Return the id of the item that an answer is for."""
    return str(item["approval_request_id"] if item["type"] == ANSWER else item["call_id"])
