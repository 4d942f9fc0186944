"""Writes a reply's text while it arrives, in pieces beside the journal, for readers of the stream.

Pieces (deltas) are numbered from 1 at each position. A process that has lost its run may not know
that yet. So a process that finds its next number taken checks its lease, writes that the pieces so
far are void, and writes the text again.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from twelvefold.core import Delta, Item, Listener, NullListener
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.engine.uninterrupted import run_uninterrupted
from twelvefold.errors import DuplicateRow, StoreUnavailable
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
SLOWDOWN_PIECES = 500
"""After each so many pieces the interval grows by its first length: a reply of ten minutes has some
3,200 rows, not 12,000."""


@dataclass(slots=True)
class _Attempt:
    """The text of one attempt at the reply; `first` is the number of its first piece."""

    written: list[str] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)
    first: int = 0

    def reset(self) -> None:
        """Count all of the text as not written yet."""
        self.unwritten[:0] = self.written
        self.written.clear()
        self.first = 0


def pause_after(number: int, delta_s: float) -> float:
    """Return how many seconds text is collected after the piece with this number."""
    return delta_s * (1 + number // SLOWDOWN_PIECES)


class DeltaWriter(NullListener):
    """A listener that writes the text of a reply, and passes everything on to `listener`.

    When it finds that another process has the run, `text` raises LeaseLost. After its context it
    writes nothing more.
    """

    def __init__(self, services: Services, held: HeldRun, listener: Listener) -> None:
        self._services = services
        self._lease = held.lease
        self._position = held.thread.head + 1
        self._listener = listener
        # One row of this process keeps the process that had the run before from adding any.
        self._must_write = held.claimed
        self._attempt = _Attempt()
        self._number = 0
        self._is_void = False  # the last rows are of an attempt that has been given up
        self._is_unsure = False  # which numbers are taken
        self._writer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._fault: Exception | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    def text(self, delta: str) -> None:
        if self._fault:
            raise self._fault
        self._listener.text(delta)
        self._attempt.unwritten.append(delta)
        self._start_writing()

    def restarted(self, why: str) -> None:
        self._listener.restarted(why)
        self._attempt = _Attempt()
        self._is_void = True
        self._start_writing()

    async def finish(self, items: Sequence[Item]) -> tuple[int, tuple[int, ...]]:
        """Return `first_delta` and `cuts` of the ModelReplied event: which pieces are its text.

        `items` are those of the reply.

        Raises LeaseLost if another process has the run.
        """
        await self._close()
        if self._fault:
            raise self._fault
        written, text = "".join(self._attempt.written), only_text(items)
        if written and not (text or "").startswith(written):
            self._is_void = True
        if not (self._is_unsure or self._needs_restart(last=True)):
            return self._attempt.first, tuple(map(len, self._attempt.written))
        limit = self._services.exit_limit
        await self._services.retry(
            lambda: run_uninterrupted(self._write_rows(last=True), limit), math.inf
        )
        self._listener.shown()
        return (self._number + 1 if text is not None and self._number else 0), ()

    # --- writing ------------------------------------------------------------------------------

    def _start_writing(self) -> None:
        """Write the text collected so far, unless a write is running or has just ended."""
        if not (self._writer or self._timer or self._is_closed):
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        timings = self._services.timings
        pause_s = pause_after(self._number, timings.delta_s)
        try:
            await self._write_rows()
            self._listener.shown()
        except StoreUnavailable as error:
            log.warning("delta_not_written", error=error)
            self._is_unsure, pause_s = True, timings.delta_retry_s
        except Exception as fault:
            self._fault = fault
        self._writer = None
        if not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._continue_writing)

    def _continue_writing(self) -> None:
        self._timer = None
        if self._attempt.unwritten or self._is_void:
            self._start_writing()

    async def _close(self) -> None:
        self._is_closed = True
        if self._timer:
            self._timer.cancel()
        if self._writer:
            await run_uninterrupted(self._writer, self._services.exit_limit)

    async def _write_rows(self, *, last: bool = False) -> None:
        """Write what readers need now. With `last` no more text: the reply itself follows."""
        while True:
            try:
                if self._is_unsure:
                    await self._resynchronize()
                if self._needs_restart(last=last):
                    await self._add("restarted")
                self._is_void = False
                if not last:
                    await self._add_text(self._attempt)
                return
            except DuplicateRow:
                self._is_unsure = True

    def _needs_restart(self, *, last: bool) -> bool:
        return self._is_void if self._number else last and self._must_write

    async def _resynchronize(self) -> None:
        """Read the last number, and mark the pieces so far as void. Raises LeaseLost."""
        store = self._services.store
        await store.renew(self._lease, self._services.limits.lease_s)
        self._number = await store.last_delta(self._lease.run.thread, self._position)
        self._attempt.reset()
        self._is_void, self._is_unsure = True, False

    async def _add_text(self, attempt: _Attempt) -> None:
        count = len(attempt.unwritten)
        if count:
            piece = "".join(attempt.unwritten)
            await self._add("text", piece)
            del attempt.unwritten[:count]
            attempt.written.append(piece)
            attempt.first = attempt.first or self._number

    async def _add(self, kind: Literal["text", "restarted"], text: str = "") -> None:
        delta = Delta(self._position, self._number + 1, kind, text)
        await self._services.store.add_delta(self._lease.run.thread, delta)
        self._number += 1


class HeldBackText:
    """Passes everything on to a listener but the text, which is not valid yet."""

    def __init__(self, listener: Listener) -> None:
        self.restarted = listener.restarted
        self.recorded = listener.recorded
        self.shown = listener.shown

    def text(self, delta: str) -> None:
        """Drop the piece: readers get the whole text with the journal's entry."""


def only_text(items: Sequence[Item]) -> str | None:
    """Return the text of a reply that is one message with one text part, else None."""
    messages = [item for item in items if item.get("type") == "message"]
    parts = messages[0].get("content") if len(messages) == 1 else ()
    if not isinstance(parts, list) or len(parts) != 1 or parts[0].get("type") != "output_text":
        return None
    return str(parts[0].get("text", ""))
