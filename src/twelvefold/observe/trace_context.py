"""The span that the current code belongs to, where traces are on. Imports no OpenTelemetry.

The engine opens the span of a reply or a call; what is sent from within it has its `traceparent`:
requests to the model, mail, and what tools send themselves.
"""

from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from twelvefold.core import CallId


class DrivenTrace(Protocol):
    """The trace of a run while it is driven."""

    def reply(self, position: int) -> AbstractContextManager[None]:
        """Open the span of a reply, which will be the entry at `position`."""
        ...

    def call(self, call: CallId) -> AbstractContextManager[None]:
        """Open the span of a tool call."""
        ...


DRIVEN: ContextVar[DrivenTrace | None] = ContextVar("driven_trace", default=None)
TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")


def current_traceparent() -> str:
    """Return the W3C `traceparent` of the call or the request that this code runs in.

    "" where traces are off. A tool sends it on with its own requests; code that uses OpenTelemetry
    finds the same span as the current one.

    Example:
        from twelvefold import current_traceparent

        headers = {"traceparent": value} if (value := current_traceparent()) else {}
        assert headers == {}  # no run is driven here
    """
    return TRACEPARENT.get()


def reply_context(position: int) -> AbstractContextManager[None]:
    """Return the context of a reply that will be the entry at `position`."""
    trace = DRIVEN.get()
    return nullcontext() if trace is None else trace.reply(position)


def call_context(call: CallId) -> AbstractContextManager[None]:
    """Return the context of a tool call."""
    trace = DRIVEN.get()
    return nullcontext() if trace is None else trace.call(call)
