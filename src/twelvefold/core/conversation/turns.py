"""What was said and done, turn by turn, as items in the Responses API's shape.

A run is a turn, and so is what was put in between runs. Every call of a reply is followed by its
result, in the order of the calls, even if the caller brought it along only with a later run.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import msgspec

from twelvefold.core.conversation.call_results import RESULT, CallResults, called, is_empty
from twelvefold.core.conversation.external_items import for_model, replied_for_model
from twelvefold.core.conversation.sendable import NOT_RUN
from twelvefold.core.events import (
    Entry,
    Item,
    ItemsAdded,
    ModelReplied,
    RunStarted,
)
from twelvefold.core.ids import CallId, call_id

__all__ = ["NOT_RUN", "RESULT", "Turn", "turns_of"]


@dataclass(frozen=True, slots=True)
class Turn:
    """The items of one run, or of one addition between runs.

    `size` is their length in bytes of JSON. `unread` are the indexes of results that the model has
    not read yet.
    """

    items: tuple[Item, ...]
    size: int
    unread: frozenset[int] = frozenset()


def turns_of(
    entries: Sequence[Entry], answers: CallResults, unread: AbstractSet[CallId] | None = None
) -> tuple[Turn, ...]:
    """The turns that these entries hold, the calls followed by these answers.

    `unread` are the calls whose results the model has not read yet; None: those behind which
    there is no reply.
    """
    drafts: list[_Draft] = []
    for entry in entries:
        event = entry.event
        if type(event) is RunStarted or type(event) is ItemsAdded:
            brought = _brought_along(entry.position, event.items, answers)
            drafts.append(_Draft(list(for_model(brought))))
            if unread is None:
                drafts[-1].leave_last_results_unread()
        elif type(event) is ModelReplied and not is_empty(event):
            if not drafts:
                drafts.append(_Draft([]))
            drafts[-1].items += replied_for_model(_said(entry.position, event, answers))
            drafts[-1].add(_results(entry.position, event, answers), unread)
    return tuple(draft.turn() for draft in drafts)


@dataclass(slots=True)
class _Draft:
    """A turn as it is put together."""

    items: list[Item]
    unread: set[int] = field(default_factory=set)

    def leave_last_results_unread(self) -> None:
        """Mark the results that a caller brought along behind the last words of a model."""
        for index, item in enumerate(self.items):
            if item.get("type") == RESULT:
                self.unread.add(index)
            elif item.get("role") == "assistant" or item.get("type") == "function_call":
                self.unread.clear()

    def add(
        self, results: Iterable[tuple[CallId, Item]], unread: AbstractSet[CallId] | None
    ) -> None:
        self.unread.clear()
        for call, item in results:
            if unread is None or call in unread:
                self.unread.add(len(self.items))
            self.items.append(item)

    def turn(self) -> Turn:
        size = len(msgspec.json.encode(self.items)) if self.items else 0
        return Turn(tuple(self.items), size, frozenset(self.unread))


def _brought_along(position: int, items: Sequence[Item], answers: CallResults) -> Sequence[Item]:
    if not (answers.brought or answers.removed):
        return items
    return [
        item
        for index, item in enumerate(items)
        if (position, index) not in answers.brought and f"{position}i{index}" not in answers.removed
    ]


def _said(position: int, reply: ModelReplied, answers: CallResults) -> Sequence[Item]:
    """A reply's items, of one that was cut short only the words."""
    items = reply.items
    if reply.ended != "completed":
        items = tuple(item for item in items if item.get("type") == "message")
    if not answers.removed:
        return items
    named = zip(items, _names(position, reply, items), strict=True)
    kept = [item for item, name in named if name not in answers.removed]
    if len(kept) == len(items):
        return items
    # Reasoning is refused without what it led to.
    return [item for item in kept if item.get("type") != "reasoning"]


def _names(position: int, reply: ModelReplied, items: Iterable[Item]) -> Iterator[str]:
    """What comes behind the thread in the ids of a reply's items."""
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
    position: int, reply: ModelReplied, answers: CallResults
) -> Iterator[tuple[CallId, Item]]:
    for index, call in enumerate(called(reply)):
        id = call_id(position, index)
        if id not in answers.removed:
            output = answers.outputs.get(id, NOT_RUN)
            yield id, {"type": RESULT, "call_id": call.get("call_id", ""), "output": output}
