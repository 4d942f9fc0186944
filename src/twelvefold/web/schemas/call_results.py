"""Compares the function calls and results of a request with those of the conversation.

Some clients send every earlier result again with each turn, and with a result the message that led
to its call. Repeated items are dropped. A result without a call is invalid, and so is a call
without a result: no model accepts one without the other.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from twelvefold.core import CallId, Item
from twelvefold.web.http import abbreviate, raise_invalid
from twelvefold.web.ids import parse_own_call_id
from twelvefold.web.schemas.items import CALL_ITEMS, RESULT

Call = tuple[str, str, str]
"""Id, name and arguments of a call in the API."""


@dataclass(frozen=True, slots=True)
class CallHistory:
    """The calls of a conversation so far.

    `awaited` and `answered` are ids of the model; the caller has to answer the awaited ones.
    `run_here` are the answered calls of the server's own tools, `calls` all calls, and
    `messages` the digests of the messages that led to the awaited ones.
    """

    awaited: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    run_here: frozenset[CallId] = frozenset()
    calls: frozenset[Call] = frozenset()
    messages: frozenset[bytes] = frozenset()

    def has_answered(self, id: str) -> bool:
        """Return whether the conversation has a result for the call with this id."""
        return id in self.answered or parse_own_call_id(id) in self.run_here


NO_CALLS = CallHistory()


def brings_calls(items: Iterable[Item]) -> bool:
    """Return whether items need the conversation's calls: whether a call or a result is in them."""
    return any(item["type"] in CALL_ITEMS for item in items)


def call_of(item: Item) -> Call:
    """Return the id, name and arguments of a `function_call` item."""
    return str(item.get("call_id")), str(item.get("name")), str(item.get("arguments"))


def message_digest(item: Item) -> bytes:
    """Return a digest of a message: the history keeps many of them while a turn starts."""
    message = msgspec.json.encode([item.get("role"), item.get("content")], order="sorted")
    return sha256(message).digest()


def without_repeats(
    items: Sequence[Item],
    history: CallHistory = NO_CALLS,
    *,
    at: str = "input",
    params: Sequence[str] = (),
) -> tuple[Item, ...]:
    """Return the items without those that repeat the conversation or the request itself.

    `at` is the parameter of the items, `params` that of each call id. Raises ApiError.
    """
    kept = list(_new_calls(_new_messages(items, history), history))
    without_result = Counter(i["call_id"] for _, i in kept if i["type"] == "function_call")
    known = without_result.keys() | history.awaited
    awaited = set(history.awaited)
    new: list[Item] = []
    for index, item in kept:
        id = item.get("call_id", "")
        if item["type"] != RESULT or without_result[id] or id in awaited:
            new.append(item)
            if item["type"] == RESULT:
                _mark_answered(id, without_result, awaited)
        elif id not in known and not history.has_answered(id):
            param = params[index] if params else f"{at}[{index}].call_id"
            raise_invalid(f"no call {abbreviate(id)} waits for a result", param, "invalid_call_id")
    if missing := +without_result:
        message = f"the call {abbreviate(min(missing))} has no result in the request"
        raise_invalid(message, at, "invalid_call_id")
    return tuple(new)


def _new_messages(items: Sequence[Item], history: CallHistory) -> Iterable[tuple[int, Item]]:
    """Yield the items by index, without messages that led to a call whose result is among them."""
    results = (n for n, item in enumerate(items) if item.get("call_id") in history.awaited)
    first_result = next(results, 0)
    for index, item in enumerate(items):
        before = index < first_result and item["type"] == "message"
        if not before or message_digest(item) not in history.messages:
            yield index, item


def _new_calls(
    items: Iterable[tuple[int, Item]], history: CallHistory
) -> Iterable[tuple[int, Item]]:
    """Yield the items without calls that the conversation or an earlier item has."""
    repeated = set(history.calls)
    for index, item in items:
        if item["type"] == "function_call":
            run_here = parse_own_call_id(item["call_id"]) in history.run_here
            if run_here or call_of(item) in repeated:
                continue
            repeated.add(call_of(item))
        elif item["type"] == RESULT:
            # After its result the same call is another one.
            repeated -= {call for call in repeated - history.calls if call[0] == item["call_id"]}
        yield index, item


def _mark_answered(id: str, without_result: Counter[str], awaited: set[str]) -> None:
    if without_result[id]:
        without_result[id] -= 1
    else:
        awaited.discard(id)
