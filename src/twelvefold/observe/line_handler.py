"""Writes log lines to a stream, all lines of one iteration of the event loop together.

A crash loses at most the lines of one iteration. Warnings, errors, and lines that are logged
outside an event loop are written immediately, all others when the process ends at the latest. A
forked process does not write lines of its parent.
"""

import asyncio
import logging
import os
from contextlib import suppress
from typing import TextIO
from weakref import WeakSet

_HANDLERS: "WeakSet[LineHandler]" = WeakSet()


class LineHandler(logging.StreamHandler[TextIO]):
    """Collects the lines of one iteration of the event loop, and writes them after it.

    Lines are lost, without an error, if the stream does not accept them.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that will write the lines after its current iteration."""
        _HANDLERS.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.levelno >= logging.WARNING or not self._schedule():
                self.flush()
        except Exception:
            self.handleError(record)

    def _schedule(self) -> bool:
        """Schedule `_end_turn` on the running loop; return False if none runs in this thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._end_turn)
        return True

    def _end_turn(self) -> None:
        self._loop = None
        self.flush()

    def flush(self) -> None:
        """Write the lines that were collected."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            with suppress(OSError, ValueError):  # the reader may have closed the stream
                self.stream.write("".join(lines))
                self.stream.flush()
        finally:
            self.release()

    def discard(self) -> None:
        """Forget the lines that were collected."""
        self._lines = []


def _discard_lines() -> None:
    for handler in _HANDLERS:
        handler.discard()


os.register_at_fork(after_in_child=_discard_lines)
