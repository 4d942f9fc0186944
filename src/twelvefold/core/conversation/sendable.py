"""A conversation as a strict server takes it: what came is in the journal, this is what is sent.

Arguments are JSON objects, names and call ids are valid, a call id occurs once, each call has one
result right behind it, and nothing is empty. Whose turn it is, is left to the two APIs.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from twelvefold.core.conversation.call_results import RESULT, is_blank
from twelvefold.core.events import Item

NOT_RUN = "Error: not run, because the turn ended before"
NO_RESULT = "(no result)"
NO_TEXT = "(empty message)"
"""What a user said that said nothing: the turn must not be lost."""
RAW = "_raw"
"""The key under which the model reads again what it wrote in place of an object."""
MOST_LEVELS = 64
"""Servers stop at 100 (llama.cpp's grammar), 128 (serde) or 500 levels of nested JSON."""
LONGEST = 64
"""Characters of a name. Source: the Responses API's `tools[].name`."""
_SHORT = 1_000
_OTHER = re.compile(r"[^a-zA-Z0-9_-]")
_CALL_ID = re.compile(r"[!-~]+")
"""Of any length: Kimi reads its ids again, and some proxies put a thought signature into them."""
_NOT_OF_AN_ID = re.compile(r"[^!-~]")


def sendable(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items of a whole conversation, as they go into a request."""
    sent: list[Item] = []
    block: list[Item | _Call] = []
    for one in _matched(items):
        if isinstance(one, _Call) or (one is not None and _is_the_models(one)):
            block.append(one)
            continue
        if block:
            sent += _whole(block)
            block = []
        if one is not None:
            sent.append(one)
    return (*sent, *_whole(block))


def object_text(arguments: object) -> str:
    """The arguments of a call as the text of a JSON object, the very text where it is one."""
    text = arguments if isinstance(arguments, str) else _dumped(arguments)
    return _written_anew(text) if len(text) > _SHORT else _short_object_text(text)


@lru_cache(maxsize=2048)
def _short_object_text(text: str) -> str:
    # The same calls are sent with each request of a conversation.
    return _written_anew(text)


def _written_anew(text: str) -> str:
    if text == "{}" or not text.strip():
        return "{}"
    if _levels(text) <= MOST_LEVELS and (found := _object_in(text)) is not None:
        return found
    return json.dumps({RAW: text}, ensure_ascii=False)


def name_for(name: object) -> str:
    """A valid name for a tool that the model called by this one."""
    return _OTHER.sub("_", str(name or ""))[:LONGEST] or "unknown"


@dataclass(slots=True)
class _Call:
    """A call under the id that it is sent with, and its result once that is found."""

    item: Item
    id: str
    output: object = NOT_RUN

    def sent(self) -> Item:
        name, arguments = self.item.get("name"), self.item.get("arguments")
        return {
            **self.item,
            "call_id": self.id,
            "name": name_for(name),
            "arguments": object_text(arguments),
        }

    def result(self) -> Item:
        return {"type": RESULT, "call_id": self.id, "output": _output(self.output)}


def _matched(items: Iterable[Item]) -> list[Item | _Call | None]:
    """The items with each result in its call; None is where a result was."""
    found: list[Item | _Call | None] = []
    ids = _Ids()
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
        elif (message := _message(item)) is not None:
            found.append(message)
    return found


class _Ids:
    """The call ids of a conversation, each taken once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._number: dict[str, int] = {}

    def take(self, wire_id: str) -> str:
        """The id itself where it is valid and free, else one that is made of it."""
        valid = wire_id
        if not _CALL_ID.fullmatch(wire_id):
            valid = _NOT_OF_AN_ID.sub("_", wire_id) or "call"
        free, number = valid, self._number.get(valid, 1)
        while free in self._taken:
            number += 1
            free = f"{valid}_{number}"
        self._number[valid] = number
        self._taken.add(free)
        return free


def _is_the_models(item: Item) -> bool:
    return item.get("role") == "assistant" or item.get("type", "message") != "message"


def _whole(block: list[Item | _Call]) -> Iterator[Item]:
    """What the model said in one go, then the results of its calls."""
    if len(block) == 1 and not isinstance(block[0], _Call):
        yield block[0]
        return
    calls = [one for one in block if isinstance(one, _Call)]
    for one in _in_order(block):
        yield one.sent() if isinstance(one, _Call) else one
    for call in calls:
        yield call.result()


def _in_order(block: list[Item | _Call]) -> Iterator[Item | _Call]:
    """The block with its messages before its calls.

    Reasoning stays in front of what it led to: OpenAI refuses the one without the other.
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


def _message(item: Item) -> Item | None:
    """The message without parts that say nothing; None if nothing is left of it."""
    content = item.get("content")
    if isinstance(content, str):
        if content.strip():
            return item
    elif kept := [part for part in content or () if not is_blank(part)]:
        return item if len(kept) == len(content or ()) else {**item, "content": kept}
    return {**item, "content": NO_TEXT} if item.get("role") == "user" else None


def _output(output: object) -> str | list[Any]:
    if isinstance(output, list):
        return [part for part in output if not is_blank(part)] or NO_RESULT
    text = output if isinstance(output, str) else _dumped(output)
    return text if text.strip() else NO_RESULT


def _dumped(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _levels(text: str) -> int:
    """How deep the JSON is, or somewhat more where there are brackets in its texts."""
    if text.count("{") + text.count("[") <= MOST_LEVELS:
        return 0
    level = deepest = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[][{}]', text):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    return deepest


def _object_in(text: str) -> str | None:
    """The text if it is a JSON object; written anew if a key is in it twice; None if it is none."""
    try:
        # Stricter than json: no NaN, no half of a surrogate pair.
        if not isinstance(msgspec.json.decode(text), dict):
            return None
        value = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    return text if _has_each_key_once(value) else json.dumps(value, ensure_ascii=False)


class _Object(dict[str, Any]):
    """An object as it was read; `twice`: it had a key in it more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = len(pairs) != len(self)


def _has_each_key_once(value: object) -> bool:
    if isinstance(value, _Object):
        return not value.twice and all(map(_has_each_key_once, value.values()))
    return not isinstance(value, list) or all(map(_has_each_key_once, value))
