"""Provider-specific fields of items: stored as received, and returned to the same provider only.

Thought signatures, reasoning and unknown fields are useless to another model, and a strict server
rejects them. A received item that has such fields is marked with its provider: the host and path
of `OPENAI_BASE_URL` and the family of the model, such as `gemini` for `gemini-3-pro`.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from twelvefold.core import Item

PROVIDER_KEY = "provider"
"""The key of an item with the name of the provider whose fields it contains."""
MESSAGE_FIELDS_KEY = "message_fields"
"""Fields of a Chat Completions message, stored on the first call of a reply or on its message."""
CALL_FIELDS_KEY = "call_fields"
"""Fields of a Chat Completions tool call."""
MAX_CALL_ID_CHARS = 64
"""The longest call id that every server accepts. Source: `call_id` of the Responses API.

A proxy of Gemini puts the thought signature into longer ids.
"""
_MARK_KEYS = (PROVIDER_KEY, MESSAGE_FIELDS_KEY, CALL_FIELDS_KEY)
_STANDARD_FIELDS: Mapping[str, frozenset[str]] = {
    "message": frozenset({"type", "role", "content", "phase", "id", "status"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments", "id", "status"}),
}
_MESSAGE_FIELDS = frozenset({"role", "content", "refusal", "tool_calls", "function_call"}) | {
    *("annotations", "audio", "images", "name", "index")
}
_CALL_FIELDS = frozenset({"index", "id", "type", "function", "name", "arguments"})
_PART_FIELDS = frozenset({"messages", "text", "image_url", "url", "detail", "tool_call_id"}) | {
    *("file", "file_data", "filename")
}
_SENT_MESSAGE_FIELDS = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_REASONING_FIELDS = ("reasoning_content", "reasoning_details", "extra_content")
_REASONING_TEXT_FIELDS = ("reasoning_content", "reasoning")
"""DeepSeek requires them on messages with calls, and its older models reject them elsewhere."""
_STREAMED_TEXT_FIELDS = frozenset(
    {*_REASONING_TEXT_FIELDS, "text", "summary", "thinking", "reasoning_text"}
)
"""Texts whose pieces are concatenated."""


def provider_of(base_url: str, model: str) -> str:
    """Return the name with which a provider's items are marked, without key or query."""
    url = urlsplit(base_url)
    host = url.netloc.rpartition("@")[2]
    family = re.match(r"[a-z]*", model.rpartition("/")[2].lower())
    return f"{host}{url.path.rstrip('/')} {family[0] if family else ''}".rstrip()


def mark_items(items: Iterable[Item], provider: str) -> tuple[Item, ...]:
    """Mark the items of a reply that have provider-specific fields."""
    return tuple(
        item | {PROVIDER_KEY: provider} if _is_provider_specific(item) else item for item in items
    )


def items_for_provider(items: Iterable[Item], provider: str) -> tuple[Item, ...]:
    """Return the items without the specific fields and item types of other providers."""
    shortened: dict[str, str] = {}
    sent: list[Item] = []
    for item in items:
        if item.get(PROVIDER_KEY, provider) != provider:
            if (standard := _with_standard_fields(item)) is None:
                continue
            item = _with_short_id(standard, shortened)
        elif item.get("call_id") in shortened:
            item = item | {"call_id": shortened[item["call_id"]]}
        sent.append(item)
    return tuple(sent)


def _with_short_id(item: Item, shortened: dict[str, str]) -> Item:
    """Return the call with an id that every server accepts; `shortened` maps old ids to new."""
    call_id = str(item.get("call_id", ""))
    if len(call_id) <= MAX_CALL_ID_CHARS:
        return item
    digest = sha256(call_id.encode()).hexdigest()[:16]
    shortened[call_id] = f"{call_id[: MAX_CALL_ID_CHARS - len(digest) - 1]}_{digest}"
    return item | {"call_id": shortened[call_id]}


def has_provider_fields(item: Item) -> bool:
    """Return whether an item from `items_for_provider` has fields of the current provider."""
    return PROVIDER_KEY in item


def strip_marks(item: Item) -> Item:
    """Return the item without the keys that this module added."""
    return {key: value for key, value in item.items() if key not in _MARK_KEYS}


