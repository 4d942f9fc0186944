"""Log lines for what may happen thousands of times in a second: one line with the count."""

import asyncio
from typing import Any

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
INTERVAL_S = 10.0


class SummaryLog:
    """Writes a warning for the first occurrence, then at most one in an interval.

    `count` in the line is how many there were since the line before.
    """

    def __init__(self, event: str, interval_s: float = INTERVAL_S) -> None:
        self._event = event
        self._interval_s = interval_s
        self._count = 0
        self._fields: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, **fields: Any) -> None:
        """Count one occurrence; the line has the fields of the last one."""
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
