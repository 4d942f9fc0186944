"""What `POST /v1/chat/completions` may ask for, as a turn of the newer API.

Source: the request body of `POST /chat/completions` of the OpenAI API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twelvefold.core.events import Item, RequestOptions
from twelvefold.core.workflow import Workflow
from twelvefold.web.http.errors import abbreviate, raise_invalid
from twelvefold.web.schemas.chat_messages import items_of_messages, messages_of
from twelvefold.web.schemas.items import TOOL_NAME, function_of
from twelvefold.web.schemas.responses import (
    Request,
    check_names,
    hops_of,
    idempotent,
    known_tool,
    workflow_of,
)
from twelvefold.web.schemas.validators import (
    Check,
    an_object,
    anything,
    flag,
    list_of,
    members,
    metadata,
    number,
    one_of,
    record,
    short,
    text,
    unless,
    whole,
)

LEAST_TOKENS = 16
"""Fewer are refused by models' servers; a client that wants fewer gets these."""
_SCHEMA = record(
    {"name": TOOL_NAME, "schema": an_object, "description": text, "strict": flag}, "name", "schema"
)


def _format(value: Any, at: str) -> Item:
    given = an_object(value, at)
    kind = given.pop("type", None)
    if kind in ("text", "json_object"):
        return {"type": kind}
    if kind != "json_schema":
        message = f"must be text, json_schema or json_object, not {abbreviate(kind)}"
        raise_invalid(message, f"{at}.type", "unsupported_value")
    schema = members(given, {"json_schema": _SCHEMA}, ("json_schema",), f"{at}.")["json_schema"]
    return {"type": "json_schema", **schema}


def _tool(value: Any, at: str) -> Item:
    given = an_object(value, at)
    kind = given.pop("type", None)
    if kind is None:
        raise_invalid("is missing", f"{at}.type", "missing_required_parameter")
    if kind != "function":
        raise_invalid(
            f"{abbreviate(kind)} is not supported here", f"{at}.type", "unsupported_value"
        )
    tool: Item = members(given, {"function": function_of}, ("function",), f"{at}.")["function"]
    return tool


def _sequence(value: Any, at: str) -> str:
    if not text(value, at):
        raise_invalid("must have a character at least", at)
    return str(value)


def _stop(value: Any, at: str) -> tuple[str, ...]:
    if type(value) is str:
        return (_sequence(value, at),)
    return tuple(list_of(_sequence, most=4)(value, at))


PARAMETERS: Mapping[str, Check] = {
    "model": text,
    "messages": messages_of,
    "stream": flag,
    "stream_options": record({"include_usage": flag, "include_obfuscation": flag}),
    "max_tokens": whole(1, 2**31 - 1),
    "max_completion_tokens": whole(1, 2**31 - 1),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "n": whole(1, 1),
    "stop": _stop,
    "tools": list_of(_tool, most=128),
    "tool_choice": anything,  # it names tools, so it is checked once they are known
    "parallel_tool_calls": flag,
    "response_format": _format,
    "reasoning_effort": short(64),
    "verbosity": one_of("low", "medium", "high"),
    "metadata": metadata,
    "user": short(512),
    # What changes nothing here.
    "store": flag,
    "seed": whole(-(2**63), 2**64),
    "service_tier": short(64),
    "safety_identifier": short(64),
    "prompt_cache_key": short(512),
    "prompt_cache_retention": text,
    # What would change something, and cannot be had.
    "presence_penalty": unless(0, 0.0),
    "frequency_penalty": unless(0, 0.0),
    "logit_bias": unless({}),
    "logprobs": unless(False),
    "top_logprobs": unless(0),
    "functions": unless([]),
    "function_call": unless("auto", "none"),
    "modalities": unless(["text"]),
    "audio": unless(),
    "prediction": unless(),
    "web_search_options": unless(),
    "moderation": unless(),
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A turn, and whether its stream ends with the usage."""

    turn: Request
    with_usage: bool


def parse_chat(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    workflows: Mapping[str, Workflow],
    *,
    images: bool = False,
) -> ChatRequest:
    """What a body asks for; `images`: the model is sent images. Raises ApiError."""
    given = members(body, PARAMETERS, ("model", "messages"))
    workflow = workflow_of(given["model"], workflows)
    stream = given.get("stream", False)
    if "stream_options" in given and not stream:
        raise_invalid("is for streams alone", "stream_options")
    turn = Request(
        workflow,
        items_of_messages(given["messages"], images=images),
        _asked(given, workflow, hops_of(headers)),
        stream,
        key=idempotent(headers, "chat/completions", body),
        items_at="messages",
    )
    return ChatRequest(turn, given.get("stream_options", {}).get("include_usage", False))


def _asked(given: Mapping[str, Any], workflow: Workflow, hops: int) -> RequestOptions:
    most = given.get("max_completion_tokens", given.get("max_tokens"))
    form, verbosity = given.get("response_format"), given.get("verbosity")
    said = ({"format": form} if form else {}) | ({"verbosity": verbosity} if verbosity else {})
    effort = given.get("reasoning_effort")
    tools = tuple(given.get("tools", ()))
    check_names(tools, workflow, "tools[{}].function.name")
    own = {tool["name"] for tool in tools}
    choice = given.get("tool_choice")
    if choice is not None:
        choice = _choice(choice, own | set(workflow.by_name))
    return RequestOptions(
        tools=tools,
        tool_choice=choice,
        choice_holds=_demands(choice, own),
        parallel_tool_calls=given.get("parallel_tool_calls"),
        max_output_tokens=None if most is None else max(most, LEAST_TOKENS),
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        text=said or None,
        reasoning={"effort": effort} if effort else None,
        metadata=given.get("metadata", {}),
        stream=given.get("stream", False),
        store=False,
        hops=hops,
        # Whatever is called in an answer of this API is the caller's to run.
        tool_items="hidden",
        stop=given.get("stop", ()),
    )


def _choice(value: Any, names: set[str]) -> str | Item:
    at = "tool_choice"
    if type(value) is str:
        return str(one_of("none", "auto", "required")(value, at))
    given = an_object(value, at)
    kind = given.pop("type", None)
    function = record({"name": known_tool(names)}, "name")
    if kind == "function":
        named = record({"function": function}, "function")(given, at)["function"]
        return {"type": kind, **named}
    if kind != "allowed_tools":
        raise_invalid(
            f"{abbreviate(kind)} is not supported here", f"{at}.type", "unsupported_value"
        )
    tool = record({"type": one_of("function"), "function": function}, "type", "function")
    allowed = record({"mode": one_of("auto", "required"), "tools": list_of(tool)}, "mode", "tools")
    chosen = record({"allowed_tools": allowed}, "allowed_tools")(given, at)["allowed_tools"]
    tools = [{"type": "function", **one["function"]} for one in chosen["tools"]]
    return {"type": kind, "mode": chosen["mode"], "tools": tools}


def _demands(choice: str | Item | None, own: set[str]) -> bool:
    """Whether the answer has to have a call of one of the caller's own tools.

    It sees no others: a call of the server's is not the one that it waits for.
    """
    if choice == "required":
        return bool(own)
    if not isinstance(choice, dict) or choice.get("mode") != "required":
        return False
    return any(tool["name"] in own for tool in choice["tools"])
