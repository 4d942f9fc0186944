"""Parses the conversation in a request for the demo model, and builds the items of its reply."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from msgspec import Struct

from twelvefold.core import Item
from twelvefold.services.model.items import function_call, message, text_of

MAX_USER_CHARS = 2000
MAX_ERROR_CHARS = 400


class CallResult(Struct, frozen=True):
    """A call with its result; `result` is empty if the tool refused the call."""

    tool: str
    arguments: Mapping[str, Any]
    text: str
    result: Mapping[str, Any]

    @property
    def error(self) -> str:
        """The reason of a refusal."""
        return self.text[:MAX_ERROR_CHARS].removeprefix("Error: ").rstrip(".")

    def rows(self, key: str) -> list[Mapping[str, Any]]:
        """Return a list of objects in the result, empty if there is none."""
        return rows_of(self.result, key)


class Conversation(Struct, frozen=True):
    """The last messages of the user and the model, and the results of calls.

    `new_results` follow the user's last message. `model_text` is empty before the first reply.
    `tools` are the available tools by name. `attachments`: the user's message has images or files
    of these types.
    """

    user_text: str
    model_text: str
    earlier_results: tuple[CallResult, ...]
    new_results: tuple[CallResult, ...]
    tools: Mapping[str, Mapping[str, Any]]
    attachments: frozenset[str] = frozenset()


class Call(Struct, frozen=True):
    """A tool to call."""

    tool: str
    arguments: Mapping[str, Any]


class NoMatch(Struct, frozen=True):
    """The text of a reply that calls no tool, because the words match none."""

    text: str


def parse_conversation(body: Mapping[str, Any]) -> Conversation:
    """Parse the body of a request to the Responses API."""
    items = _items(body)
    turn = max((n for n, item in enumerate(items) if _role(item) == "user"), default=0)
    return Conversation(
        user_text=text_of(items[turn].get("content"))[:MAX_USER_CHARS] if items else "",
        model_text=next(
            (text_of(i.get("content")) for i in items[::-1] if _role(i) == "assistant"), ""
        ),
        earlier_results=tuple(_parse_results(items[:turn])),
        new_results=tuple(_parse_results(items[turn:])),
        tools={str(tool["name"]): tool for tool in body.get("tools") or () if tool.get("name")},
        attachments=_attachments(items[turn].get("content")) if items else frozenset(),
    )


def _attachments(content: Any) -> frozenset[str]:
    parts = content if isinstance(content, list) else []
    types = {str(part.get("type")) for part in parts if isinstance(part, dict)}
    return frozenset(types & {"input_image", "input_file"})


def _items(body: Mapping[str, Any]) -> list[Item]:
    given = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _role(item: Item) -> str:
    return str(item.get("role", "")) if item.get("type", "message") == "message" else ""


def _parse_results(items: Iterable[Item]) -> Iterable[CallResult]:
    calls: dict[str, Item] = {}
    for item in items:
        call_id = str(item.get("call_id"))
        if item.get("type") == "function_call":
            calls[call_id] = item
        elif item.get("type") == "function_call_output" and call_id in calls:
            call, text = calls[call_id], text_of(item.get("output"))
            arguments = _parse_object(str(call.get("arguments")))
            yield CallResult(str(call.get("name")), arguments, text, _parse_object(text))


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def rows_of(result: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return a list of objects in a tool's result. Other values are ignored."""
    rows = result.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def build_items(body: Mapping[str, Any], answer: Call | NoMatch | str) -> list[Item]:
    """Return the answer as output items. The call id depends on the conversation only."""
    if isinstance(answer, NoMatch):
        return [message("", refusal=answer.text)]
    if isinstance(answer, str):
        return [message(answer)]
    conversation = json.dumps(_items(body), sort_keys=True)
    digest = sha256(conversation.encode("utf-8", "surrogatepass")).hexdigest()
    return [function_call(f"call_{digest[:24]}", answer.tool, dict(answer.arguments))]
