"""A reply that others may read while it comes in: its text in pieces, beside the journal.

Pieces are numbered from 1 at each position. A process that has lost its run may not know it yet,
so whoever finds a number taken looks at its lease, calls off what is there and begins anew.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from twelvefold.core.events import Item
from twelvefold.core.ports import Delta, Listener, ModelReply, NullListener
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.engine.shield import run_uninterrupted
from twelvefold.errors import DuplicateRow, StoreUnavailable
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
PIECE_S = 0.05
"""How long text is gathered before it is shown; the first of it is shown at once."""
SLOWER_EVERY = 500
"""After so many pieces each of them is gathered for a while longer: a reply of ten minutes has
some 3,200 rows, not 12,000."""
AGAIN_S = 1.0
"""How long after a failure the database is asked again."""


@dataclass(slots=True)
class _Attempt:
    """The text of one try at the reply; `first` is the number of its first piece."""

    shown: list[str] = field(default_factory=list)
    unshown: list[str] = field(default_factory=list)
    first: int = 0

    def begin_anew(self) -> None:
        self.unshown[:0] = self.shown
        self.shown.clear()
        self.first = 0


def pause_after(number: int) -> float:
    """How long text is gathered, in seconds, behind the piece with this number."""
    return PIECE_S * (1 + number // SLOWER_EVERY)


class DeltaWriter(NullListener):
    """A listener that shows a reply's text to others, in front of the caller's own.

    Once it finds out that another process has the run, it raises LeaseLost out of `text`. When
    its context is left, nothing is written any more.
    """

    def __init__(self, services: Services, driven: HeldRun, listener: Listener) -> None:
        self._services = services
        self._lease = driven.lease
        self._position = driven.thread.head + 1
        self._listener = listener
        # One row of ours keeps a process that had the run before from adding any.
        self._has_to_write = driven.claimed
        self._attempt = _Attempt()
        self._number = 0
        self._void = False  # the last rows are of an attempt that has been given up
        self._unsure = False  # which numbers are taken
        self._writer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
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
        self._attempt.unshown.append(delta)
        self._show()

    def restarted(self, why: str) -> None:
        self._listener.restarted(why)
        self._attempt = _Attempt()
        self._void = True
        self._show()

    async def ended(self, reply: ModelReply) -> tuple[int, tuple[int, ...]]:
        """What ModelReplied is to say of the pieces: `first_delta` and `cuts`.

        Raises LeaseLost if another process has the run.
        """
        await self._close()
        if self._fault:
            raise self._fault
        shown, text = "".join(self._attempt.shown), only_text(reply.items)
        if shown and not (text or "").startswith(shown):
            self._void = True
        if not (self._unsure or self._owes_a_restart(last=True)):
            return self._attempt.first, tuple(map(len, self._attempt.shown))
        limit = self._services.exit_limit
        await retry_unavailable(
            lambda: run_uninterrupted(self._write_rows(last=True), limit), math.inf
        )
        self._listener.shown()
        return (self._number + 1 if text is not None and self._number else 0), ()

    # --- writing ------------------------------------------------------------------------------

    def _show(self) -> None:
        """Write down what there is, unless that is being done or was done just now."""
        if not (self._writer or self._timer or self._closed):
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        pause_s = pause_after(self._number)
        try:
            await self._write_rows()
            self._listener.shown()
        except StoreUnavailable as error:
            log.warning("delta_not_written", error=error)
            self._unsure, pause_s = True, AGAIN_S
        except Exception as fault:
            self._fault = fault
        self._writer = None
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        if self._attempt.unshown or self._void:
            self._show()

    async def _close(self) -> None:
        self._closed = True
        if self._timer:
            self._timer.cancel()
        if self._writer:
            await run_uninterrupted(self._writer, self._services.exit_limit)

    async def _write_rows(self, *, last: bool = False) -> None:
        """Write what others have to know now; `last`: what is not shown so far need not be."""
        while True:
            try:
                if self._unsure:
                    await self._look()
                if self._owes_a_restart(last=last):
                    await self._add("restarted")
                self._void = False
                if not last:
                    await self._add_text(self._attempt)
                return
            except DuplicateRow:
                self._unsure = True

    def _owes_a_restart(self, *, last: bool) -> bool:
        return self._void if self._number else last and self._has_to_write

    async def _look(self) -> None:
        """Find out what is there, if the run is still ours, and call it off. Raises LeaseLost."""
        store = self._services.store
        await store.renew(self._lease, self._services.limits.lease_s)
        self._number = await store.last_delta(self._lease.run.thread, self._position)
        self._attempt.begin_anew()
        self._void, self._unsure = True, False

    async def _add_text(self, attempt: _Attempt) -> None:
        pieces = len(attempt.unshown)
        if pieces:
            piece = "".join(attempt.unshown)
            await self._add("text", piece)
            del attempt.unshown[:pieces]
            attempt.shown.append(piece)
            attempt.first = attempt.first or self._number

    async def _add(self, kind: Literal["text", "restarted"], text: str = "") -> None:
        delta = Delta(self._position, self._number + 1, kind, text)
        await self._services.store.add_delta(self._lease.run.thread, delta)
        self._number += 1


def only_text(items: Sequence[Item]) -> str | None:
    """The text of a reply that has one message with one part, which is text; else None."""
    messages = [item for item in items if item.get("type") == "message"]
    parts = messages[0].get("content") if len(messages) == 1 else ()
    if not isinstance(parts, list) or len(parts) != 1 or parts[0].get("type") != "output_text":
        return None
    return str(parts[0].get("text", ""))
