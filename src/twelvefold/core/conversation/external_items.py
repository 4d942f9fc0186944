"""Items as callers bring them along, and as the model reads them.

What another instance of Twelvefold, or any server, reports of its own tools becomes a call with
its result. Ids and states are the sender's own and say nothing to our model.
"""

import json
from collections.abc import Iterator, Sequence

from twelvefold.core.events import Item

_LEFT_OUT = frozenset({"mcp_list_tools", "mcp_approval_request", "mcp_approval_response"})
_OF_OTHERS = _LEFT_OUT | {"mcp_call"}


def for_model(items: Sequence[Item]) -> Sequence[Item]:
    """The items as they go into a request."""
    if all(map(_is_a_plain_message, items)):
        return items
    return [read for item in items for read in _read(item)]


def replied_for_model(items: Sequence[Item]) -> Sequence[Item]:
    """The same for a reply of our own model, which may be another instance."""
    for item in items:
        if item.get("type") in _OF_OTHERS:
            break
    else:
        return items
    return [
        read
        for item in items
        for read in (_read(item) if item.get("type") in _OF_OTHERS else (item,))
    ]


def _is_a_plain_message(item: Item) -> bool:
    if type(item.get("content")) is not str or item.get("type", "message") != "message":
        return False
    return "id" not in item and "status" not in item


def _read(item: Item) -> Iterator[Item]:
    kind = item.get("type", "message")
    if kind == "mcp_call":
        yield from _as_call_and_result(item)
    elif kind not in _LEFT_OUT:
        yield _plain(item, kind)


def _as_call_and_result(item: Item) -> Iterator[Item]:
    call_id = str(item.get("id", ""))
    name, arguments = str(item.get("name", "")), str(item.get("arguments") or "{}")
    yield {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    said = _text(item.get("error") or item.get("output"))
    yield {"type": "function_call_output", "call_id": call_id, "output": said}


def _text(said: object) -> str:
    if said is None:
        return ""
    if isinstance(said, dict) and isinstance(said.get("message"), str):
        return str(said["message"])
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def _plain(item: Item, kind: object) -> Item:
    """The item without what is the sender's own. A reasoning item is known by its id."""
    kept = item
    if "status" in item or ("id" in item and kind != "reasoning"):
        drop = ("status",) if kind == "reasoning" else ("id", "status")
        kept = {key: value for key, value in item.items() if key not in drop}
    return kept
