"""What `POST /v1/responses` may ask for: a body, read whole and checked before anything is done.

Source: the request body of `POST /responses` of the OpenAI API. Every parameter is taken, refused
by name, or not known; none is passed over in silence that would change what is done.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import msgspec
from starlette.requests import Request as HTTPRequest

from twelvefold.core.events import DEFAULT_OPTIONS, Item, RequestOptions
from twelvefold.core.ports import IdempotentRequest
from twelvefold.core.workflow import Workflow
from twelvefold.web.http.body_limit import parse_json
from twelvefold.web.http.errors import ApiError, abbreviate, raise_invalid
from twelvefold.web.schemas.items import ANSWER, TOOL_NAME, items_of, refuse_images, tool_of
from twelvefold.web.schemas.types import ToolItems
from twelvefold.web.schemas.validators import (
    Check,
    an_object,
    anything,
    flag,
    list_of,
    matching,
    members,
    metadata,
    number,
    one_of,
    record,
    short,
    text,
    unsupported,
    whole,
)

HOPS = "x-twelvefold-hops"
TOOL_ITEMS = "Twelvefold-Tool-Items"
MOST_HOPS = 5
"""Instances that may stand before one another; a circle of them would never end."""
_HOPS = re.compile(r"[0-9]{1,3}")
_KEY = re.compile(r"[!-~]{1,255}")
_WORD = short(64)
_ID = matching(r"(?s).+", "an id")

_REASONING = record({"effort": _WORD, "summary": _WORD, "generate_summary": _WORD})


def _format(value: Any, at: str) -> Item:
    given = an_object(value, at)
    kind = given.pop("type", None)
    if kind in ("text", "json_object") and not given:
        return {"type": kind}
    if kind != "json_schema":
        message = f"must be text, json_schema or json_object, not {abbreviate(kind)}"
        raise_invalid(message, f"{at}.type", "unsupported_value")
    fields = {"name": TOOL_NAME, "schema": an_object, "description": text, "strict": flag}
    return {"type": "json_schema", **members(given, fields, ("name", "schema"), f"{at}.")}


def _conversation(value: Any, at: str) -> str:
    if type(value) is str:
        return str(_ID(value, at))
    return str(record({"id": _ID}, "id")(value, at)["id"])


PARAMETERS: Mapping[str, Check] = {
    "model": text,
    "input": items_of,
    "instructions": text,
    "previous_response_id": _ID,
    "conversation": _conversation,
    "background": flag,
    "store": flag,
    "stream": flag,
    "stream_options": record({"include_obfuscation": flag}),
    "tools": list_of(tool_of, most=128),
    "tool_choice": anything,  # it names tools, so it is checked once they are known
    "parallel_tool_calls": flag,
    "max_tool_calls": whole(1, 2**31 - 1),
    "max_output_tokens": whole(16, 2**31 - 1),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_logprobs": whole(0, 20),
    "text": record({"format": _format, "verbosity": one_of("low", "medium", "high")}),
    "reasoning": _REASONING,
    "metadata": metadata,
    "include": list_of(text, most=100),
    "truncation": one_of("auto", "disabled"),
    "service_tier": _WORD,
    "user": short(512),
    "safety_identifier": short(64),
    "prompt_cache_key": short(512),
    "prompt_cache_retention": text,
    "prompt_cache_options": an_object,
    "prompt": unsupported,
    "moderation": unsupported,
    "context_management": unsupported,
}
_ECHOED = ("user", "safety_identifier", "prompt_cache_key", "truncation", "top_logprobs")
_PASSED = (
    *("instructions", "parallel_tool_calls", "max_tool_calls", "max_output_tokens"),
    *("temperature", "top_p", "text", "reasoning", "metadata", "stream", "store"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A turn that a caller asks for. `items` may still hold references to other items.

    `items_at` is the parameter that they came in. `given` has the names of the body's parameters,
    null ones included: an answer to an approval changes those options alone.
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


async def json_body(request: HTTPRequest, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The object that the body is. Raises ApiError where it is none."""
    # Not `body()`, which would keep the bytes as long as the request is answered.
    body = b"".join([piece async for piece in request.stream()])
    if may_be_empty and not body.strip():
        return {}
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (
        media.startswith("application/") and media.endswith("+json")
    ):
        message = "the body must be JSON, with the header `Content-Type: application/json`"
        raise ApiError(415, message, code="unsupported_media_type")
    value = parse_json(body)
    if type(value) is not dict:
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return value


def parse(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    workflows: Mapping[str, Workflow],
    *,
    images: bool = False,
) -> Request:
    """What a body asks for; `images`: the model is sent images.

    Raises ApiError for the first thing in it that is wrong.
    """
    given = members(body, PARAMETERS, ("model", "input"))
    if not images:
        refuse_images(given["input"], [f"input[{n}]" for n in range(len(given["input"]))])
    workflow = workflow_of(given["model"], workflows)
    _check_together(given)
    return Request(
        workflow,
        given["input"],
        _asked(given, workflow, headers),
        given.get("stream", False),
        given.get("background", False),
        given.get("previous_response_id", ""),
        given.get("conversation", ""),
        idempotent(headers, "responses", body),
        given=frozenset(body),
    )


