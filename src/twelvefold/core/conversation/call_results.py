"""The results of tool calls by call id, and the items that were removed.

The caller runs its own tools and sends their results with a later run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twelvefold.core.conversation.external_items import convert_items
from twelvefold.core.events import (
    ApprovalAnswered,
    Entry,
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeUnknown,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import THREAD_ID_LENGTH, CallId, call_id
from twelvefold.core.request_options import client_names

RESULT = "function_call_output"
UNKNOWN = "Unknown: this may or may not have happened; do not repeat it, ask the user to find out"
_CALLS = frozenset({"function_call", "mcp_call", "mcp_approval_request"})
_FROM_CALLER = frozenset({RunStarted, ApprovalAnswered, ItemsAdded, ItemRemoved})


@dataclass(slots=True)
class CallResults:
    """The results of the calls of some entries, by call id.

    `client_items` are results from the caller: the (position, index) of an item, and the calls that
    it is the result of. Such an item is sent only after its calls. `removed` are the ids of removed
    items, without prefix and thread.
    """

    outputs: dict[CallId, Any] = field(default_factory=dict)
    client_items: dict[tuple[int, int], list[CallId]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)


def results_of(entries: Iterable[Entry]) -> CallResults:
    """Return the results of the calls in these entries."""
    results = CallResults()
    client = _ClientCalls(results)
    for entry in entries:
        event = entry.event
        if type(event) is ToolSucceeded:
            results.outputs[event.call] = event.result
        elif type(event) is ToolFailed:
            results.outputs[event.call] = event.message
        elif type(event) is OutcomeUnknown:
            results.outputs[event.call] = UNKNOWN
        elif type(event) is ModelReplied:
            if client.tools:
                client.add_calls(entry.position, event)
        elif type(event) in _FROM_CALLER:
            client.add_items(entry.position, event)
    if results.removed:
        _drop_removed(results)
    return results


def calls_of(reply: ModelReplied) -> list[Item]:
    """Return the calls of a reply, in order; none if it was cut off, because they do not run."""
    if reply.ended != "completed":
        return []
    return [item for item in reply.items if item.get("type") == "function_call"]


def is_empty(reply: ModelReplied) -> bool:
    """Return whether a complete reply has neither text nor calls; reasoning does not count."""
    return reply.ended == "completed" and not any(map(_has_content, reply.items))


def _has_content(item: Item) -> bool:
    kind = item.get("type", "message")
    if kind != "message":
        return kind in _CALLS
    content = item.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    return not all(map(is_blank, parts))


def is_blank(part: object) -> bool:
    """Return whether a part of a message or result is an empty text, or no part at all."""
    if not isinstance(part, dict):
        return True
    texts = [part[key] for key in ("text", "refusal") if key in part]
    return bool(texts) and not any(str(text or "").strip() for text in texts)


class _ClientCalls:
    """Matches calls of the caller's tools with the results that it sends.

    `tools` are the names of the caller's tools in the latest run.
    """

    def __init__(self, results: CallResults) -> None:
        self.tools: frozenset[str] = frozenset()
        self._results = results
        self._awaited: dict[str, list[CallId]] = {}

    def add_calls(self, position: int, reply: ModelReplied) -> None:
        calls: dict[str, list[CallId]] = {}
        for index, call in enumerate(calls_of(reply)):
            if call.get("name") in self.tools:
                wire_id = str(call.get("call_id", ""))
                calls.setdefault(wire_id, []).append(call_id(position, index))
        self._awaited |= calls

    def add_items(self, position: int, event: Event) -> None:
        if isinstance(event, RunStarted | ItemsAdded):
            if self._awaited:
                self._add_results(position, event.items)
            if isinstance(event, RunStarted):
                self.tools = client_names(event.options)
        elif isinstance(event, ApprovalAnswered):
            self.tools = self.tools if event.options is None else client_names(event.options)
        elif isinstance(event, ItemRemoved) and not event.item.startswith("mcpr_"):
            # The model does not read requests for approval.
            self._results.removed.add(event.item.partition("_")[2][THREAD_ID_LENGTH:])

    def _add_results(self, position: int, items: Sequence[Item]) -> None:
        with_their_call = {item.get("call_id") for item in items if item.get("type") != RESULT}
        for index, item in enumerate(items):
            wire_id = item.get("call_id", "")
            if item.get("type") != RESULT or wire_id in with_their_call:
                continue
            if calls := self._awaited.pop(wire_id, None):
                output = convert_items([item])[0].get("output", "")
                self._results.client_items[position, index] = calls
                self._results.outputs |= dict.fromkeys(calls, output)


def _drop_removed(results: CallResults) -> None:
    """Drop results of the caller that were removed later."""
    for (position, index), calls in results.client_items.items():
        if f"{position}i{index}" in results.removed:
            for call in calls:
                del results.outputs[call]
