"""Builders of events, entries and threads, which keep tests short.

    thread_of(asked("enrol me"), called("enrol", id="c1"), succeeded("2.0"))

The id of a call is the position of its reply and its index in the reply: `2.0` is the first call
of the second entry.
"""

import json
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from twelvefold.core.events import (
    DEFAULT_OPTIONS,
    ApprovalAnswered,
    ApprovalAsked,
    Entry,
    Event,
    Failure,
    FinalStatus,
    Item,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    ReplyEnd,
    RequestOptions,
    RunFinished,
    RunStarted,
    Settlement,
    ToolFailed,
    ToolSucceeded,
    Usage,
    encode,
    size_of,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import Release
from twelvefold.core.thread import Call, Thread, fold
from twelvefold.services.store.migrate import HEAD

SPENT = Usage(input_tokens=100, output_tokens=10)
HASH = "ab" * 32


def entries(*events: Event) -> tuple[Entry, ...]:
    """Return the entries of a journal with these events; each RunStarted starts a run."""
    return tuple(_numbered(events))


def _numbered(events: Iterable[Event]) -> Iterable[Entry]:
    run = 0
    for position, event in enumerate(events, start=1):
        run += isinstance(event, RunStarted)
        yield Entry(position, run, event, size=size_of(encode(event)[2]))


def thread_of(*events: Event, interrupted: bool = False) -> Thread:
    return fold(entries(*events), interrupted=interrupted)


def user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": text}


def assistant(text: str) -> Item:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "content": content}


def function_call(tool: str, id: str = "c1", arguments: str = "{}") -> Item:
    return {"type": "function_call", "call_id": id, "name": tool, "arguments": arguments}


def output(id: str, text: str) -> Item:
    return {"type": "function_call_output", "call_id": id, "output": text}


def asked(
    text: str = "enrol me", *more: Item, principal: str = "ann", **options: Any
) -> RunStarted:
    """Return the start of a run with a user message, more items, and these request options."""
    return RunStarted(
        (user(text), *more),
        principal,
        "academy",
        "1.0",
        RequestOptions(**options) if options else DEFAULT_OPTIONS,
    )


def own_tool(name: str, **more: Any) -> Item:
    """Return a tool of the caller as a request has it."""
    return {"type": "function", "name": name, **more}


def added(*items: Item) -> ItemsAdded:
    return ItemsAdded(items)


def removed(item: str, prefix: str = "msg") -> ItemRemoved:
    """Return the removal of an item; `item` is the part of its id after the thread."""
    return ItemRemoved(f"{prefix}_{'0' * 44}{item}")


def replied(*items: Item, ended: ReplyEnd = "completed", usage: Usage = SPENT) -> ModelReplied:
    return ModelReplied(items, usage, "m-1", HASH, ended)


def said(text: str = "You are in.") -> ModelReplied:
    return replied(assistant(text))


def called(*tools: str, id: str = "c1", **arguments: Any) -> ModelReplied:
    """Return a reply that calls these tools; the second has the call id `id`-2, and so on."""
    ids = [id, *(f"{id}-{number}" for number in range(2, len(tools) + 1))]
    written = json.dumps(arguments)
    return replied(*map(function_call, tools, ids, [written] * len(tools)))


def succeeded(call: str = "2.0", tool: str = "enrol", result: str = "done") -> ToolSucceeded:
    return ToolSucceeded(CallId(call), tool, result)


def failed(
    call: str = "2.0", tool: str = "enrol", failure: Failure = "fault", message: str = "Error: no"
) -> ToolFailed:
    return ToolFailed(CallId(call), tool, failure, message)


def refused(call: str = "2.0", tool: str = "enrol") -> ToolFailed:
    return failed(call, tool, "refused")


def approval_asked(call: str = "2.0", tool: str = "enrol") -> ApprovalAsked:
    return ApprovalAsked(CallId(call), tool)


def allowed(call: str = "2.0", options: RequestOptions | None = None) -> ApprovalAnswered:
    return ApprovalAnswered(CallId(call), approved=True, by="bob", options=options)


def denied(call: str = "2.0") -> ApprovalAnswered:
    return ApprovalAnswered(CallId(call), approved=False, by="bob", reason="too dear")


def outcome_unknown(call: str = "2.0", tool: str = "enrol") -> OutcomeUnknown:
    return OutcomeUnknown(CallId(call), tool)


def settled(call: str = "2.0", how: Settlement = "retry") -> OutcomeSettled:
    return OutcomeSettled(CallId(call), how, by="bob")


def finished(status: FinalStatus = "completed", reason: str = "") -> RunFinished:
    return RunFinished(status, reason)


def open_call(
    tool: str, *, id: str = "2.0", wire_id: str = "c1", arguments: str = "{}", number: int = 0
) -> Call:
    return Call(CallId(id), tool, arguments, wire_id, number=number)


def untimed(event: Event) -> Event:
    """Return an event without its duration, which a test cannot know."""
    return replace(event, took_us=0) if hasattr(event, "took_us") else event


def finished_release() -> Release:
    """Return the record of a release beside which no older one works: it opens the gate."""
    return Release("test", "1.0", "", HEAD, HEAD)
