"""Items from callers and other servers, in the form that the model reads.

An `mcp_call` of another server becomes a call with its result. Ids and states of other servers are
dropped: they have no meaning for the model.
"""

import json
from collections.abc import Iterator, Sequence

from twelvefold.core.events import Item

_DROPPED = frozenset({"mcp_list_tools", "mcp_approval_request", "mcp_approval_response"})
_MCP_TYPES = _DROPPED | {"mcp_call"}


def convert_items(items: Sequence[Item]) -> Sequence[Item]:
    """Return a caller's items in the form of a request."""
    if all(map(_is_plain_message, items)):
        return items
    return [one for item in items for one in _convert(item)]


def convert_reply(items: Sequence[Item]) -> Sequence[Item]:
    """Return a reply's items in the form of a request; the model may be another instance."""
    for item in items:
        if item.get("type") in _MCP_TYPES:
            break
    else:
        return items
    return [
        one
        for item in items
        for one in (_convert(item) if item.get("type") in _MCP_TYPES else (item,))
    ]


def _is_plain_message(item: Item) -> bool:
    if type(item.get("content")) is not str or item.get("type", "message") != "message":
        return False
    return "id" not in item and "status" not in item


def _convert(item: Item) -> Iterator[Item]:
    kind = item.get("type", "message")
    if kind == "mcp_call":
        yield from _split_call(item)
    elif kind not in _DROPPED:
        yield _strip(item, kind)


def _split_call(item: Item) -> Iterator[Item]:
    call_id = str(item.get("id", ""))
    name, arguments = str(item.get("name", "")), str(item.get("arguments") or "{}")
    yield {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    output = _text(item.get("error") or item.get("output"))
    yield {"type": "function_call_output", "call_id": call_id, "output": output}


def _text(output: object) -> str:
    if output is None:
        return ""
    if isinstance(output, dict) and isinstance(output.get("message"), str):
        return str(output["message"])
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _strip(item: Item, kind: object) -> Item:
    """Return the item without the sender's id and status; a reasoning item keeps its id."""
    kept = item
    if "status" in item or ("id" in item and kind != "reasoning"):
        drop = ("status",) if kind == "reasoning" else ("id", "status")
        kept = {key: value for key, value in item.items() if key not in drop}
    return kept
