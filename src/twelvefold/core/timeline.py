"""What a run did when, from its journal entries: model calls, tool calls, waits and queue time.

Each entry is written when its work is over, so that work began its duration earlier, or, where an
older release did not measure it, with the entry before. A gap in which no process worked on the run
is time in the queue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

from twelvefold.core.conversation.turns import calls_of
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ChildAnswered,
    ChildAsked,
    ChildrenStarted,
    Entry,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    ToolFailed,
    ToolSucceeded,
    WaitEnded,
    WaitStarted,
)
from twelvefold.core.ids import CallId, call_id
from twelvefold.core.ports import RunStatus

SpanKind = Literal["model", "tool", "wait", "queue"]
MIN_QUEUE_US = 50_000
"""Shorter gaps are the time of commits."""


@dataclass(frozen=True, slots=True)
class Span:
    """One part of a run. Times are microseconds since 1970; `ended_us` is None while it lasts.

    `name` is that of the model or the tool, or what the run waits for. `attempts` are the requests
    to the models of a fallback chain. `position` is that of the entry that has its result, or that
    began a wait.
    """

    kind: SpanKind
    name: str
    started_us: int
    ended_us: int | None
    status: str
    call: CallId | None = None
    position: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1


def timeline(entries: Sequence[Entry], status: RunStatus, *, leased: bool) -> tuple[Span, ...]:
    """Return the spans of one run, by their beginning. `entries` are those of the run.

    `leased`: a process drives it now.
    """
    spans = _Spans()
    for entry, following in zip_longest(entries, entries[1:]):
        spans.add(entry, following)
    spans.add_current(status, leased=leased)
    return tuple(sorted(spans.found, key=lambda span: span.started_us))


class _Spans:
    """The spans of the entries so far, which describe the run up to `_at_us`.

    `_pending` are the tools of the calls without a result, `_open` the index of each wait that
    lasts. `_known` are calls whose result needs no span, because a wait of theirs has it.
    """

    def __init__(self) -> None:
        self.found: list[Span] = []
        self._at_us = 0
        self._pending: dict[CallId, str] = {}
        self._open: dict[str, int] = {}
        self._known: set[CallId] = set()

    def add(self, entry: Entry, following: Entry | None) -> None:
        at_us = max(entry.at_us, self._at_us)
        match entry.event:
            case ModelReplied() as reply:
                self._add_reply(entry.position, reply, at_us, following)
            case ToolSucceeded(call=call, tool=tool) as result:
                self._add_result(entry, call, tool, "completed", result.took_us)
            case ToolFailed(call=call, tool=tool, failure=failure) as result:
                self._add_result(entry, call, tool, failure, result.took_us)
            case ApprovalAsked() | WaitStarted() | ChildrenStarted() | ChildAsked() as asked:
                self._open_wait(entry, asked)
            case OutcomeUnknown() as unknown:
                self._add_unknown(entry, unknown)
            case ApprovalAnswered() | WaitEnded() | ChildAnswered() | OutcomeSettled() as answered:
                self._end_wait(answered, at_us)
            case RunFinished(status=status):
                self._finish(status, at_us)
        self._at_us = at_us

    def add_current(self, status: RunStatus, *, leased: bool) -> None:
        """Add what the run does now."""
        if status == "queued" or (status == "running" and not leased):
            self._add(Span("queue", "", self._at_us, None, "open"))
        elif status == "running" and not self._open:
            self._add(self._unfinished("open", None))

    def _add(self, span: Span) -> None:
        """Add a span, and the time in the queue before it."""
        if not self._open and span.started_us - self._at_us >= MIN_QUEUE_US:
            self.found.append(Span("queue", "", self._at_us, span.started_us, "ended"))
        self.found.append(span)

    def _started_us(self, at_us: int, took_us: int) -> int:
        return at_us - took_us if took_us else self._at_us

    # --- work ---------------------------------------------------------------------------------

    def _add_reply(
        self, position: int, reply: ModelReplied, at_us: int, following: Entry | None
    ) -> None:
        calls = {
            call_id(position, index): str(item.get("name", ""))
            for index, item in enumerate(calls_of(reply))
        }
        ended_us = min(at_us, _start_of_result(following, calls, at_us))
        self._pending |= calls
        usage = reply.total_usage
        self._add(
            Span(
                "model",
                reply.named or reply.model,
                self._started_us(ended_us, reply.took_us),
                ended_us,
                reply.ended,
                position=position,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                attempts=1 + len(reply.attempts),
            )
        )

    def _add_result(self, entry: Entry, call: CallId, tool: str, status: str, took_us: int) -> None:
        self._pending.pop(call, None)
        if call in self._known:
            return
        at_us = max(entry.at_us, self._at_us)
        started_us = self._started_us(at_us, took_us)
        self._add(Span("tool", tool, started_us, at_us, status, call, entry.position))

    def _add_unknown(self, entry: Entry, unknown: OutcomeUnknown) -> None:
        self._add_result(entry, unknown.call, unknown.tool, "unknown", 0)
        if not unknown.final:
            self._open_named(entry, unknown.call, unknown.call, "settlement")

    def _unfinished(self, status: str, ended_us: int | None) -> Span:
        """Return the span of the work that has no entry yet."""
        for call, tool in self._pending.items():
            return Span("tool", tool, self._at_us, ended_us, status, call)
        return Span("model", "", self._at_us, ended_us, status)

    def _finish(self, status: str, at_us: int) -> None:
        for key in [*self._open]:
            self._close(key, "ended", at_us)
        if status != "completed" and at_us - self._at_us >= MIN_QUEUE_US:
            self.found.append(self._unfinished(status, at_us))

    # --- waits --------------------------------------------------------------------------------

    def _open_wait(
        self, entry: Entry, asked: ApprovalAsked | WaitStarted | ChildrenStarted | ChildAsked
    ) -> None:
        match asked:
            case ApprovalAsked(call=call):
                self._open_named(entry, call, call, "approval")
            case WaitStarted(call=call, tool=tool):
                self._add_result(entry, call, tool, "waiting", asked.took_us)
                self._open_named(entry, call, call, _name_of(asked))
            case ChildrenStarted(call=call, tool=tool):
                self._open_named(entry, call, call, tool)
            case child:
                self._open_named(entry, _key_of(child), child.call, _name_of(child))

    def _open_named(self, entry: Entry, key: str, call: CallId, name: str) -> None:
        at_us = max(entry.at_us, self._at_us)
        self._open[key] = len(self.found)
        self.found.append(Span("wait", name, at_us, None, "open", call, entry.position))

    def _end_wait(
        self, ended: ApprovalAnswered | WaitEnded | ChildAnswered | OutcomeSettled, at_us: int
    ) -> None:
        match ended:
            case ApprovalAnswered(call=call, approved=approved):
                self._close(call, "approved" if approved else "denied", at_us)
                self._know(call, unless=approved)
            case WaitEnded(call=call, reason=reason):
                self._close(call, reason, at_us)
                self._know(call)
            case OutcomeSettled(call=call, settled=settled):
                self._close(call, settled, at_us)
                self._know(call, unless=settled == "retry")
            case child:
                self._close(_key_of(child), "answered", at_us)

    def _know(self, call: CallId, *, unless: bool = False) -> None:
        if not unless:
            self._known.add(call)

    def _close(self, key: str, status: str, at_us: int) -> None:
        if (index := self._open.pop(key, None)) is not None:
            self.found[index] = replace(self.found[index], ended_us=at_us, status=status)


def _start_of_result(entry: Entry | None, calls: Mapping[CallId, str], at_us: int) -> int:
    """Return when the call of the entry began: a reply may be committed with its call."""
    if entry is None or not isinstance(entry.event, ToolSucceeded | ToolFailed | WaitStarted):
        return at_us
    is_next = entry.event.call in calls and entry.event.took_us
    return entry.at_us - entry.event.took_us if is_next else at_us


def _name_of(asked: WaitStarted | ChildAsked) -> str:
    """Return what a run waits for."""
    if asked.question:
        return "answer"
    if isinstance(asked, ChildAsked):
        return "settlement" if asked.is_unknown else "approval"
    return asked.event or "time"


def _key_of(child: ChildAsked | ChildAnswered) -> str:
    return f"{child.run}:{child.child_call}"
