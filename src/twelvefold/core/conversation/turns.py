"""The conversation, turn by turn, as items in the Responses API's shape.

A run is a turn, and so are items that were added between runs. The calls of a reply are followed by
their results, in the order of the calls, even if the caller sent a result with a later run: the
caller runs its own tools.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct, field

from twelvefold.core.conversation.attachments import size_in_window
from twelvefold.core.conversation.sendable import (
    NOT_RUN,
    RESULT,
    convert_items,
    convert_reply,
    is_blank,
)
from twelvefold.core.events import (
    ApprovalAnswered,
    ChildAnswered,
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

CORRECTION = (
    "This is no valid output:\n{problems}\n"
    "Send the whole output again, corrected: JSON alone, without any other text."
)
CHANGED = "A person changed the arguments of this call to {arguments}\nIts result: {result}"
"""The model reads it as the result of a call that was approved with other arguments."""
UNKNOWN = "Unknown: this may or may not have happened; do not repeat it, ask the user to find out"
_CALLS = frozenset({"function_call", "mcp_call", "mcp_approval_request"})
_FROM_CALLER = frozenset({RunStarted, ApprovalAnswered, ChildAnswered, ItemsAdded, ItemRemoved})


class CallResults(Struct):
    """The results of the calls of some entries, by call id.

    `client_items` are results from the caller: the (position, index) of an item, and the calls that
    it is the result of. Such an item is sent only after its calls. `removed` are the ids of removed
    items, without prefix and thread. `has_client_tools`: the caller ran tools of its own.
    """

    outputs: dict[CallId, Any] = field(default_factory=dict)
    client_items: dict[tuple[int, int], list[CallId]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    has_client_tools: bool = False

    @property
    def may_change_earlier_turns(self) -> bool:
        """Whether these or later results may belong to the calls of an earlier turn."""
        return bool(self.client_items or self.removed or self.has_client_tools)


class Turn(Struct, frozen=True):
    """The items of one run, or of one addition between runs.

    `size` is their length in bytes of JSON, as `size_in_window` counts it. `unread` are the indexes
    of results that no reply has followed yet.
    """

    items: tuple[Item, ...]
    size: int
    unread: frozenset[int] = frozenset()


def turns_of(
    entries: Sequence[Entry],
    results: CallResults,
    unread: AbstractSet[CallId] | None = None,
    *,
    with_rejected: bool = False,
) -> tuple[Turn, ...]:
    """Return the turns that these entries hold, with these results of their calls.

    `unread` are the calls whose results the model has not read; None: those without a later reply.
    `with_rejected`: a run has its last invalid output, with a message about the problems. Earlier
    ones are left out, and so are all of a run that is over.
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
            rejected = is_rejected(event)
            if rejected and not with_rejected:
                continue
            if not drafts:
                drafts.append(_Draft([]))
            items = convert_reply(_reply_items(entry.position, event, results))
            if rejected:
                drafts[-1].replace_rejected([*items, _correction(event)])
                continue
            drafts[-1].items += items
            drafts[-1].add_results(_results(entry.position, event, results), unread)
    return tuple(draft.build() for draft in drafts)


class _Draft(Struct):
    """A turn under construction."""

    items: list[Item]
    unread: set[int] = field(default_factory=set)
    rejected: slice = field(default_factory=lambda: slice(0, 0))

    def replace_rejected(self, items: Sequence[Item]) -> None:
        """Add an invalid output in place of an earlier one; the model has read all results."""
        self.unread.clear()
        del self.items[self.rejected]
        self.rejected = slice(len(self.items), len(self.items) + len(items))
        self.items += items

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
        size = size_in_window(self.items) if self.items else 0
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


def results_of(entries: Iterable[Entry]) -> CallResults:
    """Return the results of the calls in these entries."""
    results = CallResults()
    client = _ClientCalls(results)
    changed: dict[CallId, str] = {}
    for entry in entries:
        event = entry.event
        if type(event) is ToolSucceeded:
            results.outputs[event.call] = _result(event.result, changed.get(event.call))
        elif type(event) is ToolFailed:
            results.outputs[event.call] = _result(event.message, changed.get(event.call))
        elif type(event) is OutcomeUnknown:
            results.outputs[event.call] = UNKNOWN
        elif type(event) is ModelReplied:
            if client.tools:
                client.add_calls(entry.position, event)
        elif type(event) in _FROM_CALLER:
            client.add_items(entry.position, event)
            if type(event) is ApprovalAnswered and event.arguments:
                changed[event.call] = event.arguments
    if results.removed:
        _drop_removed(results)
    return results


def _result(text: str, arguments: str | None) -> str:
    return CHANGED.format(arguments=arguments, result=text) if arguments else text


def calls_of(reply: ModelReplied) -> list[Item]:
    """Return the calls of a reply, in order; none if it was cut off, because they do not run."""
    if reply.ended != "completed":
        return []
    return [item for item in reply.items if item.get("type") == "function_call"]


def is_rejected(reply: ModelReplied) -> bool:
    """Return whether a reply would end the run, but is no valid output."""
    return bool(reply.problems) and reply.ended == "completed" and not calls_of(reply)


def _correction(reply: ModelReplied) -> Item:
    """Return the message by which the model learns the problems of its output."""
    problems = "\n".join(f"- {problem}" for problem in reply.problems)
    return {"type": "message", "role": "user", "content": CORRECTION.format(problems=problems)}


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
                self.tools = event.options.client_tool_names
        elif isinstance(event, ApprovalAnswered | ChildAnswered):
            self.tools = self.tools if event.options is None else event.options.client_tool_names
        elif isinstance(event, ItemRemoved) and not event.item.startswith("mcpr_"):
            # The model does not read requests for approval.
            self._results.removed.add(event.item.partition("_")[2][THREAD_ID_LENGTH:])
        self._results.has_client_tools |= bool(self.tools)

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
