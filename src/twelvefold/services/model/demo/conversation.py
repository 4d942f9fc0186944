"""A conversation as the demo model's rules see it: read from a request, answered with an item."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from twelvefold.core.events import Item
from twelvefold.services.model.items import function_call, message, text_of

SAID_CHARS = 2000
"""So much of a message is read: rules do not get wiser by more."""
ERROR_CHARS = 400


@dataclass(frozen=True, slots=True)
class Told:
    """A call that was answered; `result` is what the tool returned, empty if it refused."""

    tool: str
    arguments: Mapping[str, Any]
    text: str
    result: Mapping[str, Any]

    @property
    def error(self) -> str:
        """Why the tool refused."""
        return self.text[:ERROR_CHARS].removeprefix("Error: ").rstrip(".")

    def rows(self, key: str) -> list[Mapping[str, Any]]:
        """A list of objects in the result; empty if it has none."""
        return rows_of(self.result, key)


@dataclass(frozen=True, slots=True)
class Talk:
    """What the user said last, what was done since (`now`) and earlier (`before`).

    `asked` is what the model said last, empty if it has said nothing yet. `tools` are those on
    offer, by name. `has_image`: what the user said last has an image in it.
    """

    said: str
    asked: str
    before: tuple[Told, ...]
    now: tuple[Told, ...]
    tools: Mapping[str, Mapping[str, Any]]
    has_image: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A tool to call."""

    tool: str
    arguments: Mapping[str, Any]


def read_talk(body: Mapping[str, Any]) -> Talk:
    """The conversation in the body of a request to the Responses API."""
    items = _items(body)
    turn = max((n for n, item in enumerate(items) if _role(item) == "user"), default=0)
    return Talk(
        said=text_of(items[turn].get("content"))[:SAID_CHARS] if items else "",
        asked=next((text_of(i.get("content")) for i in items[::-1] if _role(i) == "assistant"), ""),
        before=tuple(_answered(items[:turn])),
        now=tuple(_answered(items[turn:])),
        tools={str(tool["name"]): tool for tool in body.get("tools") or () if tool.get("name")},
        has_image=bool(items) and _has_image(items[turn].get("content")),
    )


def _has_image(content: Any) -> bool:
    parts = content if isinstance(content, list) else []
    return any(isinstance(part, dict) and part.get("type") == "input_image" for part in parts)


def _items(body: Mapping[str, Any]) -> list[Item]:
    given = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _role(item: Item) -> str:
    return str(item.get("role", "")) if item.get("type", "message") == "message" else ""


def _answered(items: Iterable[Item]) -> Iterable[Told]:
    asked: dict[str, Item] = {}
    for item in items:
        call_id = str(item.get("call_id"))
        if item.get("type") == "function_call":
            asked[call_id] = item
        elif item.get("type") == "function_call_output" and call_id in asked:
            call, text = asked[call_id], text_of(item.get("output"))
            arguments = _object(str(call.get("arguments")))
            yield Told(str(call.get("name")), arguments, text, _object(text))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def rows_of(result: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """A list of objects in a tool's result; whatever else stands there is passed over."""
    rows = result.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def answered(body: Mapping[str, Any], answer: Call | str) -> list[Item]:
    """The answer as output items. The same conversation has the same call id."""
    if isinstance(answer, str):
        return [message(answer)]
    asked = json.dumps(_items(body), sort_keys=True)
    digest = sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
    return [function_call(f"call_{digest[:24]}", answer.tool, dict(answer.arguments))]
