"""What the engine needs of traces; `twelvefold.services.traces` implements it.

A process without traces has None in `Services.traces` and does nothing here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from twelvefold.core import Entry, RunId, RunStarted, Thread
from twelvefold.observe.trace_context import DRIVEN, DrivenTrace


class HeldTrace(DrivenTrace, Protocol):
    """The spans of a run that this process holds. `is_sampled`: they are exported."""

    @property
    def is_sampled(self) -> bool: ...

    @property
    def is_pending(self) -> bool:
        """Whether a collector may lack spans of entries that were recorded here."""
        ...

    def record(self, entries: Sequence[Entry]) -> None:
        """Export the spans that these entries complete."""
        ...

    def rest(self, position: int) -> None:
        """Take note that the run has been given back, with this position as its last.

        Its export is in the store until a collector has the spans.
        """
        ...


class Traces(Protocol):
    """The traces of a process."""

    def caller(self) -> str:
        """Return the `traceparent` of OpenTelemetry's current span; "" without one."""
        ...

    def samples(self, run: RunId, started: RunStarted) -> bool:
        """Return whether the trace of a run that begins with this entry is exported.

        The decision is stored with the run, so that all processes have the same.
        """
        ...

    def hold(self, run: RunId, thread: Thread) -> HeldTrace:
        """Return the spans of a run that this process has taken.

        Those of earlier entries are exported as well if its last holder never gave it back.
        """
        ...


def decision_of(thread: Thread) -> bool | None:
    """Return whether the trace of a run is exported, as decided at its start; None if it was not.

    A process without traces leaves the export of such a run to those that have them.
    """
    first = thread.latest[0].event
    return first.sampled if isinstance(first, RunStarted) else None


@contextmanager
def driven(trace: HeldTrace | None) -> Iterator[None]:
    """Let replies and calls of the body find the trace of their run."""
    if trace is None:
        yield
        return
    token = DRIVEN.set(trace)
    try:
        yield
    finally:
        DRIVEN.reset(token)
