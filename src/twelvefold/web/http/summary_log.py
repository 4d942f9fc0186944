"""Log lines for events that may occur thousands of times a second: one line with a count."""

import asyncio
from typing import Any

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
INTERVAL_S = 10.0


class SummaryLog:
    """Logs a warning for the first event, then at most one per interval.

    `count` in a line is the number of events since the line before.
    """

    def __init__(self, event: str, interval_s: float = INTERVAL_S) -> None:
        self._event = event
        self._interval_s = interval_s
        self._count = 0
        self._fields: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, **fields: Any) -> None:
        """Count one event. The next line has the fields of the last event."""
        self._count += 1
        self._fields = fields
        if self._timer is None:
            self._write()

    def _write(self) -> None:
        self._timer = None
        if self._count:
            log.warning(self._event, count=self._count, **self._fields)
            self._count = 0
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._write)
