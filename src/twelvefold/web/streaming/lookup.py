"""Finds a response in the journal, and opens its reader with the entries of its run."""

from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from twelvefold.core import (
    ApprovalAnswered,
    ChildAnswered,
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
from twelvefold.errors import NotFound
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.parts import split_parts
from twelvefold.web.state import TurnMemory, Web
from twelvefold.web.streaming.reader import ResponseReader, build_view


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
        partial(store.follow, thread, after=began - 1, deltas_after=(began, 0), to=to)
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
    event = opening.event
    if isinstance(event, ApprovalAnswered | ChildAnswered) and event.options is not None:
        tool_items = tool_items or event.options.tool_items
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
    record = await retry_unavailable(partial(store.run, run))
    if record.principal != principal.id:
        raise NotFound(f"no response {run}")
    return record
