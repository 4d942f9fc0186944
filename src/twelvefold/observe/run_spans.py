"""The spans of a run, made from its journal entries alone.

The same entries make the same spans, with the same ids and times, in whichever process. A span is
complete with the entry that ends its step. No text of the run is in a span unless `content` is on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

from twelvefold.core import (
    ApprovalAnswered,
    ApprovalAsked,
    CallId,
    ChildrenStarted,
    Entry,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitEnded,
    WaitStarted,
)
from twelvefold.core.ids import call_id
from twelvefold.core.trace_ids import RunTrace, call_span, gap_span, reply_span, wait_span
from twelvefold.observe import gen_ai
from twelvefold.observe.span_attributes import (
    Attributes,
    call_attributes,
    finish_reason,
    reply_attributes,
    run_attributes,
    wait_attributes,
)
from twelvefold.observe.span_content import SpanContent

Kind = Literal["internal", "client"]
GAP_US = 100_000
"""A longer time between two steps is a span of its own: the run was queued, or tried again."""
_MODEL_FAILURES = ("rejected", "unavailable")
"""Reasons of a run that ended with a request to the model, if no call was under way."""
_QUEUES = (RunStarted, ApprovalAnswered, OutcomeSettled, WaitStarted, ChildrenStarted)
"""After one of these as the last entry of a commit a run waits for a process."""
_Result = ToolSucceeded | ToolFailed
_RAN = (ToolSucceeded, ToolFailed, WaitStarted)


class Span(NamedTuple):
    """A complete span. Times are microseconds since 1970; `error` is the type of an error."""

    id: str
    parent: str | None
    name: str
    start_us: int
    end_us: int
    attributes: Attributes
    kind: Kind = "internal"
    error: str = ""


@dataclass(slots=True)
class _OpenCall:
    """A call without a result. `began_us` is 0 until its tool ran."""

    tool: str
    wire_id: str
    arguments: str
    began_us: int = 0


class _OpenWait(NamedTuple):
    span: str
    kind: str
    began_us: int
    parent: str


@dataclass(slots=True)
class RunSpans:
    """Makes the spans of one run; `content` collects its texts, None leaves them out."""

    trace: RunTrace
    content: SpanContent | None = None
    position: int = 0
    _started: RunStarted | None = None
    _began_us: int = 0
    _covered_us: int = 0
    _last: object = None
    _calls: dict[CallId, _OpenCall] = field(default_factory=dict)
    _waits: dict[CallId, _OpenWait] = field(default_factory=dict)
    _usage: Usage = field(default_factory=Usage)

    def add(self, entries: Sequence[Entry]) -> list[Span]:
        """Return the spans that these entries complete; the entries are of whole commits."""
        spans: list[Span] = []
        own = (entry for entry in entries if entry.run == self.trace.run.ordinal)
        for at_us, commit in groupby(own, key=lambda entry: entry.at_us):
            # After a failover the clock of the database may be behind that of the one before.
            spans += self._commit(max(at_us, self._covered_us), [*commit])
        return spans

    def _commit(self, at_us: int, entries: Sequence[Entry]) -> Iterator[Span]:
        """Yield the spans of one commit, whose entries have one time: the end of its work.

        The calls of a commit began together, after the reply.
        """
        took_us = max((e.event.took_us for e in entries if isinstance(e.event, _RAN)), default=0)
        began_us = max(at_us - took_us, self._covered_us)
        if not any(_is_reply(entry.event) for entry in entries):
            yield from self._gap(entries[0], at_us, began_us)
        for entry in entries:
            yield from self._entry(entry, at_us, began_us)
        last = entries[-1]
        self.position, self._covered_us, self._last = last.position, at_us, last.event

    def _gap(self, entry: Entry, at_us: int, began_us: int) -> Iterator[Span]:
        """Yield the span of the time before a commit in which nothing of the run happened."""
        event = entry.event
        if self._waits or any(call.began_us for call in self._calls.values()):
            return
        if isinstance(event, RunFinished) and self._is_model_failure(event):
            return
        if self._started and began_us - self._covered_us > GAP_US:
            kind = "queue" if isinstance(self._last, _QUEUES) else "retry"
            span = gap_span(self.trace.run, entry.position)
            wait = _OpenWait(span, kind, self._covered_us, self.trace.root)
            yield self._wait(wait, began_us)

    def _entry(self, entry: Entry, at_us: int, began_us: int) -> Iterator[Span]:
        match event := entry.event:
            case RunStarted():
                self._started, self._began_us, self._covered_us = event, at_us, at_us
                if self.content:
                    self.content.start(event)
            case ModelReplied():
                yield from self._reply(entry, event, began_us)
            case ToolSucceeded() | ToolFailed():
                yield from self._result(event, at_us, began_us)
            case RunFinished():
                yield from self._finish(entry, event, at_us)
            case _:
                yield from self._wait_entry(entry, at_us, began_us)

    # --- replies and calls ----------------------------------------------------------------------

    def _reply(self, entry: Entry, event: ModelReplied, end_us: int) -> Iterator[Span]:
        if not _is_reply(event):  # the answer of a run that took over
            return
        start_us = self._covered_us
        if event.took_us:
            start_us = max(end_us - event.took_us, start_us)
        yield from self._gap(entry, end_us, start_us)
        items = [item for item in event.items if item.get("type") == "function_call"]
        for index, item in enumerate(items):
            tool, wire_id, arguments = (
                str(item.get(key, "")) for key in ("name", "call_id", "arguments")
            )
            self._calls[call_id(entry.position, index)] = _OpenCall(tool, wire_id, arguments)
        self._usage += event.total_usage
        span = reply_span(self.trace.run, entry.position)
        finish = finish_reason(event, has_calls=bool(items))
        attributes = reply_attributes(self.trace.run, self._started, event, finish)
        if self.content:
            attributes |= self.content.reply(event, finish)
        name = f"{gen_ai.OPERATION_CHAT} {event.model}"
        yield Span(span, self.trace.root, name, start_us, end_us, attributes, "client")

    def _result(self, event: _Result, at_us: int, began_us: int) -> Iterator[Span]:
        call = self._calls.pop(event.call, None) or _OpenCall(event.tool, "", "")
        start_us, end_us = call.began_us, at_us
        if not start_us:
            start_us = began_us if event.took_us else at_us
            end_us = min(start_us + event.took_us, at_us)
        texts: Attributes = {}
        if self.content:
            result = event.result if isinstance(event, ToolSucceeded) else event.message
            texts |= self.content.result(call.wire_id, call.arguments, result)
        yield self._call(event.call, call, start_us, end_us, texts, _error_of(event))

    def _call(
        self,
        id: CallId,
        call: _OpenCall,
        start_us: int,
        end_us: int,
        texts: Attributes,
        error: str,
    ) -> Span:
        # The model has made up the name of a tool that does not exist.
        tool = "unknown" if error == "unknown_tool" else call.tool
        attributes = call_attributes(self.workflow, tool, call.wire_id or id)
        name = f"{gen_ai.OPERATION_EXECUTE_TOOL} {tool}"
        span = call_span(self.trace.run, id)
        return Span(span, self.trace.root, name, start_us, end_us, attributes | texts, error=error)

    # --- waits ----------------------------------------------------------------------------------

    def _wait_entry(self, entry: Entry, at_us: int, began_us: int) -> Iterator[Span]:
        run = self.trace.run
        span = wait_span(run, entry.position)
        match event := entry.event:
            case ApprovalAsked(call=call):
                root = self.trace.root
                self._waits[call] = _OpenWait(span, "approval", at_us, root)
            case WaitStarted(call=call):
                self._begin_call(call, event.tool, began_us)
                kind = "event" if event.event else "question" if event.question else "timer"
                above = call_span(run, call)
                self._waits[call] = _OpenWait(span, kind, at_us, above)
            case ChildrenStarted(call=call):
                self._begin_call(call, event.tool, at_us)
            case OutcomeUnknown(call=call):
                # A process that died began it, some time after the entry before.
                self._begin_call(call, event.tool, self._covered_us)
                above = call_span(run, call)
                self._waits[call] = _OpenWait(span, "outcome", at_us, above)
            case ApprovalAnswered(call=call) | WaitEnded(call=call) | OutcomeSettled(call=call):
                if wait := self._waits.pop(call, None):
                    end = event.reason if isinstance(event, WaitEnded) else ""
                    yield self._wait(wait, at_us, end)
            case _:
                pass

    def _begin_call(self, id: CallId, tool: str, began_us: int) -> None:
        call = self._calls.setdefault(id, _OpenCall(tool, "", ""))
        call.began_us = call.began_us or began_us

    def _wait(self, wait: _OpenWait, end_us: int, end: str = "", error: str = "") -> Span:
        attributes = wait_attributes(wait.kind, end)
        name = f"{gen_ai.OPERATION_WAIT} {wait.kind}"
        return Span(wait.span, wait.parent, name, wait.began_us, end_us, attributes, error=error)

    # --- the run --------------------------------------------------------------------------------

    def _finish(self, entry: Entry, event: RunFinished, at_us: int) -> Iterator[Span]:
        why = event.reason or event.status
        for wait in self._waits.values():
            yield self._wait(wait, at_us, error=why)
        for id, call in self._calls.items():
            if call.began_us:
                yield self._call(id, call, call.began_us, at_us, {}, why)
        if self._is_model_failure(event) and at_us > self._covered_us:
            attributes = reply_attributes(self.trace.run, self._started, None)
            span = reply_span(self.trace.run, entry.position)
            begin_us, name = self._covered_us, gen_ai.OPERATION_CHAT
            root = self.trace.root
            yield Span(span, root, name, begin_us, at_us, attributes, "client", event.reason)
        yield self._root(event, at_us)
        self._waits, self._calls = {}, {}

    def _is_model_failure(self, event: RunFinished) -> bool:
        is_failure = event.status == "failed" and event.reason in _MODEL_FAILURES
        return is_failure and not self._calls and not self._waits

    def _root(self, event: RunFinished, at_us: int) -> Span:
        trace = self.trace
        attributes = run_attributes(trace.run, self._started, event, self._usage)
        if self.content:
            attributes |= self.content.run()
        error = (event.reason or event.status) if event.status == "failed" else ""
        name = f"{gen_ai.OPERATION_INVOKE_AGENT} {self.workflow}"
        begin_us = self._began_us or at_us
        return Span(trace.root, trace.parent, name, begin_us, at_us, attributes, error=error)

    @property
    def workflow(self) -> str:
        """The name of the workflow."""
        return self._started.workflow if self._started else ""


def _is_reply(event: object) -> bool:
    """Whether an entry is a reply of a model, not the answer of a run that took over."""
    return isinstance(event, ModelReplied) and bool(event.request_hash)


def _error_of(event: _Result) -> str:
    """Return the type of a call's error; "" if it succeeded."""
    if isinstance(event, ToolSucceeded):
        return ""
    return event.error.type if event.error else event.failure