def message_fields(item: Item) -> Mapping[str, Any]:
    """Return the provider's fields of the message that the item belongs to."""
    fields: Mapping[str, Any] = {}
    if has_provider_fields(item):
        fields = item.get(MESSAGE_FIELDS_KEY, {})
    if item.get("type") == "function_call":
        return fields
    return {key: value for key, value in fields.items() if key not in _REASONING_TEXT_FIELDS}


def with_call_fields(call: dict[str, Any], item: Item) -> dict[str, Any]:
    """Return a tool call with the provider's fields."""
    fields = dict(item.get(CALL_FIELDS_KEY, {})) if has_provider_fields(item) else {}
    function = fields.pop("function", {})
    return {**fields, **call, "function": {**function, **call["function"]}}


def is_message_field_path(path: tuple[str, ...]) -> bool:
    """Return whether a path is a non-standard field of a message or call."""
    name = path[-1]
    if name in _REASONING_FIELDS:
        return len(path) == 1 or path[0] == "messages"
    known = name in _MESSAGE_FIELDS or name in _CALL_FIELDS or name in _PART_FIELDS
    return path[0] == "messages" and not known


def remove_message_fields(body: dict[str, Any]) -> bool:
    """Remove non-standard fields from the messages of a body. Returns whether it had any."""
    before = body["messages"]
    body["messages"] = [_with_sent_fields(message) for message in before]
    return bool(body["messages"] != before)


def _with_sent_fields(message: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in message.items() if key in _SENT_MESSAGE_FIELDS}
    if "tool_calls" in known:
        known["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {key: call["function"][key] for key in ("name", "arguments")},
            }
            for call in known["tool_calls"]
        ]
    return known


class ProviderFields:
    """Collects the non-standard fields of a message or call from the pieces of a stream."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def add_message(self, delta: Mapping[str, Any]) -> None:
        self._add(delta, _MESSAGE_FIELDS)

    def add_call(self, delta: Mapping[str, Any]) -> None:
        self._add(delta, _CALL_FIELDS)
        function = delta.get("function")
        if isinstance(function, dict) and (own := _unknown(function, _CALL_FIELDS)):
            self.found["function"] = _merged(self.found.get("function"), own, "function")

    def _add(self, delta: Mapping[str, Any], known: frozenset[str]) -> None:
        for key, value in _unknown(delta, known).items():
            self.found[key] = _merged(self.found.get(key), value, key)


def _is_provider_specific(item: Item) -> bool:
    kind = item.get("type", "message")
    has_long_id = len(str(item.get("call_id", ""))) > MAX_CALL_ID_CHARS
    return kind not in _STANDARD_FIELDS or not item.keys() <= _STANDARD_FIELDS[kind] or has_long_id


def _with_standard_fields(item: Item) -> Item | None:
    known = _STANDARD_FIELDS.get(item.get("type", "message"))
    return None if known is None else {k: value for k, value in item.items() if k in known}


def _unknown(delta: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {k: value for k, value in delta.items() if k not in known and value not in _EMPTY_VALUES}


_EMPTY_VALUES: tuple[Any, ...] = (None, "", [], {})


def _merged(before: Any, value: Any, key: str) -> Any:
    """Return a field after another piece: texts are concatenated, lists merged by index."""
    if before is None:
        return value
    if isinstance(before, dict) and isinstance(value, dict):
        return before | {k: _merged(before.get(k), one, k) for k, one in value.items()}
    if isinstance(before, list) and isinstance(value, list):
        return _merged_lists(before, value)
    if isinstance(before, str) and isinstance(value, str) and key in _STREAMED_TEXT_FIELDS:
        return before + value
    return before if value is None else value


def _merged_lists(before: list[Any], pieces: list[Any]) -> list[Any]:
    merged = list(before)
    for piece in pieces:
        last = merged[-1]
        if _is_next_piece(last, piece):
            merged[-1] = _merged(last, piece, "")
        else:
            merged.append(piece)
    return merged


def _is_next_piece(last: Any, piece: Any) -> bool:
    """Return whether a part continues the last one: OpenRouter's details have an index."""
    if not (isinstance(last, dict) and isinstance(piece, dict)):
        return False
    same_type = last.get("type") == piece.get("type")
    return same_type and "index" in piece and last.get("index") == piece["index"]
