"""Writes log lines to a stream, those of one turn of the event loop at once.

A crash loses at most the lines of one turn. Warnings and errors are written at once, and so is
everything outside an event loop and at the process's end.
"""

import asyncio
import logging
from contextlib import suppress
from typing import TextIO


class LineHandler(logging.StreamHandler[TextIO]):
    """Collects the lines that are logged during a turn of the event loop, and writes them after it.

    Lines are lost, without an error, if the stream does not take them.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that will write the lines after its turn."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.levelno >= logging.WARNING or not self._schedule():
                self.flush()
        except Exception:
            self.handleError(record)

    def _schedule(self) -> bool:
        """Have the running loop write the lines; return False if none runs in this thread."""
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
            with suppress(OSError, ValueError):  # the reader may have left
                self.stream.write("".join(lines))
                self.stream.flush()
        finally:
            self.release()
