"""Pages of a conversation's items, and single ones: reads no more of its journal than they need.

An item's id says at which entry its unit begins: the reply that it is of, or what brought it along.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import msgspec

from twelvefold.core.events import DEFAULT_OPTIONS, Entry, ItemsAdded, ModelReplied, RunStarted
from twelvefold.core.ports import Store, ThreadHead
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.history.thread_reader import (
    PAGE_BYTES,
    RunContext,
    ThreadReader,
    cut,
    reader_of,
)
from twelvefold.web.http.errors import abbreviate, raise_invalid
from twelvefold.web.http.pagination import Page, listed
from twelvefold.web.ids import parse_item_id
from twelvefold.web.projection.items import input_items, run_items
from twelvefold.web.schemas.types import Json, ToolItems, ToolOutputs


@dataclass(frozen=True, slots=True)
class ItemView:
    """How items are shown; `wanted` is how the reader wants the server's calls, "" as the run's.

    `kept_only`: without those of turns that were not to be kept.
    """

    tool_items: ToolItems = "mcp_call"
    tool_outputs: ToolOutputs = "full"
    wanted: str = ""
    kept_only: bool = False


async def items_of(store: Store, head: ThreadHead, view: ItemView) -> "ItemPages":
    """The items of a conversation."""
    reader = await reader_of(store, head)
    lineage = reader.lineage
    removed = await retry_unavailable(lambda: store.removed_items(lineage))
    return ItemPages(reader, removed, view)


class ItemPages:
    """The items of one conversation, input and output, without those that were taken out.

    What a call came to in the end stands where it was first shown.
    """

    def __init__(self, reader: ThreadReader, removed: frozenset[str], view: ItemView) -> None:
        self._reader = reader
        self._removed = removed
        self._view = view

    async def page(self, page: Page, size: int = PAGE_BYTES) -> Json:
        """One page. Raises ApiError if `page.after` is none of the items."""
        found, has_more = await cut(self._sized(page), page.limit, size)
        return listed(found, has_more)

    async def item(self, id: str) -> Json:
        """One item. Raises NotFound."""
        _, items, index = await self._located(id)
        return items[index]

    async def _sized(self, page: Page) -> AsyncGenerator[tuple[Json, int], None]:
        async for item in self._ordered(page):
            yield item, len(msgspec.json.encode(item))

    async def _ordered(self, page: Page) -> AsyncGenerator[Json, None]:
        first, last = 0, self._reader.head.head
        if page.after:
            try:
                unit, items, index = await self._located(page.after)
            except NotFound:
                raise_invalid(f"there is no {abbreviate(page.after)} in this list", "after")
            first, last = unit[-1].position, unit[0].position - 1
            for item in items[:index][::-1] if page.newest_first else items[index + 1 :]:
                yield item
        if page.newest_first:
            units = self._reader.units_backwards(to=last)
        else:
            units = self._reader.units(after=first)
        async for unit in units:
            items = await self._shown(unit)
            for item in reversed(items) if page.newest_first else items:
                yield item

    async def _located(self, id: str) -> tuple[list[Entry], list[Json], int]:
        """The unit that an item is of, its items, and which of them it is. Raises NotFound."""
        place = parse_item_id(id)
        if place.thread == self._reader.head.id:
            async with aclosing(self._reader.units(after=place.position - 1)) as units:
                unit = await anext(units, None)
            items = await self._shown(unit) if unit else []
            for index, item in enumerate(items):
                if unit and item["id"] == id:
                    return unit, items, index
        raise NotFound(f"no item {id!r} in this conversation")

    async def _shown(self, unit: list[Entry]) -> list[Json]:
        """The items of a unit."""
        first, thread = unit[0], self._reader.head.id
        if isinstance(first.event, ItemsAdded):
            items = input_items(thread, first)
        elif isinstance(first.event, RunStarted | ModelReplied):
            run = await self._reader.run_of(first)
            if run is None or await self._is_hidden(first, run):
                return []
            view = self._view
            how = cast(
                "ToolItems", view.wanted or run.started.options.tool_items or view.tool_items
            )
            items = run_items(thread, _as_run(unit, run), how, view.tool_outputs)
        else:
            return []
        return [item for item in items if item["id"] not in self._removed]

    async def _is_hidden(self, first: Entry, run: RunContext) -> bool:
        unkept = self._view.kept_only and not run.started.options.store
        return unkept or await self._reader.is_gone(first)


def _as_run(unit: list[Entry], run: RunContext) -> list[Entry]:
    """A unit as a run of its own: behind what began the run, without what was said then."""
    first = unit[0]
    if isinstance(first.event, RunStarted):
        return unit
    names = sorted(run.tools_before(first.position))
    tools = tuple({"type": "function", "name": name} for name in names)
    started = run.started
    start = RunStarted(
        (),
        started.principal,
        started.workflow,
        started.release,
        msgspec.structs.replace(DEFAULT_OPTIONS, tools=tools),
    )
    return [Entry(first.position - 1, first.run, start, 0), *unit]
