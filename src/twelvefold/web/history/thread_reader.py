"""A conversation's journal as its owner may see it, read a bounded window at a time.

A conversation that was named keeps what was said in it, whatever becomes of the response. Source:
the OpenAI API, where the items of a conversation outlive the responses that they came with.

Nothing here holds more of a journal than a window and the entries of one reply.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import structs

from twelvefold.core.events import (
    ApprovalAnswered,
    Entry,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    RunStarted,
)
from twelvefold.core.ports import Segment, Store, ThreadHead
from twelvefold.core.request_options import client_names
from twelvefold.engine.retry import retry_unavailable

PAGE_BYTES = 1024 * 1024
"""What a page holds before it is cut; one item is on it however large it is."""
FIRST_ROWS, MOST_ROWS = 8, 32
"""How many entries a window looks at: the database reads all of each to know its length."""
Shown = TypeVar("Shown")
_PUT_IN = ItemsAdded | ItemRemoved
_OPENS_UNIT = RunStarted | ItemsAdded | ModelReplied


@dataclass(slots=True)
class RunContext:
    """What of a run its later entries need to be shown.

    `started` is its first event without the items. `tools` are the names of the caller's own tools
    that were added at a position; all of them that were before `known_to` are there.
    """

    position: int
    started: RunStarted
    known_to: int
    tools: list[tuple[int, frozenset[str]]] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """Note an entry that follows, or that is read again."""
        if isinstance(entry.event, ApprovalAnswered) and entry.event.options is not None:
            self.tools.append((entry.position, client_names(entry.event.options)))
        self.known_to = entry.position + 1

    def tools_before(self, position: int) -> frozenset[str]:
        """The names of the caller's own tools, as of the entries before a position."""
        added = (names for at, names in self.tools if at < position)
        return client_names(self.started.options).union(*added)


class ThreadReader:
    """Reads the entries of one conversation; `deleted` are the runs that were deleted."""

    def __init__(
        self, store: Store, head: ThreadHead, lineage: Sequence[Segment], deleted: frozenset[int]
    ) -> None:
        self.head = head
        self._store = store
        self.lineage = lineage
        self._deleted = deleted
        self._runs: dict[int, RunContext] = {}

    async def windows(
        self, *, after: int = 0, to: int | None = None, newest_first: bool = False
    ) -> AsyncGenerator[list[Entry], None]:
        """The entries behind `after` and up to `to` (None: all), window by window."""
        to, rows = self.head.head if to is None else to, FIRST_ROWS
        while found := await self._window(after, to, newest_first, rows):
            self._note(reversed(found) if newest_first else found)
            yield found
            if newest_first:
                to = found[-1].position - 1
            else:
                after = found[-1].position
            if len(found) == rows:
                # They are short, so more of them have room.
                rows = min(2 * rows, MOST_ROWS)

    async def entries(
        self, *, after: int = 0, to: int | None = None
    ) -> AsyncGenerator[Entry, None]:
        """The entries behind `after` and up to `to` (None: all), one by one."""
        async for window in self.windows(after=after, to=to):
            for entry in window:
                yield entry

    async def entry(self, position: int) -> Entry | None:
        """One entry; None if there is none."""
        found = await self._window(position - 1, position, newest_first=False, rows=1)
        return found[0] if found else None

    async def _window(self, after: int, to: int, newest_first: bool, rows: int) -> list[Entry]:
        store, lineage = self._store, self.lineage
        return await retry_unavailable(
            lambda: store.window(lineage, after=after, to=to, newest_first=newest_first, rows=rows)
        )

    # --- units --------------------------------------------------------------------------------

    async def units(self, *, after: int = 0) -> AsyncGenerator[list[Entry], None]:
        """Behind `after`, each reply with what came of it, and what came from outside."""
        unit: list[Entry] = []
        async for entry in self.entries(after=after):
            if unit and isinstance(entry.event, _OPENS_UNIT):
                yield unit
                unit = []
            unit.append(entry)
        if unit:
            yield unit

    async def units_backwards(self, *, to: int | None = None) -> AsyncGenerator[list[Entry], None]:
        """As `units`, up to `to`, the last one first; the entries of each are in order."""
        unit: list[Entry] = []
        async for window in self.windows(to=to, newest_first=True):
            for entry in window:
                unit.append(entry)
                if isinstance(entry.event, _OPENS_UNIT):
                    yield unit[::-1]
                    unit = []

    # --- runs ---------------------------------------------------------------------------------

    async def is_gone(self, entry: Entry) -> bool:
        """Whether an entry is a deleted run's that was begun in no conversation of a name."""
        if entry.run not in self._deleted or isinstance(entry.event, _PUT_IN):
            return False
        run = await self.run_of(entry)
        return run is not None and not run.started.options.conversation

    async def run_of(self, entry: Entry) -> RunContext | None:
        """The run that an entry is of; None if its first entry is not there."""
        run = self._runs.get(entry.run)
        if run is None:
            lineage, store = self.lineage, self._store
            start = await retry_unavailable(lambda: store.last_start(lineage, entry.position))
            if start is None or start.run != entry.run:
                return None
            run = self._runs[entry.run] = _context(start)
        while run.known_to < entry.position:
            await self._read_answers(run, entry.position - 1)
        return run

    async def _read_answers(self, run: RunContext, to: int) -> None:
        """Read what the run was asked for with later, in part."""
        lineage, store, after = self.lineage, self._store, run.known_to - 1
        answers = await retry_unavailable(lambda: store.answers(lineage, after=after, to=to))
        for answer in answers:
            run.take(answer)
        if not answers:
            run.known_to = to + 1

    def _note(self, entries: Iterable[Entry]) -> None:
        """Remember how runs began from what is read anyhow; of others forget it."""
        before, self._runs = self._runs, {}
        for entry in entries:
            run = self._runs.get(entry.run) or before.get(entry.run)
            if isinstance(entry.event, RunStarted):
                run = run or _context(entry)
            elif run is not None and run.known_to == entry.position:
                run.take(entry)
            if run is not None:
                self._runs[entry.run] = run


def _context(start: Entry) -> RunContext:
    event = start.event
    assert isinstance(event, RunStarted)  # noqa: S101 - what the caller has looked for
    return RunContext(start.position, structs.replace(event, items=()), start.position + 1)


async def reader_of(store: Store, head: ThreadHead) -> ThreadReader:
    """A reader of a conversation."""
    lineage = await retry_unavailable(lambda: store.lineage(head))
    deleted = await retry_unavailable(lambda: store.deleted_runs(lineage))
    return ThreadReader(store, head, lineage, deleted)


async def cut(
    found: AsyncGenerator[tuple[Shown, int], None], limit: int, size: int = PAGE_BYTES
) -> tuple[list[Shown], bool]:
    """The first of what is found, each with its size, and whether there is more.

    So many of them at most, and none behind those that have `size` together.
    """
    page: list[Shown] = []
    left = size
    async with aclosing(found):
        async for one, its_size in found:
            if len(page) == limit or (page and left <= 0):
                return page, True
            page.append(one)
            left -= its_size
    return page, False
