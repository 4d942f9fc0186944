"""Reads a conversation's journal for its owner, window by window.

Holds no more of a journal than one window and the entries of one reply.

The items of a conversation stay when the response that they came with is deleted. Source: the
OpenAI API. The entries of a deleted response that named no conversation are left out.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import structs

from twelvefold.core import (
    ApprovalAnswered,
    ChildAnswered,
    Entry,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    RunStarted,
    Segment,
    Store,
    ThreadHead,
)
from twelvefold.engine import retry_unavailable

PAGE_BYTES = 1024 * 1024
"""The most bytes on a page; a page has at least one row, of any size."""
FIRST_ROWS, MAX_ROWS = 8, 32
"""Rows of a window: the database reads each row whole to know its length."""
Row = TypeVar("Row")
_NO_RUN = ItemsAdded | ItemRemoved
_OPENS_UNIT = RunStarted | ItemsAdded | ModelReplied


@dataclass(slots=True)
class RunContext:
    """The facts of a run that its later entries are shown with.

    `started` is its first event without the items. `tools` has the names of the client's tools that
    were added, with the position; it is complete up to `known_to`.
    """

    position: int
    started: RunStarted
    known_to: int
    tools: list[tuple[int, frozenset[str]]] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Add the run's next entry, or an earlier one again."""
        event = entry.event
        if isinstance(event, ApprovalAnswered | ChildAnswered) and event.options is not None:
            self.tools.append((entry.position, event.options.client_tool_names))
        self.known_to = entry.position + 1

    def tools_before(self, position: int) -> frozenset[str]:
        """Return the names of the client's tools as of the entries before a position."""
        added = (names for at, names in self.tools if at < position)
        return self.started.options.client_tool_names.union(*added)


class ThreadReader:
    """Reads the entries of one conversation; `deleted` are its deleted runs."""

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
        """Yield the entries after `after` up to `to` (None: all), window by window."""
        to, rows = self.head.head if to is None else to, FIRST_ROWS
        while found := await self._window(after, to, newest_first, rows):
            self._cache_contexts(reversed(found) if newest_first else found)
            yield found
            if newest_first:
                to = found[-1].position - 1
            else:
                after = found[-1].position
            if len(found) == rows:
                # Short rows: a longer window stays within its bytes.
                rows = min(2 * rows, MAX_ROWS)

    async def entries(
        self, *, after: int = 0, to: int | None = None
    ) -> AsyncGenerator[Entry, None]:
        """Yield the entries after `after` up to `to` (None: all), one by one."""
        async for window in self.windows(after=after, to=to):
            for entry in window:
                yield entry

    async def entry(self, position: int) -> Entry | None:
        """Return the entry at a position; None if there is none."""
        found = await self._window(position - 1, position, newest_first=False, rows=1)
        return found[0] if found else None

    async def _window(self, after: int, to: int, newest_first: bool, rows: int) -> list[Entry]:
        store, lineage = self._store, self.lineage
        return await retry_unavailable(
            lambda: store.window(lineage, after=after, to=to, newest_first=newest_first, rows=rows)
        )

    # --- units --------------------------------------------------------------------------------

    async def units(self, *, after: int = 0) -> AsyncGenerator[list[Entry], None]:
        """Yield the units after `after`: each reply with the entries up to the next one, and each
        entry with input."""
        unit: list[Entry] = []
        async for entry in self.entries(after=after):
            if unit and isinstance(entry.event, _OPENS_UNIT):
                yield unit
                unit = []
            unit.append(entry)
        if unit:
            yield unit

    async def units_backwards(self, *, to: int | None = None) -> AsyncGenerator[list[Entry], None]:
        """Yield the units up to `to`, the last one first; the entries of each are in order."""
        unit: list[Entry] = []
        async for window in self.windows(to=to, newest_first=True):
            for entry in window:
                unit.append(entry)
                if isinstance(entry.event, _OPENS_UNIT):
                    yield unit[::-1]
                    unit = []

    # --- runs ---------------------------------------------------------------------------------

    async def is_deleted(self, entry: Entry) -> bool:
        """Return whether an entry is of a deleted run whose request named no conversation."""
        if entry.run not in self._deleted or isinstance(entry.event, _NO_RUN):
            return False
        run = await self.run_of(entry)
        return run is not None and not run.started.options.conversation

    async def run_of(self, entry: Entry) -> RunContext | None:
        """Return the run of an entry; None if the run's first entry is not there."""
        run = self._runs.get(entry.run)
        if run is None:
            lineage, store = self.lineage, self._store
            start = await retry_unavailable(lambda: store.last_start(lineage, entry.position))
            if start is None or start.run != entry.run:
                return None
            run = self._runs[entry.run] = _build_context(start)
        while run.known_to < entry.position:
            await self._load_answers(run, entry.position - 1)
        return run

    async def _load_answers(self, run: RunContext, to: int) -> None:
        """Load some of the answers to approval requests, which may add tools."""
        lineage, store, after = self.lineage, self._store, run.known_to - 1
        answers = await retry_unavailable(lambda: store.answers(lineage, after=after, to=to))
        for answer in answers:
            run.add(answer)
        if not answers:
            run.known_to = to + 1

    def _cache_contexts(self, entries: Iterable[Entry]) -> None:
        """Cache the context of the runs in this window, and of no others."""
        before, self._runs = self._runs, {}
        for entry in entries:
            run = self._runs.get(entry.run) or before.get(entry.run)
            if isinstance(entry.event, RunStarted):
                run = run or _build_context(entry)
            elif run is not None and run.known_to == entry.position:
                run.add(entry)
            if run is not None:
                self._runs[entry.run] = run


def _build_context(start: Entry) -> RunContext:
    event = start.event
    assert isinstance(event, RunStarted)  # noqa: S101 - the callers have checked it
    return RunContext(start.position, structs.replace(event, items=()), start.position + 1)


async def open_thread_reader(store: Store, head: ThreadHead) -> ThreadReader:
    """Return a reader of a conversation."""
    lineage = await retry_unavailable(lambda: store.lineage(head))
    deleted = await retry_unavailable(lambda: store.deleted_runs(lineage))
    return ThreadReader(store, head, lineage, deleted)


async def take_page(
    rows: AsyncGenerator[tuple[Row, int], None], limit: int, max_bytes: int = PAGE_BYTES
) -> tuple[list[Row], bool]:
    """Return the first rows of those that come with their sizes, and whether there are more.

    A page has at most `limit` rows, and none after those that have `max_bytes` together.
    """
    page: list[Row] = []
    left = max_bytes
    async with aclosing(rows):
        async for row, size in rows:
            if len(page) == limit or (page and left <= 0):
                return page, True
            page.append(row)
            left -= size
    return page, False
