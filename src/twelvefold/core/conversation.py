"""What was said and done, turn by turn, as items in the Responses API's shape.

A run is a turn. Every call of a reply is followed by its result, in the order of the calls.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twelvefold.core.events import (
    Entry,
    Item,
    ModelReplied,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, call_id

RESULT = "function_call_output"
NOT_RUN = "Error: not run, because the turn ended before"


@dataclass(frozen=True, slots=True)
class Turn:
    """The items of one run.

    `size` is in characters of JSON. The last `unread` results are news to the model.
    """

    items: tuple[Item, ...]
    size: int
    unread: int = 0


def turns_of(entries: Sequence[Entry]) -> tuple[Turn, ...]:
    """The turns that these entries hold; the first is the one of a run's start."""
    outputs = dict(_outputs(entries))
    turns: list[Turn] = []
    items: list[Item] = []
    size = unread = 0
    for entry in entries:
        event = entry.event
        if type(event) is RunStarted:
            if size:
                turns.append(Turn(tuple(items), size, unread))
            items, size, unread = list(event.items), 0, 0
        elif type(event) is ModelReplied:
            results = list(_results(entry.position, event, outputs))
            items += [*_said(event), *results]
            unread = len(results)
        size += entry.size
    return (*turns, Turn(tuple(items), size, unread)) if size else tuple(turns)


def _outputs(entries: Iterable[Entry]) -> Iterable[tuple[CallId, str]]:
    for entry in entries:
        event = entry.event
        if type(event) is ToolSucceeded:
            yield event.call, event.result
        elif type(event) is ToolFailed:
            yield event.call, event.message


def _said(reply: ModelReplied) -> Iterable[Item]:
    if reply.ended == "completed":
        return reply.items
    # The calls of a reply that was cut short were never run, and half a call is not JSON.
    return [item for item in reply.items if item.get("type") == "message"]


def _results(position: int, reply: ModelReplied, outputs: dict[CallId, str]) -> Iterable[Item]:
    if reply.ended != "completed":
        return
    calls = (item for item in reply.items if item.get("type") == "function_call")
    for index, call in enumerate(calls):
        output = outputs.get(call_id(position, index), NOT_RUN)
        yield {"type": RESULT, "call_id": call.get("call_id", ""), "output": output}
