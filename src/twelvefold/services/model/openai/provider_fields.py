"""What a provider puts into its replies for itself: kept as received, returned to it alone.

Thought signatures, reasoning and unknown fields say nothing to another model, and a strict server
refuses them. An item that has any is marked with its provider when it is received. The provider is
the host and path of `OPENAI_BASE_URL` and the family of the model: `gemini` for `gemini-3-pro`.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from twelvefold.core.events import Item

PROVIDER = "provider"
"""The key of an item that says whose fields are in it."""
MESSAGE = "message_fields"
"""Fields of a Chat Completions message, on the first call of a reply or else on its message."""
CALL = "call_fields"
"""Fields of a Chat Completions tool call."""
LONGEST_ID = 64
"""Characters of a call id that every server takes. Source: the Responses API's `call_id`. A proxy
of Gemini puts the thought signature into longer ones."""
_MARKS = (PROVIDER, MESSAGE, CALL)
_KNOWN: Mapping[str, frozenset[str]] = {
    "message": frozenset({"type", "role", "content", "phase", "id", "status"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments", "id", "status"}),
}
_IN_A_MESSAGE = frozenset({"role", "content", "refusal", "tool_calls", "function_call"}) | {
    *("annotations", "audio", "images", "name", "index")
}
_IN_A_CALL = frozenset({"index", "id", "type", "function", "name", "arguments"})
_IN_A_PART = frozenset({"messages", "text", "image_url", "url", "detail", "tool_call_id"})
_SENT_IN_A_MESSAGE = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_REASONING_FIELDS = ("reasoning_content", "reasoning_details", "extra_content")
_REASONING = ("reasoning_content", "reasoning")
"""DeepSeek wants it back beside calls, and its older models refuse it anywhere else."""
_IN_PIECES = frozenset({*_REASONING, "text", "summary", "thinking", "reasoning_text"})
"""Texts that a stream sends piece by piece."""


def provider_of(base_url: str, model: str) -> str:
    """The name that a provider's items are marked with; no key or query is in it."""
    url = urlsplit(base_url)
    host = url.netloc.rpartition("@")[2]
    family = re.match(r"[a-z]*", model.rpartition("/")[2].lower())
    return f"{host}{url.path.rstrip('/')} {family[0] if family else ''}".rstrip()


def marked(items: Iterable[Item], provider: str) -> tuple[Item, ...]:
    """The items of a reply, those with the provider's own fields under its name."""
    return tuple(item | {PROVIDER: provider} if _has_own(item) else item for item in items)


def for_provider(items: Iterable[Item], provider: str) -> tuple[Item, ...]:
    """The items without what other providers have put in for themselves."""
    shortened: dict[str, str] = {}
    sent: list[Item] = []
    for item in items:
        if item.get(PROVIDER, provider) != provider:
            if (plain := _plain(item)) is None:
                continue
            item = _with_short_id(plain, shortened)
        elif item.get("call_id") in shortened:
            item = item | {"call_id": shortened[item["call_id"]]}
        sent.append(item)
    return tuple(sent)


def _with_short_id(item: Item, shortened: dict[str, str]) -> Item:
    """A call whose id another server takes, too; `shortened` gets the old one and the new."""
    call_id = str(item.get("call_id", ""))
    if len(call_id) <= LONGEST_ID:
        return item
    digest = sha256(call_id.encode()).hexdigest()[:16]
    shortened[call_id] = f"{call_id[: LONGEST_ID - len(digest) - 1]}_{digest}"
    return item | {"call_id": shortened[call_id]}


def is_own(item: Item) -> bool:
    """Whether an item that `for_provider` left has fields for the provider that is asked."""
    return PROVIDER in item


def without_marks(item: Item) -> Item:
    """The item without our own keys."""
    return {key: value for key, value in item.items() if key not in _MARKS}


def message_fields(item: Item) -> Mapping[str, Any]:
    """The fields of the message that an item is part of."""
    fields: Mapping[str, Any] = item.get(MESSAGE, {}) if is_own(item) else {}
    if item.get("type") == "function_call":
        return fields
    return {key: value for key, value in fields.items() if key not in _REASONING}


def with_call_fields(call: dict[str, Any], item: Item) -> dict[str, Any]:
    """A tool call with the provider's own fields."""
    fields = dict(item.get(CALL, {})) if is_own(item) else {}
    function = fields.pop("function", {})
    return {**fields, **call, "function": {**function, **call["function"]}}


def names_a_message_field(path: tuple[str, ...]) -> bool:
    """Whether a refusal is of a field of a message or call that no API knows."""
    name = path[-1]
    if name in _REASONING_FIELDS:
        return len(path) == 1 or path[0] == "messages"
    known = name in _IN_A_MESSAGE or name in _IN_A_CALL or name in _IN_A_PART
    return path[0] == "messages" and not known


def without_message_fields(body: dict[str, Any]) -> bool:
    """Take those fields out of a body; whether there were any."""
    before = body["messages"]
    body["messages"] = [_without_unknown(message) for message in before]
    return bool(body["messages"] != before)


def _without_unknown(message: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in message.items() if key in _SENT_IN_A_MESSAGE}
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


class Fields:
    """The fields of a message or call that no API knows, out of the pieces of a stream."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def add_of_message(self, delta: Mapping[str, Any]) -> None:
        self._add(delta, _IN_A_MESSAGE)

    def add_of_call(self, delta: Mapping[str, Any]) -> None:
        self._add(delta, _IN_A_CALL)
        function = delta.get("function")
        if isinstance(function, dict) and (own := _unknown(function, _IN_A_CALL)):
            self.found["function"] = _merged(self.found.get("function"), own, "function")

    def _add(self, delta: Mapping[str, Any], known: frozenset[str]) -> None:
        for key, value in _unknown(delta, known).items():
            self.found[key] = _merged(self.found.get(key), value, key)


def _has_own(item: Item) -> bool:
    kind = item.get("type", "message")
    has_long_id = len(str(item.get("call_id", ""))) > LONGEST_ID
    return kind not in _KNOWN or not item.keys() <= _KNOWN[kind] or has_long_id


def _plain(item: Item) -> Item | None:
    known = _KNOWN.get(item.get("type", "message"))
    return None if known is None else {k: value for k, value in item.items() if k in known}


def _unknown(delta: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {k: value for k, value in delta.items() if k not in known and value not in _NOTHING}


_NOTHING: tuple[Any, ...] = (None, "", [], {})


def _merged(before: Any, value: Any, key: str) -> Any:
    """What a field is after another piece. Texts grow, lists by the index of their parts."""
    if before is None:
        return value
    if isinstance(before, dict) and isinstance(value, dict):
        return before | {k: _merged(before.get(k), one, k) for k, one in value.items()}
    if isinstance(before, list) and isinstance(value, list):
        return _merged_lists(before, value)
    if isinstance(before, str) and isinstance(value, str) and key in _IN_PIECES:
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
    """Whether a part of a list continues the last one: OpenRouter's details have an index."""
    if not (isinstance(last, dict) and isinstance(piece, dict)):
        return False
    same_type = last.get("type") == piece.get("type")
    return same_type and "index" in piece and last.get("index") == piece["index"]
