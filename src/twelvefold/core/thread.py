"""The state of a thread as a fold of its journal; nothing else is ever consulted.

Knows what has happened, not what to do next: that is `twelvefold.core.decide`. Structs of msgspec,
whose `replace` takes a tenth of the time of a dataclass's: each entry makes another thread.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from twelvefold.core.conversation.call_results import CallResults, answers_of, is_empty
from twelvefold.core.conversation.turns import Turn, turns_of
from twelvefold.core.events import (
    DEFAULT_OPTIONS,
    ApprovalAnswered,
    ApprovalAsked,
    Entry,
    Failure,
    FinalStatus,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    ReplyEnd,
    RequestOptions,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    Usage,
)
from twelvefold.core.ids import CallId, call_id
from twelvefold.core.request_options import client_names

CallState = Literal["open", "asked", "approved", "unknown", "client"]
_AFTER_RUNNING: tuple[Failure, ...] = ("refused", "fault", "settled")
"""How a call may have failed that did reach its tool."""
_AfterStart = (
    ModelReplied
    | ToolSucceeded
    | ToolFailed
    | ApprovalAsked
    | ApprovalAnswered
    | OutcomeUnknown
    | OutcomeSettled
    | RunFinished
    | ItemsAdded
    | ItemRemoved
)


class Call(msgspec.Struct, frozen=True):
    """A tool call that the model asked for and that has no result yet.

    `wire_id` is the model's own name for it, which it may use again in a later reply; `repeated`
    says that it did so within this one. `approved` means that a person has allowed the call, or
    has said that it may be tried again, `client` that it is the caller's to run. `number` counts
    the calls of its reply from 0, without those that are the caller's to run.
    """

    id: CallId
    tool: str
    arguments: str
    wire_id: str
    state: CallState = "open"
    repeated: bool = False
    number: int = 0


class Thread(msgspec.Struct, frozen=True):
    """A conversation and its latest run.

    `size` is the length of all entries in bytes, those of the threads it was forked from included.
    `pending` has the calls that are the caller's to run behind all others. `succeeded` and
    `refused` count by tool over the whole thread, `called` the calls that reached their tool in
    the latest run. `empty_replies` are those in a row that had neither text nor calls.
    `interrupted` is set by whoever takes the run over from a process that did not let go of it,
    until the next event: what that process was doing outside the database is not known.
    """

    past: "History" = msgspec.field(default_factory=lambda: History(()))
    latest: tuple[Entry, ...] = ()
    size: int = 0
    run: int = 0
    status: FinalStatus | Literal["none", "active"] = "none"
    reason: str = ""
    error: str = ""
    principal: str = ""
    workflow: str = ""
    options: RequestOptions = DEFAULT_OPTIONS
    pending: tuple[Call, ...] = ()
    reply_ended: ReplyEnd | None = None
    steps: int = 0
    faults_in_a_row: int = 0
    empty_replies: int = 0
    usage: Usage = Usage()
    succeeded: Mapping[str, int] = {}
    refused: Mapping[str, int] = {}
    called: Mapping[str, int] = {}
    interrupted: bool = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.past.entries + self.latest

    @property
    def head(self) -> int:
        entries = self.latest or self.past.entries
        return entries[-1].position if entries else 0

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation; what the past has of it is made only once."""
        answers = answers_of(self.latest)
        answers.brought |= self.past.answers.brought
        return (*self.past.turns, *turns_of(self.latest, answers))

    @property
    def waits(self) -> bool:
        """Whether a person has to say something before the run can go on."""
        return bool(self.pending) and self.pending[0].state in ("asked", "unknown")

    def after(self, *entries: Entry) -> "Thread":
        """The thread once these have happened too."""
        thread = self
        for entry in entries:
            thread = _applied(thread, entry)
        return replace(thread, interrupted=False) if entries and thread.interrupted else thread


@dataclass(frozen=True)
class History:
    """What happened before the latest run; its conversation is made once and then kept.

    `start` is the first entry of that run: it may bring results that were still missing.
    """

    entries: tuple[Entry, ...]
    start: Entry | None = None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        start = self.start.position if self.start else 0
        brought = (ids for (at, _), ids in self.answers.brought.items() if at == start)
        return turns_of(self.entries, self.answers, {id for ids in brought for id in ids})

    @cached_property
    def answers(self) -> CallResults:
        return answers_of((*self.entries, self.start) if self.start else self.entries)


