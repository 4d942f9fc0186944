"""What was said and done, turn by turn, as items in the Responses API's shape.

A run is a turn, and so is what was put in between runs. Every call of a reply is followed by its
result, in the order of the calls, even if the caller brought it along only with a later run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from twelvefold.core.answers import RESULT, Answers, called
from twelvefold.core.events import (
    PLAIN,
    ApprovalAnswered,
    Entry,
    Item,
    ItemsAdded,
    ModelReplied,
    RunStarted,
)
from twelvefold.core.foreign import for_model, replied_for_model
from twelvefold.core.ids import call_id

__all__ = ["NOT_RUN", "RESULT", "Turn", "turns_of"]

NOT_RUN = "Error: not run, because the turn ended before"


@dataclass(frozen=True, slots=True)
class Turn:
    """The items of one run, or of one addition between runs.

    `size` is in bytes of JSON. The last `unread` items are results that are news to the model.
    Of the size, `words` are what the caller said.
    """

    items: tuple[Item, ...]
    size: int
    unread: int = 0
    words: int = 0


def turns_of(entries: Sequence[Entry], answers: Answers) -> tuple[Turn, ...]:
    """The turns that these entries hold, the calls followed by these answers."""
    turns: list[Turn] = []
    items: list[Item] = []
    size = unread = words = 0
    for entry in entries:
        event = entry.event
        if type(event) is RunStarted or type(event) is ItemsAdded:
            if size:
                turns.append(Turn(tuple(items), size, unread, words))
            items = list(for_model(_brought_along(entry.position, event.items, answers)))
            size, unread = -_unsaid(event), 0
            words = size + entry.size
        elif type(event) is ModelReplied:
            results = _results(entry.position, event, answers)
            items += replied_for_model(_said(entry.position, event, answers))
            items += results
            unread = len(results)
        elif type(event) is ApprovalAnswered:
            size -= _unsaid(event)
        size += entry.size
    return (*turns, Turn(tuple(items), size, unread, words)) if size else tuple(turns)


def _unsaid(event: RunStarted | ItemsAdded | ApprovalAnswered) -> int:
    """How much of an entry is no part of the conversation: a caller's tools may be long."""
    if isinstance(event, ItemsAdded) or event.asked is None or event.asked is PLAIN:
        return 0
    return len(msgspec.json.encode(event.asked))


def _brought_along(position: int, items: Sequence[Item], answers: Answers) -> Sequence[Item]:
    if not (answers.brought or answers.removed):
        return items
    return [
        item
        for index, item in enumerate(items)
        if (position, index) not in answers.brought and f"{position}i{index}" not in answers.removed
    ]


def _said(position: int, reply: ModelReplied, answers: Answers) -> Sequence[Item]:
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


def _results(position: int, reply: ModelReplied, answers: Answers) -> list[Item]:
    results: list[Item] = []
    for index, call in enumerate(called(reply)):
        id = call_id(position, index)
        if id not in answers.removed:
            output = answers.outputs.get(id, NOT_RUN)
            results.append({"type": RESULT, "call_id": call.get("call_id", ""), "output": output})
    return results
