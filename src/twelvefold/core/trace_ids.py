"""Trace and span ids, derived from thread, run and position. Pure.

The same step has the same ids in every process, so a span that is emitted again is the same span.
Ids are hex digits, as in a `traceparent`. Source: W3C Trace Context.
"""

import re
from hashlib import blake2b
from typing import NamedTuple, Self

from twelvefold.core.events import RunStarted
from twelvefold.core.ids import CallId, RunId

SAMPLED = 1
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ZEROS = re.compile(r"0+").fullmatch
_BYTES_OF_TRACE = 16
_BYTES_OF_SPAN = 8


class SpanContext(NamedTuple):
    """A span as a `traceparent` names it."""

    trace: str
    span: str
    flags: int = SAMPLED

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags:02x}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the span of a `traceparent`; None if it is not valid."""
        found = _TRACEPARENT.fullmatch(text.strip())
        if found is None:
            return None
        version, trace, span, flags, more = found.groups()
        if (version == "00" and more) or _ZEROS(trace) or _ZEROS(span):
            return None
        return cls(trace, span, int(flags, 16) & SAMPLED)


class RunTrace(NamedTuple):
    """Where the spans of a run belong: `root` is the run's own span.

    `parent` is the span above it: that of the call that started the run, or of the caller's
    request. None: the run's span is the first of its trace. `caller` is the caller's span, which
    decides about the whole trace.
    """

    run: RunId
    trace: str
    root: str
    parent: str | None = None
    caller: SpanContext | None = None


def trace_of(run: RunId, started: RunStarted) -> RunTrace:
    """Return the trace of a run by its first entry.

    A run that another one started is part of the trace of the run that a caller started.
    """
    caller = SpanContext.parse(started.trace)
    top = started.ancestry.root if started.ancestry else str(run)
    trace = caller.trace if caller else _digest(top, size=_BYTES_OF_TRACE)
    root = root_span(run)
    if started.parent:
        parent = call_span(RunId.parse(started.parent), CallId(started.parent_call))
        return RunTrace(run, trace, root, parent, caller)
    return RunTrace(run, trace, root, caller.span if caller else None, caller)


def root_span(run: RunId) -> str:
    """Return the id of the span of a whole run."""
    return _digest(str(run), "run")


def reply_span(run: RunId, position: int) -> str:
    """Return the id of the span of a reply, by the position of its entry."""
    return _digest(str(run), "reply", str(position))


def call_span(run: RunId, call: CallId) -> str:
    """Return the id of the span of a tool call."""
    return _digest(str(run), "call", call)


def wait_span(run: RunId, position: int) -> str:
    """Return the id of the span of a wait, by the position of the entry that begins it."""
    return _digest(str(run), "wait", str(position))


def gap_span(run: RunId, position: int) -> str:
    """Return the id of the span of the time before a commit, by its first position."""
    return _digest(str(run), "gap", str(position))


def _digest(*parts: str, size: int = _BYTES_OF_SPAN) -> str:
    return blake2b(" ".join(parts).encode(), digest_size=size).hexdigest()
