"""What `POST /v1/chat/completions` may ask for, as a turn of the newer API.

Source: the request body of `POST /chat/completions` of the OpenAI API.
"""

from collections.abc import Mapping
from typing import Any

from twelvefold.core.events import Asked, Item
from twelvefold.core.workflow import Workflow
from twelvefold.web.checks import (
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
    refuse,
    short,
    shown,
    text,
    whole,
)
from twelvefold.web.inputs import TOOL_NAME
from twelvefold.web.requests import Request, hops_of, idempotent, workflow_of

LEAST_TOKENS = 16
"""Fewer are refused by models' servers; a client that wants fewer gets these."""
_ROLES = ("system", "developer", "user", "assistant")
_SCHEMA = record(
    {"name": TOOL_NAME, "schema": an_object, "description": text, "strict": flag}, "name", "schema"
)
_IMAGE = record({"url": text, "detail": one_of("auto", "low", "high")}, "url")


def unless(*harmless: object) -> Check:
    """A parameter that this server has not, except where it says nothing."""

    def check(value: Any, at: str) -> None:
        if not any(type(value) is type(one) and value == one for one in harmless):
            refuse("is not supported here; use /v1/responses", at, "unsupported_parameter")

    return check


def _message(value: Any, at: str) -> Item:
    role = an_object(value, at).get("role")
    if role in ("tool", "function"):
        message = f"role {role!r} is not supported here; use /v1/responses"
        refuse(message, f"{at}.role", "unsupported_value")
    fields = {
        "role": one_of(*_ROLES),
        "content": _content("output_text" if role == "assistant" else "input_text"),
        "name": text,
        "refusal": text,
        "annotations": list_of(anything),
        "audio": unless(),
        "tool_calls": unless([]),
        "function_call": unless(),
    }
    given = members(value, fields, ("role",), f"{at}.")
    content = given.get("content")
    if content is None:
        content = given.get("refusal")
    if content is None:
        refuse("is missing", f"{at}.content", "missing_required_parameter")
    return {"type": "message", "role": given["role"], "content": content}


def _content(kind: str) -> Check:
    def part(value: Any, at: str) -> Item:
        given = an_object(value, at)
        found = given.pop("type", None)
        if found == "text":
            return {"type": kind, **members(given, {"text": text}, ("text",), f"{at}.")}
        if found != "image_url" or kind != "input_text":
            refuse(f"{shown(found)} is not supported here", f"{at}.type", "unsupported_value")
        image = members(given, {"image_url": _IMAGE}, ("image_url",), f"{at}.")["image_url"]
        return {"type": "input_image", "image_url": image["url"]}

    parts = list_of(part)
    return lambda value, at: value if type(value) is str else parts(value, at)


def _format(value: Any, at: str) -> Item:
    given = an_object(value, at)
    kind = given.pop("type", None)
    if kind == "text":
        return {"type": "text"}
    if kind != "json_schema":
        refuse(f"must be text or json_schema, not {shown(kind)}", f"{at}.type", "unsupported_value")
    schema = members(given, {"json_schema": _SCHEMA}, ("json_schema",), f"{at}.")["json_schema"]
    return {"type": "json_schema", **schema}


PARAMETERS: Mapping[str, Check] = {
    "model": text,
    "messages": list_of(_message, least=1),
    "stream": flag,
    "stream_options": record({"include_usage": flag, "include_obfuscation": flag}),
    "max_tokens": whole(1, 2**31 - 1),
    "max_completion_tokens": whole(1, 2**31 - 1),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "n": whole(1, 1),
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
    "stop": unless([]),
    "logit_bias": unless({}),
    "logprobs": unless(False),
    "top_logprobs": unless(0),
    "tools": unless([]),
    "tool_choice": unless("auto", "none"),
    "parallel_tool_calls": flag,
    "functions": unless([]),
    "function_call": unless("auto", "none"),
    "modalities": unless(["text"]),
    "audio": unless(),
    "prediction": unless(),
    "web_search_options": unless(),
    "moderation": unless(),
}


def parse_chat(
    body: Mapping[str, Any], headers: Mapping[str, str], workflows: Mapping[str, Workflow]
) -> tuple[Request, bool]:
    """The turn that a body asks for, and whether the usage is to be streamed. Raises ApiError."""
    given = members(body, PARAMETERS, ("model", "messages"))
    workflow = workflow_of(given["model"], workflows)
    stream = given.get("stream", False)
    if "stream_options" in given and not stream:
        refuse("is for streams alone", "stream_options")
    request = Request(
        workflow,
        tuple(given["messages"]),
        _asked(given, stream, hops_of(headers)),
        stream,
        key=idempotent(headers, "chat/completions", body),
    )
    return request, given.get("stream_options", {}).get("include_usage", False)


def _asked(given: Mapping[str, Any], stream: bool, hops: int) -> Asked:
    most = given.get("max_completion_tokens", given.get("max_tokens"))
    form, verbosity = given.get("response_format"), given.get("verbosity")
    said = ({"format": form} if form else {}) | ({"verbosity": verbosity} if verbosity else {})
    effort = given.get("reasoning_effort")
    return Asked(
        max_output_tokens=None if most is None else max(most, LEAST_TOKENS),
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        text=said or None,
        reasoning={"effort": effort} if effort else None,
        metadata=given.get("metadata", {}),
        stream=stream,
        store=False,
        hops=hops,
    )