def fold(entries: Iterable[Entry], *, interrupted: bool = False) -> Thread:
    """The thread that these entries, in order, have made."""
    told = tuple(entries)
    # Of the runs before the latest only the counts matter: folding them whole would make a
    # thread's two-hundredth turn pay for all of its steps again.
    latest = max((i for i, e in enumerate(told) if type(e.event) is RunStarted), default=0)
    past = told[:latest]
    thread = Thread(
        past=History(past),
        size=sum(entry.size for entry in past),
        succeeded=Counter(e.event.tool for e in past if type(e.event) is ToolSucceeded),
        refused=Counter(_refusals(past)),
    )
    for entry in told[latest:]:
        thread = _applied(thread, entry)
    return replace(thread, interrupted=interrupted)


def _refusals(entries: Iterable[Entry]) -> Iterable[str]:
    for entry in entries:
        if isinstance(entry.event, ToolFailed) and entry.event.failure == "refused":
            yield entry.event.tool


def _applied(thread: Thread, entry: Entry) -> Thread:
    if isinstance(entry.event, RunStarted):
        return _started(thread, entry, entry.event)
    told = _told(thread, entry.position, entry.event)
    return replace(told, latest=(*thread.latest, entry), size=thread.size + entry.size)


def _started(thread: Thread, entry: Entry, event: RunStarted) -> Thread:
    return Thread(
        past=History(thread.entries, entry),
        latest=(entry,),
        size=thread.size + entry.size,
        run=entry.run,
        status="active",
        principal=event.principal,
        workflow=event.workflow,
        options=event.options,
        succeeded=thread.succeeded,
        refused=thread.refused,
    )


def _told(thread: Thread, position: int, event: _AfterStart) -> Thread:
    match event:
        case ModelReplied():
            return _replied(thread, position, event)
        case ToolSucceeded():
            return replace(
                _answered(thread, event.call),
                faults_in_a_row=0,
                succeeded=_counted(thread.succeeded, event.tool),
                called=_counted(thread.called, event.tool),
            )
        case ToolFailed():
            return _failed(thread, event)
        case ApprovalAsked():
            return _in_state(thread, event.call, "asked")
        case ApprovalAnswered():
            # Denied, it waits for the ToolFailed behind this entry, and never runs.
            told = _in_state(thread, event.call, "approved" if event.approved else "asked")
            return told if event.options is None else replace(told, options=event.options)
        case OutcomeUnknown():
            return _in_state(thread, event.call, "unknown")
        case OutcomeSettled():
            retry = event.settled == "retry"
            return _in_state(thread, event.call, "approved" if retry else "unknown")
        case RunFinished():
            return replace(
                thread, status=event.status, reason=event.reason, error=event.error, pending=()
            )
        case ItemsAdded() | ItemRemoved():
            return thread
        case _:
            assert_never(event)


def _replied(thread: Thread, position: int, event: ModelReplied) -> Thread:
    asked = [item for item in event.items if item.get("type") == "function_call"]
    wire_ids = [str(item.get("call_id", "")) for item in asked]
    theirs = client_names(thread.options)
    first = {wire_id: index for index, wire_id in reversed([*enumerate(wire_ids)])}
    calls = [
        Call(
            id=call_id(position, index),
            tool=str(item.get("name", "")),
            arguments=str(item.get("arguments", "")),
            wire_id=wire_ids[index],
            state="client" if item.get("name") in theirs else "open",
            repeated=first[wire_ids[index]] < index,
        )
        for index, item in enumerate(asked)
    ]
    if theirs:
        calls.sort(key=_is_the_callers)
    calls = [replace(call, number=number) for number, call in enumerate(calls)]
    return replace(
        thread,
        # Calls of a reply that was cut short may lack half of their arguments: none of them runs.
        pending=tuple(calls) if event.ended == "completed" else (),
        reply_ended=event.ended,
        empty_replies=thread.empty_replies + 1 if is_empty(event) else 0,
        steps=thread.steps + 1,
        usage=thread.usage + event.usage,
    )


def _is_the_callers(call: Call) -> bool:
    return call.state == "client"


def _failed(thread: Thread, event: ToolFailed) -> Thread:
    refused, called = thread.refused, thread.called
    if event.failure == "refused":
        refused = _counted(refused, event.tool)
    if event.failure in _AFTER_RUNNING:
        called = _counted(called, event.tool)
    faults = thread.faults_in_a_row + 1 if event.failure == "fault" else 0
    answered = _answered(thread, event.call)
    return replace(answered, faults_in_a_row=faults, refused=refused, called=called)


def _answered(thread: Thread, call: CallId) -> Thread:
    return replace(
        thread,
        pending=tuple(one for one in thread.pending if one.id != call),
        # All calls answered: the model's word is wanted again.
        reply_ended=None if all(one.id == call for one in thread.pending) else thread.reply_ended,
    )


def _in_state(thread: Thread, call: CallId, state: CallState) -> Thread:
    pending = tuple(replace(one, state=state) if one.id == call else one for one in thread.pending)
    return replace(thread, pending=pending)


def _counted(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}
