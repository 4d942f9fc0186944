"""Which spans a collector has: a receipt covers those that a run has until it rests."""

from collections.abc import Callable
from threading import Lock

from twelvefold.core import RunId, TraceExport


class Receipt:
    """Counts the spans of a run that a collector has.

    `done` is called once, in any thread, when it has all of them and the run has been given back.
    Spans that it did not take are exported again later, from the journal.
    """

    def __init__(self, run: RunId, done: Callable[[TraceExport], None]) -> None:
        self._run = run
        self._done = done
        self._lock = Lock()
        self._missing = 0
        self._position: int | None = None

    @property
    def is_pending(self) -> bool:
        """Whether a collector may lack a span."""
        return self._missing > 0

    def add(self, spans: int) -> None:
        """Count spans that are to be exported."""
        with self._lock:
            self._missing += spans

    def exported(self) -> None:
        """Count a span that a collector has."""
        with self._lock:
            self._missing -= 1
            is_done = self._missing == 0 and self._position is not None
        if is_done:
            self._finish()

    def close(self, position: int) -> None:
        """The run has been given back at this position; no span follows."""
        with self._lock:
            self._position = position
            is_done = self._missing == 0
        if is_done:
            self._finish()

    def _finish(self) -> None:
        self._done(TraceExport(self._run, self._position or 0))
