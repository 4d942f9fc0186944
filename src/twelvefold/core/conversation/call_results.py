"""What came of every call, and what was taken out of a conversation again.

A tool of the caller's own is answered by what the caller brings along with a later run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twelvefold.core.conversation.external_items import for_model
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
_OF_THE_CALLER = frozenset({RunStarted, ApprovalAnswered, ItemsAdded, ItemRemoved})


@dataclass(slots=True)
class CallResults:
    """What some entries say about their calls.

    `brought` has the items, by (position, index), that a caller brought along as the result of
    calls that were the caller's to run: they stand behind those, and nowhere else. `removed` are
    the ids of items without their prefix and thread.
    """

    outputs: dict[CallId, Any] = field(default_factory=dict)
    brought: dict[tuple[int, int], list[CallId]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)


def answers_of(entries: Iterable[Entry]) -> CallResults:
    """What the entries say about their calls."""
    answers = CallResults()
    caller = _Caller(answers)
    for entry in entries:
        event = entry.event
        if type(event) is ToolSucceeded:
            answers.outputs[event.call] = event.result
        elif type(event) is ToolFailed:
            answers.outputs[event.call] = event.message
        elif type(event) is OutcomeUnknown:
            answers.outputs[event.call] = UNKNOWN
        elif type(event) is ModelReplied:
            if caller.tools:
                caller.is_asked(entry.position, event)
        elif type(event) in _OF_THE_CALLER:
            caller.speaks(entry.position, event)
    if answers.removed:
        _forget(answers)
    return answers


def called(reply: ModelReplied) -> list[Item]:
    """The calls of a reply, in order."""
    if reply.ended != "completed":
        # They were never run, and half a call is not JSON.
        return []
    return [item for item in reply.items if item.get("type") == "function_call"]


def is_empty(reply: ModelReplied) -> bool:
    """Whether a whole reply has neither text nor calls in it: reasoning alone is no answer."""
    return reply.ended == "completed" and not any(map(_says_something, reply.items))


def _says_something(item: Item) -> bool:
    kind = item.get("type", "message")
    if kind != "message":
        return kind in _CALLS
    content = item.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    return not all(map(is_blank, parts))


def is_blank(part: object) -> bool:
    """Whether a part of a message or result is a text with nothing in it, or no part at all."""
    if not isinstance(part, dict):
        return True
    texts = [part[key] for key in ("text", "refusal") if key in part]
    return bool(texts) and not any(str(text or "").strip() for text in texts)


class _Caller:
    """What a caller is asked for and brings along; `tools` are its own in the latest run."""

    def __init__(self, answers: CallResults) -> None:
        self.tools: frozenset[str] = frozenset()
        self._answers = answers
        self._awaited: dict[str, list[CallId]] = {}

    def is_asked(self, position: int, reply: ModelReplied) -> None:
        calls: dict[str, list[CallId]] = {}
        for index, call in enumerate(called(reply)):
            if call.get("name") in self.tools:
                wire_id = str(call.get("call_id", ""))
                calls.setdefault(wire_id, []).append(call_id(position, index))
        self._awaited |= calls

    def speaks(self, position: int, event: Event) -> None:
        if isinstance(event, RunStarted | ItemsAdded):
            if self._awaited:
                self._brings(position, event.items)
            if isinstance(event, RunStarted):
                self.tools = client_names(event.options)
        elif isinstance(event, ApprovalAnswered):
            self.tools = self.tools if event.options is None else client_names(event.options)
        elif isinstance(event, ItemRemoved) and not event.item.startswith("mcpr_"):
            # A request for approval is no part of what the model reads.
            self._answers.removed.add(event.item.partition("_")[2][THREAD_ID_LENGTH:])

    def _brings(self, position: int, items: Sequence[Item]) -> None:
        with_their_call = {item.get("call_id") for item in items if item.get("type") != RESULT}
        for index, item in enumerate(items):
            wire_id = item.get("call_id", "")
            if item.get("type") != RESULT or wire_id in with_their_call:
                continue
            if calls := self._awaited.pop(wire_id, None):
                output = for_model([item])[0].get("output", "")
                self._answers.brought[position, index] = calls
                self._answers.outputs |= dict.fromkeys(calls, output)


def _forget(answers: CallResults) -> None:
    """Drop results that the caller brought along and then took out again."""
    for (position, index), calls in answers.brought.items():
        if f"{position}i{index}" in answers.removed:
            for call in calls:
                del answers.outputs[call]
