"""The conversation, turn by turn, as items in the Responses API's shape.

A run is a turn, and so are items that were added between runs. The calls of a reply are followed by
their results, in the order of the calls, even if the caller sent a result with a later run.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import msgspec

from twelvefold.core.conversation.call_results import RESULT, CallResults, calls_of, is_empty
from twelvefold.core.conversation.external_items import convert_items, convert_reply
from twelvefold.core.conversation.sendable import NOT_RUN
from twelvefold.core.events import Entry, Item, ItemsAdded, ModelReplied, RunStarted
from twelvefold.core.ids import CallId, call_id


@dataclass(frozen=True, slots=True)
class Turn:
    """The items of one run, or of one addition between runs.

    `size` is their length in bytes of JSON. `unread` are the indexes of results that no reply has
    followed yet.
    """

    items: tuple[Item, ...]
    size: int
    unread: frozenset[int] = frozenset()


def turns_of(
    entries: Sequence[Entry], results: CallResults, unread: AbstractSet[CallId] | None = None
) -> tuple[Turn, ...]:
    """Return the turns that these entries hold, with these results of their calls.

    `unread` are the calls whose results the model has not read; None: those without a later reply.
    """
    drafts: list[_Draft] = []
    for entry in entries:
        event = entry.event
        if type(event) is RunStarted or type(event) is ItemsAdded:
            items = _own_items(entry.position, event.items, results)
            drafts.append(_Draft(list(convert_items(items))))
            if unread is None:
                drafts[-1].leave_last_results_unread()
        elif type(event) is ModelReplied and not is_empty(event):
            if not drafts:
                drafts.append(_Draft([]))
            drafts[-1].items += convert_reply(_reply_items(entry.position, event, results))
            drafts[-1].add_results(_results(entry.position, event, results), unread)
    return tuple(draft.build() for draft in drafts)


@dataclass(slots=True)
class _Draft:
    """A turn under construction."""

    items: list[Item]
    unread: set[int] = field(default_factory=set)

    def leave_last_results_unread(self) -> None:
        """Mark the caller's results after the last item of the model as unread."""
        for index, item in enumerate(self.items):
            if item.get("type") == RESULT:
                self.unread.add(index)
            elif item.get("role") == "assistant" or item.get("type") == "function_call":
                self.unread.clear()

    def add_results(
        self, results: Iterable[tuple[CallId, Item]], unread: AbstractSet[CallId] | None
    ) -> None:
        self.unread.clear()
        for call, item in results:
            if unread is None or call in unread:
                self.unread.add(len(self.items))
            self.items.append(item)

    def build(self) -> Turn:
        size = len(msgspec.json.encode(self.items)) if self.items else 0
        return Turn(tuple(self.items), size, frozenset(self.unread))


def _own_items(position: int, items: Sequence[Item], results: CallResults) -> Sequence[Item]:
    if not (results.client_items or results.removed):
        return items
    return [
        item
        for index, item in enumerate(items)
        if (position, index) not in results.client_items
        and f"{position}i{index}" not in results.removed
    ]


def _reply_items(position: int, reply: ModelReplied, results: CallResults) -> Sequence[Item]:
    """Return a reply's items; of a reply that was cut off only the messages."""
    items = reply.items
    if reply.ended != "completed":
        items = tuple(item for item in items if item.get("type") == "message")
    if not results.removed:
        return items
    named = zip(items, _names(position, reply, items), strict=True)
    kept = [item for item, name in named if name not in results.removed]
    if len(kept) == len(items):
        return items
    # OpenAI refuses reasoning without the item that it led to.
    return [item for item in kept if item.get("type") != "reasoning"]


def _names(position: int, reply: ModelReplied, items: Iterable[Item]) -> Iterator[str]:
    """Yield the part of each item's id that follows the thread."""
    messages = calls = 0
    for item in items:
        if item.get("type") == "function_call":
            yield call_id(position, calls)
            calls += 1
        elif item.get("type") == "message":
            further = f"_{messages}" if messages else ""
            yield f"{position}x{reply.first_delta}" if reply.first_delta else f"{position}{further}"
            messages += 1
        else:
            yield ""


def _results(
    position: int, reply: ModelReplied, results: CallResults
) -> Iterator[tuple[CallId, Item]]:
    for index, call in enumerate(calls_of(reply)):
        id = call_id(position, index)
        if id not in results.removed:
            output = results.outputs.get(id, NOT_RUN)
            yield id, {"type": RESULT, "call_id": call.get("call_id", ""), "output": output}