def _check_together(given: Mapping[str, Any]) -> None:
    if "previous_response_id" in given and "conversation" in given:
        message = "excludes conversation; give one of the two"
        raise_invalid(message, "previous_response_id", "mutually_exclusive_parameters")
    if given.get("background") and not given.get("store", True):
        raise_invalid("needs store to be true", "background", "unsupported_value")
    if "stream_options" in given and not given.get("stream"):
        raise_invalid("is for streams alone", "stream_options")


def workflow_of(name: str, workflows: Mapping[str, Workflow]) -> Workflow:
    """The workflow that a model's name stands for. Raises ApiError."""
    if workflow := workflows.get(name):
        return workflow
    known = ", ".join(workflows)
    message = f"there is no model {abbreviate(name)}; there are: {known}"
    raise ApiError(404, message, code="model_not_found", param="model")


def hops_of(headers: Mapping[str, str]) -> int:
    """How many instances the request has come through. Raises ApiError if they are too many."""
    told = headers.get(HOPS, "")
    hops = int(told) if _HOPS.fullmatch(told) else 0
    if hops > MOST_HOPS:
        message = f"the request has come through {hops} instances; {MOST_HOPS} is the most"
        raise ApiError(400, message, code="too_many_hops")
    return hops


def idempotent(
    headers: Mapping[str, str], endpoint: str, body: Mapping[str, Any]
) -> IdempotentRequest | None:
    """Under which key the request may be sent again. Raises ApiError for what is no key."""
    key = headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        message = "Idempotency-Key must be 1 to 255 visible ASCII characters"
        raise ApiError(400, message, code="invalid_value", param="Idempotency-Key")
    # The order of an object's members says nothing, so the hash does not depend on it.
    whole_body = msgspec.json.encode([endpoint, body], order="deterministic")
    return IdempotentRequest(key, hashlib.sha256(whole_body).hexdigest())


def tool_items_of(headers: Mapping[str, str]) -> str:
    """How the caller wants the server's tool calls shown; "" if it does not say.

    Raises ApiError.
    """
    wanted = headers.get(TOOL_ITEMS, "")
    if wanted and wanted not in get_args(ToolItems):
        known = ", ".join(get_args(ToolItems))
        message = f"{TOOL_ITEMS} must be one of {known}, not {abbreviate(wanted)}"
        raise ApiError(400, message, code="invalid_value", param=TOOL_ITEMS)
    return wanted


def _asked(
    given: Mapping[str, Any], workflow: Workflow, headers: Mapping[str, str]
) -> RequestOptions:
    tools = tuple(given.get("tools", ()))
    check_names(tools, workflow, "tools[{}].name")
    choice = given.get("tool_choice")
    if choice is not None:
        choice = _choice(choice)
    if "tools" in given or not any(item["type"] == ANSWER for item in given["input"]):
        # The tools of an answer without any are those of the run that it answers.
        check_choice(choice, tools, workflow)
    asked = RequestOptions(
        **{name: given[name] for name in _PASSED if name in given},
        tools=tools,
        tool_choice=choice,
        echo={name: given[name] for name in _ECHOED if name in given},
        conversation="conversation" in given,
        previous=given.get("previous_response_id", ""),
        hops=hops_of(headers),
        tool_items=tool_items_of(headers),
    )
    return DEFAULT_OPTIONS if asked == DEFAULT_OPTIONS else asked


def check_names(tools: tuple[Item, ...], workflow: Workflow, param: str) -> None:
    """Refuse a name that is taken; `param` names the place of one by its index."""
    names: set[str] = set()
    for index, tool in enumerate(tools):
        name, at = tool["name"], param.format(index)
        if name in workflow.by_name:
            raise_invalid(f"{name!r} is a tool of the server's own; give yours another name", at)
        if name in names:
            raise_invalid(f"{name!r} is there twice", at)
        names.add(name)


def _choice(value: Any) -> str | Item:
    at = "tool_choice"
    if type(value) is str:
        return str(one_of("none", "auto", "required")(value, at))
    given = an_object(value, at)
    kind = given.pop("type", None)
    if kind == "function":
        return {"type": kind, **record({"name": text}, "name")(given, at)}
    if kind != "allowed_tools":
        raise_invalid(
            f"{abbreviate(kind)} is not supported here", f"{at}.type", "unsupported_value"
        )
    tool = record({"type": one_of("function"), "name": text}, "type", "name")
    allowed = record({"mode": one_of("auto", "required"), "tools": list_of(tool)}, "mode", "tools")
    return {"type": kind, **allowed(given, at)}


def check_choice(choice: str | Item | None, tools: tuple[Item, ...], workflow: Workflow) -> None:
    """Refuse a choice of a tool that is neither the caller's nor the server's. Raises ApiError."""
    if not isinstance(choice, dict):
        return
    known = known_tool({tool["name"] for tool in tools} | set(workflow.by_name))
    if choice["type"] == "function":
        known(choice["name"], "tool_choice.name")
    for index, tool in enumerate(choice.get("tools", ())):
        known(tool["name"], f"tool_choice.tools[{index}].name")


def known_tool(names: set[str]) -> Check:
    """The name of one of these tools."""

    def check(value: Any, at: str) -> str:
        name = text(value, at)
        if name not in names:
            raise_invalid(f"there is no tool {abbreviate(name)}", at)
        return name

    return check
