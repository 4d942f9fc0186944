"""Reads one response from its journal while the journal grows.

A reader does not depend on the drive of the run: it works the same way live or later, in the
process that drives the run or in another one.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import cast

from twelvefold.config import Settings
from twelvefold.core import (
    ApprovalAnswered,
    Entry,
    ItemRemoved,
    ItemsAdded,
    JournalDelta,
    Principal,
    RunId,
    RunRecord,
    RunStarted,
    Store,
)
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound, StoreUnavailable
from twelvefold.observe.log import get_logger
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.objects import ResponseView
from twelvefold.web.projection.response import ResponseProjection, split_parts, without_input
from twelvefold.web.schemas import Json, ToolItems
from twelvefold.web.state import TurnMemory, Web

log = get_logger(__name__)
RETRY_INTERVAL_S = 1.0
"""When to read a journal again that could not be read."""


class ResponseReader:
    """A response as far as it was read; `opening` is its first entry.

    `events` drops the input, which may be long. `unsent` are the events that it has not yielded.
    """

    def __init__(
        self, web: Web, id: ResponseId, view: ResponseView, opening: Entry, start: int
    ) -> None:
        self.id = id
        self.view = replace(view, started=without_input(view.started))
        self.opening = opening
        self.projection = ResponseProjection(id, self.view)
        # The entries of the thread before the run are not needed.
        self.projection.position = start - 1
        self.unsent: list[Json] = []
        self._web = web
        self._is_stopped = False

    @property
    def over(self) -> bool:
        return self.projection.over

    def stop(self) -> None:
        """End `events` before the response is over: nothing more of it can be read here."""
        self._is_stopped = True
        self._web.notifier.notify(self.id.run)

    async def read(self) -> None:
        """Read the new entries and deltas. Raises StoreUnavailable."""
        store, projection, again = self._web.services.store, self.projection, True
        while again:
            delta = await store.follow(
                self.id.run.thread, after=projection.position, deltas_after=projection.deltas_after
            )
            self.apply(delta)
            again = projection.behind

    def apply(self, delta: JournalDelta) -> None:
        """Apply the result of a read of the journal."""
        self.unsent += self.projection.apply(delta)

    async def events(self, *, while_draining: bool = False) -> AsyncGenerator[list[Json], None]:
        """Yield the events that each read has found, possibly none, until the response is over.

        Ends before that when the process drains, unless `while_draining`; when the journal could
        not be read for `Waits.unreadable_s`; and after `stop`.
        """
        now = asyncio.get_running_loop().time
        read_at = now()
        self.opening = replace(self.opening, event=without_input(self.opening.event))
        with self._web.notifier.subscribe(self.id.run) as subscription:
            while not self._is_stopped:
                subscription.changed.clear()
                is_read = await self._try_read()
                read_at = now() if is_read else read_at
                events, self.unsent = self.unsent, []
                yield events
                drains = self._web.draining.is_set() and not while_draining
                if self.over or drains or now() - read_at >= self._web.waits.unreadable_s:
                    return
                await subscription.wait(math.inf if is_read else RETRY_INTERVAL_S)

    async def _try_read(self) -> bool:
        try:
            await self.read()
        except StoreUnavailable as error:
            log.warning("journal_not_read", response=str(self.id), error=error)
            return False
        return True


def build_view(
    settings: Settings,
    started: RunStarted,
    *,
    background: bool,
    tool_items: str = "",
) -> ResponseView:
    """Return how this process shows a run; `tool_items` "": as the run's own request wants it."""
    label, outputs = started.workflow, settings.tool_outputs
    chosen = tool_items or started.options.tool_items or settings.tool_items
    return ResponseView(label, cast("ToolItems", chosen), outputs, background, started)


async def open_response(
    web: Web,
    principal: Principal,
    id: ResponseId,
    *,
    only_stored: bool = True,
    tool_items: str = "",
    memory: TurnMemory | None = None,
) -> tuple[ResponseReader, RunRecord]:
    """Read a response as it is now.

    `only_stored`: not one whose request had `store` false. `tool_items`: how to show the server's
    calls, "" as the response's own request wants it. `memory` holds the size of the run's thread,
    an upper bound for its entries.

    Raises NotFound, also for a response of another principal; with `memory` also ApiError.
    """
    store = web.services.store
    try:
        record = await load_run(store, principal, id.run)
    except NotFound:
        raise _not_found(id) from None
    if memory is not None:
        await memory.hold(record.thread_size)
    thread, began, to = id.run.thread, record.began, record.last_position
    delta = await retry_unavailable(
        lambda: store.follow(thread, after=began - 1, deltas_after=(began, 0), to=to)
    )
    reader = _reader_from_journal(
        web, id, record, delta, only_stored=only_stored, tool_items=tool_items
    )
    if reader.projection.behind:
        await retry_unavailable(reader.read)
    return reader, record


def _reader_from_journal(
    web: Web,
    id: ResponseId,
    record: RunRecord,
    delta: JournalDelta,
    *,
    only_stored: bool,
    tool_items: str,
) -> ResponseReader:
    """Return the reader of a response from all entries of its run. Raises NotFound."""
    started, first, opening = _find_response(delta.entries, id)
    if only_stored and not started.options.store:
        raise _not_found(id)
    if isinstance(opening.event, ApprovalAnswered) and opening.event.options is not None:
        tool_items = tool_items or opening.event.options.tool_items
    view = build_view(web.settings, started, background=record.background, tool_items=tool_items)
    reader = ResponseReader(web, id, view, opening, first.position)
    own = [entry for entry in delta.entries if entry.position >= first.position]
    reader.apply(replace(delta, entries=tuple(own)))
    return reader


def _find_response(entries: Sequence[Entry], id: ResponseId) -> tuple[RunStarted, Entry, Entry]:
    """Return how the run started, the run's first entry, and the response's first entry.

    Raises NotFound if the entries have no such response.
    """
    own = entries_of_run(entries, id.run)
    parts = split_parts(own)
    if len(parts) <= id.part or not isinstance(started := own[0].event, RunStarted):
        raise _not_found(id)
    return started, own[0], parts[id.part][0]


def _not_found(id: ResponseId) -> NotFound:
    return NotFound(f"no response {str(id)!r}")


def entries_of_run(entries: Sequence[Entry], run: RunId, after: int = 0) -> list[Entry]:
    """Return the entries of one run; those up to `after` are of the thread it was forked from."""
    return [
        entry
        for entry in entries
        if entry.run == run.ordinal
        and entry.position > after
        and not isinstance(entry.event, ItemsAdded | ItemRemoved)
    ]


async def load_run(store: Store, principal: Principal, run: RunId) -> RunRecord:
    """Return a run of the principal. Raises NotFound."""
    record = await retry_unavailable(lambda: store.run(run))
    if record.principal != principal.id:
        raise NotFound(f"no response {run}")
    return record
