"""One response, read out of its journal as that grows.

Whoever reads is not whoever drives: live or later, here or in another process, it is the same.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import cast

from twelvefold.config import Settings
from twelvefold.core.events import ApprovalAnswered, Entry, ItemRemoved, ItemsAdded, RunStarted
from twelvefold.core.ids import RunId
from twelvefold.core.ports import JournalDelta, Principal, RunRecord, Store
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import NotFound, StoreUnavailable
from twelvefold.observe.log import get_logger
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.response import ResponseProjection, parts, without_input
from twelvefold.web.projection.view import View
from twelvefold.web.schemas.types import Json, ToolItems
from twelvefold.web.state import Web
from twelvefold.web.turn_memory import TurnMemory

log = get_logger(__name__)
READ_TIMEOUT_S = 30.0
"""How long a reader stays whose journal cannot be read here: longer than a database takes to start
anew, and then its client does better to read it elsewhere."""
Aside = Callable[[], Awaitable[float]]
"""What to do between two looks; it returns after how many seconds it is to be done again."""


async def nothing() -> float:
    """What there is to do between two looks, where there is nothing."""
    return math.inf


class ResponseReader:
    """A response as far as it was read; `opening` is its first entry.

    Whoever follows the response keeps nothing of its input, which may be long: `events` drops it.

    `unsent` are the events that nobody has taken yet. `to_the_end`: whoever reads cannot come back
    for the rest, so a process that is about to end does not stop reading before the response does.
    `stopped`: the reader ends before the response, which nothing more can be read of here.
    """

    def __init__(self, web: Web, id: ResponseId, view: View, opening: Entry, start: int) -> None:
        self.id = id
        self.view = replace(view, started=without_input(view.started))
        self.opening = opening
        self.projection = ResponseProjection(id, self.view)
        # What the thread had before the run says nothing about it.
        self.projection.position = start - 1
        self.unsent: list[Json] = []
        self.to_the_end = False
        self.stopped = False
        self._web = web

    @property
    def over(self) -> bool:
        return self.projection.over

    async def look(self) -> None:
        """Read what is new. Raises StoreUnavailable."""
        store, projection, again = self._web.services.store, self.projection, True
        while again:
            heard = await store.follow(
                self.id.run.thread, after=projection.position, deltas_after=projection.deltas_after
            )
            self.apply(heard)
            again = projection.behind

    def apply(self, heard: JournalDelta) -> None:
        """Take what somebody else has read."""
        self.unsent += self.projection.apply(heard)

    async def events(self, aside: Aside = nothing) -> AsyncGenerator[list[Json], None]:
        """The events as they come, until the response is over or the process is to end.

        Between two looks `aside` is done; then there may be an empty list. A database that is
        away for a while only takes its while; one that stays away is an end, too.
        """
        now = asyncio.get_running_loop().time
        read_at = now()
        self.opening = replace(self.opening, event=without_input(self.opening.event))
        with self._web.news.subscribe(self.id.run) as subscription:
            while True:
                subscription.heard.clear()
                if await self._looked():
                    read_at = now()
                events, self.unsent = self.unsent, []
                yield events
                leaves = self._web.draining.is_set() and not self.to_the_end
                if self.over or leaves or now() - read_at >= READ_TIMEOUT_S:
                    return
                again_s = await aside()
                if self.stopped:
                    return
                if not self.unsent:
                    await subscription.wait(again_s)

    async def _looked(self) -> bool:
        try:
            await self.look()
        except StoreUnavailable as error:
            log.warning("journal_not_read", response=str(self.id), error=error)
            return False
        return True


def view_of(
    settings: Settings,
    started: RunStarted,
    *,
    background: bool,
    tool_items: str = "",
) -> View:
    """How this process shows a run; `tool_items` as the reader wants them, "" as its caller did."""
    label, outputs = started.workflow, settings.tool_outputs
    shown = tool_items or started.options.tool_items or settings.tool_items
    return View(label, cast("ToolItems", shown), outputs, background, started)


async def opened(
    web: Web,
    principal: Principal,
    id: ResponseId,
    *,
    stored: bool = True,
    tool_items: str = "",
    memory: TurnMemory | None = None,
) -> tuple[ResponseReader, RunRecord]:
    """A response as it is now. `stored` False: also one that was not to be kept.

    `tool_items` is how the server's calls are to be shown, "" as the response was asked for.
    `memory` holds the run's thread, as the most that its entries may be.

    Raises NotFound, as for one that is not there, for another's, too; with `memory` also ApiError.
    """
    store = web.services.store
    try:
        record = await run_of(store, principal, id.run)
    except NotFound:
        raise no_response(id) from None
    if memory is not None:
        await memory.hold(record.thread_size)
    thread, began, to = id.run.thread, record.began, record.last_position
    heard = await retry_unavailable(
        lambda: store.follow(thread, after=began - 1, deltas_after=(began, 0), to=to)
    )
    reading = _reading_of(web, id, record, heard, stored=stored, tool_items=tool_items)
    if reading.projection.behind:
        await retry_unavailable(reading.look)
    return reading, record


def _reading_of(
    web: Web,
    id: ResponseId,
    record: RunRecord,
    heard: JournalDelta,
    *,
    stored: bool,
    tool_items: str,
) -> ResponseReader:
    """A response out of all entries of its run. Raises NotFound as `opened` does."""
    started, first, opening = story_of(heard.entries, id)
    if stored and not started.options.store:
        raise no_response(id)
    if isinstance(opening.event, ApprovalAnswered) and opening.event.options is not None:
        tool_items = tool_items or opening.event.options.tool_items
    view = view_of(web.settings, started, background=record.background, tool_items=tool_items)
    reading = ResponseReader(web, id, view, opening, first.position)
    since = [entry for entry in heard.entries if entry.position >= first.position]
    reading.apply(replace(heard, entries=tuple(since)))
    return reading


def no_response(id: ResponseId) -> NotFound:
    """What is said of a response that is not there, and of another's alike."""
    return NotFound(f"no response {str(id)!r}")


def story_of(entries: Sequence[Entry], id: ResponseId) -> tuple[RunStarted, Entry, Entry]:
    """How a response's run started, the run's first entry, and the response's own first.

    Raises NotFound if they have no such response.
    """
    own = own_entries(entries, id.run)
    split = parts(own)
    if len(split) <= id.part or not isinstance(started := own[0].event, RunStarted):
        raise no_response(id)
    return started, own[0], split[id.part][0]


def own_entries(entries: Sequence[Entry], run: RunId, behind: int = 0) -> list[Entry]:
    """The entries of one run; those up to `behind` are of the thread it was forked from."""
    return [
        entry
        for entry in entries
        if entry.run == run.ordinal
        and entry.position > behind
        and not isinstance(entry.event, ItemsAdded | ItemRemoved)
    ]


async def run_of(store: Store, principal: Principal, run: RunId) -> RunRecord:
    """A run of the principal's. Raises NotFound."""
    record = await retry_unavailable(lambda: store.run(run))
    if record.principal != principal.id:
        raise NotFound(f"no response {run}")
    return record
