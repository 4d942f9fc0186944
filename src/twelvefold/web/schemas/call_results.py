"""The function calls and results of a request, compared with those that the conversation has.

Some clients send every earlier result again with each turn, and with a result the message that led
to its call. What is repeated is dropped; a result without a call is refused, and so is a call
without a result: no model takes one without the other.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from twelvefold.core.conversation.call_results import called
from twelvefold.core.events import (
    ApprovalAnswered,
    Entry,
    Item,
    ItemsAdded,
    ModelReplied,
    OutcomeUnknown,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, call_id
from twelvefold.core.request_options import client_names
from twelvefold.web.http.errors import abbreviate, raise_invalid
from twelvefold.web.ids import parse_own_call_id
from twelvefold.web.schemas.items import RESULT

_Call = tuple[str, str, str]
"""A call as it goes over the wire: its id, name and arguments."""


@dataclass(frozen=True, slots=True)
class CallHistory:
    """The calls of a conversation so far.

    `awaited` and `answered` have the ids that the model gave them; `awaited` are the caller's to
    answer. `run_here` are the answered calls of the server's own tools, `made` all calls, and
    `said` the digests of the messages that led to the awaited ones.
    """

    awaited: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    run_here: frozenset[CallId] = frozenset()
    made: frozenset[_Call] = frozenset()
    said: frozenset[bytes] = frozenset()

    def has_answered(self, id: str) -> bool:
        """Whether the conversation has a result for the call with this id."""
        return id in self.answered or parse_own_call_id(id) in self.run_here


NO_CALLS = CallHistory()


def call_history(entries: Iterable[Entry]) -> CallHistory:
    """The calls that these entries hold, and which of them have a result."""
    builder = CallHistoryBuilder()
    for entry in entries:
        builder.add(entry)
    return builder.history()


def brings_calls(items: Iterable[Item]) -> bool:
    """Whether there are calls or results among items: only those are compared with what was."""
    return any(item["type"] in (RESULT, "function_call") for item in items)


class CallHistoryBuilder:
    """Collects the calls of a conversation from its entries, one by one."""

    def __init__(self) -> None:
        self.awaited: set[str] = set()
        self.answered: set[str] = set()
        self.run_here: set[CallId] = set()
        self.made: set[_Call] = set()
        self.said: set[bytes] = set()
        self._theirs: frozenset[str] = frozenset()
        self._wire_ids: dict[CallId, str] = {}

    def history(self) -> CallHistory:
        return CallHistory(
            frozenset(self.awaited),
            frozenset(self.answered),
            frozenset(self.run_here),
            frozenset(self.made),
            frozenset(self.said),
        )

    def add(self, entry: Entry) -> None:
        match entry.event:
            case RunStarted(items=items, options=options):
                self._bring(items)
                self._theirs = client_names(options)
            case ItemsAdded(items=items):
                self._bring(items)
            case ApprovalAnswered(options=options) if options is not None:
                self._theirs = client_names(options)
            case ModelReplied() as reply:
                self._reply(entry.position, reply)
            case ToolSucceeded(call=call) | ToolFailed(call=call) | OutcomeUnknown(call=call):
                self.run_here.add(call)
                self.answered |= {self._wire_ids[call]} if call in self._wire_ids else set()
            case _:
                pass

    def _bring(self, items: Sequence[Item]) -> None:
        self.made |= {_call(item) for item in items if item.get("type") == "function_call"}
        results = {str(item.get("call_id")) for item in items if item.get("type") == RESULT}
        if not results & self.awaited:
            self.said.clear()
        self.said |= {_message(item) for item in items if item.get("type") == "message"}
        self.answered |= results
        self.awaited -= results

    def _reply(self, position: int, reply: ModelReplied) -> None:
        for index, call in enumerate(called(reply)):
            wire_id = str(call.get("call_id", ""))
            self.made.add(_call(call))
            if call.get("name") in self._theirs:
                # A model may use an id again: then the later call is the one without a result.
                self.awaited.add(wire_id)
                self.answered.discard(wire_id)
            else:
                self._wire_ids[call_id(position, index)] = wire_id


def _call(item: Item) -> _Call:
    return str(item.get("call_id")), str(item.get("name")), str(item.get("arguments"))


def _message(item: Item) -> bytes:
    """What a message is known by: the digest is kept as long as a turn begins, and is short."""
    said = msgspec.json.encode([item.get("role"), item.get("content")], order="sorted")
    return sha256(said).digest()


def without_repeats(
    items: Sequence[Item],
    history: CallHistory = NO_CALLS,
    *,
    at: str = "input",
    params: Sequence[str] = (),
) -> tuple[Item, ...]:
    """The items without what is repeated of the conversation or of the request itself.

    `at` names the items in a refusal, `params` each of their call ids. Raises ApiError.
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
                _settle(id, without_result, awaited)
        elif id not in known and not history.has_answered(id):
            param = params[index] if params else f"{at}[{index}].call_id"
            raise_invalid(f"no call {abbreviate(id)} waits for a result", param, "invalid_call_id")
    if missing := +without_result:
        message = f"no result for the call {abbreviate(min(missing))} comes with it"
        raise_invalid(message, at, "invalid_call_id")
    return tuple(new)


def _new_messages(items: Sequence[Item], history: CallHistory) -> Iterable[tuple[int, Item]]:
    """The items by their index, without messages that led to a call whose result they bring."""
    brought = (n for n, item in enumerate(items) if item.get("call_id") in history.awaited)
    behind = next(brought, 0)
    for index, item in enumerate(items):
        repeated = index < behind and item["type"] == "message" and _message(item) in history.said
        if not repeated:
            yield index, item


def _new_calls(
    items: Iterable[tuple[int, Item]], history: CallHistory
) -> Iterable[tuple[int, Item]]:
    """The items without calls that were made before."""
    repeated = set(history.made)
    for index, item in items:
        if item["type"] == "function_call":
            run_here = parse_own_call_id(item["call_id"]) in history.run_here
            if run_here or _call(item) in repeated:
                continue
            repeated.add(_call(item))
        elif item["type"] == RESULT:
            # Behind its result the same call may come again, as another one.
            repeated -= {call for call in repeated - history.made if call[0] == item["call_id"]}
        yield index, item


def _settle(id: str, without_result: Counter[str], awaited: set[str]) -> None:
    if without_result[id]:
        without_result[id] -= 1
    else:
        awaited.discard(id)
