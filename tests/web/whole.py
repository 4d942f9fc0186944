"""Lists of a conversation made from its whole journal, to compare pages with.

Simple and costly: everything is in memory, and each list is made at once.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import cast

import msgspec
from msgspec.structs import replace

from twelvefold.core.conversation.turns import calls_of
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ChildAnswered,
    ChildAsked,
    ChildrenStarted,
    Entry,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    WaitEnded,
    WaitStarted,
)
from twelvefold.core.ids import CallId, RunId, ThreadId, call_id
from twelvefold.core.ports import ThreadRecord
from twelvefold.core.workflow import Workflow
from twelvefold.web.ids import ResponseId, tool_call_id
from twelvefold.web.projection.items import input_items
from twelvefold.web.projection.objects import ResponseView, content_of, shorten_result
from twelvefold.web.projection.parts import split_parts
from twelvefold.web.projection.response import ResponseProjection
from twelvefold.web.schemas.types import Json, ToolItems, ToolOutputs


def kept_of(record: ThreadRecord, deleted: Collection[int]) -> ThreadRecord:
    """The thread without what was deleted."""
    gone = {
        entry.run
        for entry in record.entries
        if isinstance(entry.event, RunStarted)
        and entry.run in deleted
        and not entry.event.options.conversation
    }
    left = [entry for entry in record.entries if entry.run not in gone or _is_put_in(entry)]
    return replace(record, entries=tuple(left))


def _is_put_in(entry: Entry) -> bool:
    return isinstance(entry.event, ItemsAdded | ItemRemoved)


def item_list(
    thread: ThreadId,
    entries: Sequence[Entry],
    *,
    tool_items: ToolItems = "mcp_call",
    tool_outputs: ToolOutputs = "full",
    wanted: str = "",
) -> list[Json]:
    """All items of a conversation, input and output, oldest first, without those taken out.

    `wanted` is how the reader wants the server's calls shown; without it each run's are as its
    caller wanted them, else as `tool_items` says. What a call came to in the end stands where it
    was first shown.
    """
    items: dict[str, Json] = {}
    for stretch in _stretches(entries):
        asked = "" if wanted else _tool_items_of(stretch[0])
        shown = cast("ToolItems", wanted or asked or tool_items)
        for item in _items_of(thread, stretch, shown, tool_outputs):
            items[item["id"]] = item
    for entry in entries:
        if isinstance(entry.event, ItemRemoved):
            items.pop(entry.event.item, None)
    return list(items.values())


def _tool_items_of(first: Entry) -> str:
    return first.event.options.tool_items if isinstance(first.event, RunStarted) else ""


def _stretches(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    """Runs, and what was put in between them, each by itself."""
    stretch: list[Entry] = []
    for entry in entries:
        if isinstance(entry.event, RunStarted | ItemsAdded) and stretch:
            yield stretch
            stretch = []
        if not isinstance(entry.event, ItemRemoved):
            stretch.append(entry)
    if stretch:
        yield stretch


def _items_of(
    thread: ThreadId, stretch: list[Entry], tool_items: ToolItems, tool_outputs: ToolOutputs
) -> Iterable[Json]:
    first = stretch[0]
    if not isinstance(first.event, RunStarted):
        yield from input_items(thread, first)
        return
    view = ResponseView(first.event.workflow, tool_items, tool_outputs, False, first.event)
    for number, part in enumerate(split_parts(stretch)):
        yield from input_items(thread, part[0])
        projection = ResponseProjection(ResponseId(RunId(thread, first.run), number), view)
        for entry in stretch:
            projection.feed(entry)
        yield from projection.response()["output"]


_SECOND_US = 1_000_000
_FROM_OUTSIDE = RunStarted | ItemsAdded | ItemRemoved
"""Nobody was at work before one of these, so nothing took that long."""
_OF_A_CALL = (
    ToolSucceeded
    | ToolFailed
    | ApprovalAsked
    | ApprovalAnswered
    | WaitStarted
    | ChildrenStarted
    | ChildAsked
    | ChildAnswered
    | WaitEnded
    | OutcomeUnknown
    | OutcomeSettled
)


class WholeJournal:
    """The entries of a thread, those included that it had when it was forked."""

    def __init__(self, record: ThreadRecord, workflow: Workflow | None, outputs: ToolOutputs):
        self._record = record
        self._workflow = workflow
        self._outputs = outputs
        self._calls = dict(_calls(record.entries))
        self._responses = dict(_responses(record))

    def page(self, after: int, limit: int) -> Json:
        """So many of the entries behind a position, oldest first."""
        entries = self._record.entries
        before = [None, *entries]
        behind = [(one, two) for one, two in zip(before, entries, strict=False)]
        wanted = [(one, two) for one, two in behind if two.position > after]
        page = [self._shown(entry, earlier) for earlier, entry in wanted[:limit]]
        return {
            "object": "list",
            "data": page,
            "last": page[-1]["position"] if page else after,
            "has_more": len(wanted) > limit,
        }

    def _shown(self, entry: Entry, earlier: Entry | None) -> Json:
        alone = earlier is None or isinstance(entry.event, _FROM_OUTSIDE)
        took_us = 0 if earlier is None else max(entry.at_us - earlier.at_us, 0)
        return {
            "position": entry.position,
            "type": type(entry.event).__name__,
            "run": entry.run,
            "response": self._responses.get(entry.position),
            "inherited": entry.position <= self._record.forked_at,
            "at": entry.at_us / _SECOND_US,
            "took_ms": None if alone else took_us / 1_000,
            **self._told(entry),
        }

    def _told(self, entry: Entry) -> Json:
        match entry.event:
            case RunStarted(items=items, workflow=workflow, release=release):
                return {"model": workflow, "release": release, "items": list(items)}
            case ItemsAdded(items=items):
                return {"items": list(items)}
            case ItemRemoved(item=item):
                return {"item": item}
            case ModelReplied() as reply:
                return _replied(entry.position, reply)
            case RunFinished(status=status, reason=reason, error=error):
                return {"status": status, "reason": reason, "error": error}
            case event:
                return self._of_a_call(event)

    def _of_a_call(self, event: _OF_A_CALL) -> Json:
        call = self._calls.get(event.call, {})
        about = {
            "call": event.call,
            "item": tool_call_id(self._record.id, event.call),
            "tool": call.get("tool"),
            "arguments": call.get("arguments"),
            "effect": self._effect(call.get("tool", "")),
        }
        return about | self._came_of_it(event)

    def _came_of_it(self, event: _OF_A_CALL) -> Json:
        match event:
            case ToolSucceeded(result=result):
                return {"result": shorten_result(result, self._outputs)}
            case ToolFailed(failure=failure, message=message, error=error):
                details = {"failure": failure, "result": shorten_result(message, self._outputs)}
                return details | {"error": msgspec.to_builtins(error)} if error else details
            case ApprovalAnswered(approved=approved, by=by, reason=reason):
                return {"approved": approved, "by": by, "reason": reason}
            case OutcomeSettled(settled=settled, by=by, result=result):
                shown = shorten_result(result, self._outputs)
                return {"settled": settled, "by": by, "result": shown}
            case WaitStarted() | ChildrenStarted() | WaitEnded():
                wait: Json = msgspec.to_builtins(event)
                return wait
            case ChildAsked(tool=tool, arguments=arguments):
                asked: Json = msgspec.to_builtins(event)
                del asked["tool"], asked["arguments"]
                child = {"child_run": asked.pop("run"), "child_tool": tool}
                return asked | child | {"child_arguments": arguments}
            case ChildAnswered(run=run, child_call=child_call, by=by, approved=approved):
                answered: Json = {"child_run": run, "child_call": child_call, "by": by}
                return answered | ({"approved": approved} if event.is_approval else {})
            case _:
                return {}

    def _effect(self, tool: str) -> str | None:
        found = self._workflow.by_name.get(tool) if self._workflow else None
        return found.effect if found else None


def _replied(position: int, reply: ModelReplied) -> Json:
    said = (content_of(item) for item in reply.items if item.get("type") == "message")
    text = (part.get("text") or part.get("refusal") or "" for parts in said for part in parts)
    usage = msgspec.to_builtins(reply.usage) | {"total_tokens": reply.usage.total_tokens}
    return {
        "model": reply.model,
        "usage": usage,
        "text": "\n".join(text),
        "calls": [call for _, call in _calls_of(position, reply)],
    }


def _calls(entries: Sequence[Entry]) -> Iterator[tuple[CallId, Json]]:
    for entry in entries:
        if isinstance(entry.event, ModelReplied):
            yield from _calls_of(entry.position, entry.event)


def _calls_of(position: int, reply: ModelReplied) -> Iterator[tuple[CallId, Json]]:
    for index, item in enumerate(calls_of(reply)):
        id = call_id(position, index)
        yield id, {"id": id, "tool": item.get("name"), "arguments": item.get("arguments")}


def _responses(record: ThreadRecord) -> Iterator[tuple[int, str]]:
    """By position, of which response an entry is; those of another thread are left out."""
    runs: dict[int, list[Entry]] = {}
    for entry in record.entries:
        if entry.position > record.forked_at:
            runs.setdefault(entry.run, []).append(entry)
    for ordinal, entries in runs.items():
        for number, part in enumerate(split_parts(entries)):
            id = ResponseId(RunId(record.id, ordinal), number)
            yield from ((entry.position, str(id)) for entry in part)
