"""A conversation in the form that strict servers accept; the journal keeps what was received.

Arguments are JSON objects, names and call ids are valid, a call id occurs once, each call is
followed by one result, and no message is empty. The order of roles is left to the two APIs. An
`mcp_call` of another server becomes a call with its result; ids and states of other servers are
dropped, because they have no meaning for the model.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from twelvefold.core.events import Item
from twelvefold.core.ids import CallIds

RESULT = "function_call_output"
NOT_RUN = "Error: not run, because the turn ended before"
NO_RESULT = "(no result)"
NO_TEXT = "(empty message)"
"""Replaces an empty user message, which marks a turn."""
RAW = "_raw"
"""The key of arguments that are no JSON object; the model reads its own text there."""
MAX_DEPTH = 64
"""Servers stop at 100 (llama.cpp's grammar), 128 (serde) or 500 levels of nested JSON."""
MAX_NAME_CHARS = 64
"""Source: the Responses API's `tools[].name`."""
_DROPPED = frozenset({"mcp_list_tools", "mcp_approval_request", "mcp_approval_response"})
_MCP_TYPES = _DROPPED | {"mcp_call"}
_CACHED_CHARS = 1_000
"""Longer arguments are not cached: the cache would take too much memory."""
_INVALID_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")


class Prepared(Struct, frozen=True):
    """Items in the form of a request, and the ids of their calls.

    `has_open_calls`: a call has no result, so that a later item may be its result.
    """

    items: tuple[Item, ...]
    ids: CallIds
    has_open_calls: bool


def make_sendable(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the items of a whole conversation as a request has them."""
    return prepare(items, CallIds()).items


def prepare(items: Iterable[Item], ids: CallIds) -> Prepared:
    """Return the items in the form of a request, with call ids from `ids`."""
    sent: list[Item] = []
    block: list[Item | _Call] = []
    found, has_open_calls = _match_results(items, ids)
    for one in found:
        if isinstance(one, _Call) or (one is not None and _is_model_item(one)):
            block.append(one)
            continue
        if block:
            sent += _block_items(block)
            block = []
        if one is not None:
            sent.append(one)
    return Prepared((*sent, *_block_items(block)), ids, has_open_calls)


def arguments_text(arguments: object) -> str:
    """Return the arguments of a call as a JSON object; a text that is one stays unchanged."""
    text = arguments if isinstance(arguments, str) else _dump(arguments)
    return _to_object_text(text) if len(text) > _CACHED_CHARS else _cached_object_text(text)


@lru_cache(maxsize=2048)
def _cached_object_text(text: str) -> str:
    # The same calls are sent with each request of a conversation.
    return _to_object_text(text)


def _to_object_text(text: str) -> str:
    if text == "{}" or not text.strip():
        return "{}"
    if _depth(text) <= MAX_DEPTH and (found := _parse_object(text)) is not None:
        return found
    return json.dumps({RAW: text}, ensure_ascii=False)


def sanitize_name(name: object) -> str:
    """Return a valid name for the name by which the model called a tool."""
    return _INVALID_IN_NAME.sub("_", str(name or ""))[:MAX_NAME_CHARS] or "unknown"


class _Call(Struct):
    """A call with the id that it is sent with, and its result if there is one."""

    item: Item
    id: str
    output: object = NOT_RUN

    def call_item(self) -> Item:
        name, arguments = self.item.get("name"), self.item.get("arguments")
        return {
            **self.item,
            "call_id": self.id,
            "name": sanitize_name(name),
            "arguments": arguments_text(arguments),
        }

    def result_item(self) -> Item:
        return {"type": RESULT, "call_id": self.id, "output": _prepare_output(self.output)}


def _match_results(items: Iterable[Item], ids: CallIds) -> tuple[list[Item | _Call | None], bool]:
    """Return the items with each result in its call, and None in the result's place.

    Also returns whether a call has no result.
    """
    found: list[Item | _Call | None] = []
    unanswered: dict[str, list[_Call]] = {}
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            wire_id = str(item.get("call_id", ""))
            call = _Call(item, ids.take(wire_id))
            unanswered.setdefault(wire_id, []).append(call)
            found.append(call)
        elif kind == RESULT:
            if waiting := unanswered.get(str(item.get("call_id", ""))):
                waiting.pop(0).output = item.get("output")
                found.append(None)
        elif kind != "message":
            found.append(item)
        elif (message := _prepare_message(item)) is not None:
            found.append(message)
    return found, any(unanswered.values())


def _is_model_item(item: Item) -> bool:
    return item.get("role") == "assistant" or item.get("type", "message") != "message"


def _block_items(block: list[Item | _Call]) -> Iterator[Item]:
    """Yield consecutive items of the model, then the results of its calls."""
    if len(block) == 1 and not isinstance(block[0], _Call):
        yield block[0]
        return
    calls = [one for one in block if isinstance(one, _Call)]
    for one in _in_order(block):
        yield one.call_item() if isinstance(one, _Call) else one
    for call in calls:
        yield call.result_item()


def _in_order(block: list[Item | _Call]) -> Iterator[Item | _Call]:
    """Yield the block with its messages before its calls.

    Reasoning stays before the item that it led to: OpenAI refuses one without the other.
    """
    first: list[Item | _Call] = []
    last: list[Item | _Call] = []
    lead: list[Item | _Call] = []
    for one in block:
        lead.append(one)
        if isinstance(one, _Call) or one.get("role") == "assistant":
            (last if isinstance(one, _Call) else first).extend(lead)
            lead = []
    yield from (*first, *last, *lead)


def _prepare_message(item: Item) -> Item | None:
    """Return the message without empty parts; None if no part is left."""
    content = item.get("content")
    if isinstance(content, str):
        if content.strip():
            return item
    elif kept := [part for part in content or () if not is_blank(part)]:
        return item if len(kept) == len(content or ()) else {**item, "content": kept}
    return {**item, "content": NO_TEXT} if item.get("role") == "user" else None


def _prepare_output(output: object) -> str | list[Any]:
    if isinstance(output, list):
        return [part for part in output if not is_blank(part)] or NO_RESULT
    text = output if isinstance(output, str) else _dump(output)
    return text if text.strip() else NO_RESULT


def _dump(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _depth(text: str) -> int:
    """Return an upper bound of the JSON's depth; exact unless its strings hold brackets."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 0
    level = deepest = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[][{}]', text):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    return deepest


def _parse_object(text: str) -> str | None:
    """Return the text if it is a JSON object, without duplicate keys; None if it is none."""
    try:
        # Stricter than json: no NaN, no half of a surrogate pair.
        if not isinstance(msgspec.json.decode(text), dict):
            return None
        value = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    return text if _has_each_key_once(value) else json.dumps(value, ensure_ascii=False)


class _Object(dict[str, Any]):
    """A parsed object; `has_duplicates`: a key occurred more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.has_duplicates = len(pairs) != len(self)


def _has_each_key_once(value: object) -> bool:
    if isinstance(value, _Object):
        return not value.has_duplicates and all(map(_has_each_key_once, value.values()))
    return not isinstance(value, list) or all(map(_has_each_key_once, value))


def is_blank(part: object) -> bool:
    """Return whether a part of a message or result is an empty text, or no part at all."""
    if not isinstance(part, dict):
        return True
    texts = [part[key] for key in ("text", "refusal") if key in part]
    return bool(texts) and not any(str(text or "").strip() for text in texts)


def convert_items(items: Sequence[Item]) -> Sequence[Item]:
    """Return a caller's items in the form of a request."""
    if all(map(_is_plain_message, items)):
        return items
    return [one for item in items for one in _convert(item)]


def convert_reply(items: Sequence[Item]) -> Sequence[Item]:
    """Return a reply's items in the form of a request; the model may be another instance."""
    if not any(item.get("type") in _MCP_TYPES for item in items):
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
    output = _output_text(item.get("error") or item.get("output"))
    yield {"type": "function_call_output", "call_id": call_id, "output": output}


def _output_text(output: object) -> str:
    if output is None:
        return ""
    if isinstance(output, dict) and isinstance(output.get("message"), str):
        return str(output["message"])
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _strip(item: Item, kind: object) -> Item:
    """Return the item without the sender's id and status; a reasoning item keeps its id."""
    if "status" not in item and ("id" not in item or kind == "reasoning"):
        return item
    drop = ("status",) if kind == "reasoning" else ("id", "status")
    return {key: value for key, value in item.items() if key not in drop}
