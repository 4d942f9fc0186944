"""Pages of a conversation's items, and single items, read from no more of its journal than needed.

An item's id has the position at which its unit starts: that of its reply, or of its input.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import msgspec

from twelvefold.core import (
    DEFAULT_OPTIONS,
    Entry,
    ItemsAdded,
    ModelReplied,
    RunStarted,
    Store,
    ThreadHead,
)
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.history.thread_reader import (
    PAGE_BYTES,
    RunContext,
    ThreadReader,
    open_thread_reader,
    take_page,
)
from twelvefold.web.http import Page, abbreviate, list_object, raise_invalid
from twelvefold.web.ids import parse_item_id
from twelvefold.web.projection.items import input_items, run_items
from twelvefold.web.schemas import InputFiles, Json, ToolItems, ToolOutputs


@dataclass(frozen=True, slots=True)
class ItemView:
    """How items are shown; `wanted`: how to show the server's calls, "": as the run's options say.

    `only_stored`: without the items of turns with `store` false.
    """

    tool_items: ToolItems = "mcp_call"
    tool_outputs: ToolOutputs = "full"
    input_files: InputFiles = "full"
    wanted: str = ""
    only_stored: bool = False


async def open_item_pages(store: Store, head: ThreadHead, view: ItemView) -> "ItemPages":
    """Return the pages of a conversation's items."""
    reader = await open_thread_reader(store, head)
    lineage = reader.lineage
    removed = await retry_unavailable(lambda: store.removed_items(lineage))
    return ItemPages(reader, removed, view)


class ItemPages:
    """The items of one conversation, input and output, without removed ones.

    The final state of a call stands where the call was first shown.
    """

    def __init__(self, reader: ThreadReader, removed: frozenset[str], view: ItemView) -> None:
        self._reader = reader
        self._removed = removed
        self._view = view

    async def page(self, page: Page, max_bytes: int = PAGE_BYTES) -> Json:
        """Return one page. Raises ApiError if `page.after` is none of the items."""
        items, has_more = await take_page(self._with_sizes(page), page.limit, max_bytes)
        return list_object(items, has_more)

    async def item(self, id: str) -> Json:
        """Return one item. Raises NotFound."""
        _, items, index = await self._locate(id)
        return items[index]

    async def _with_sizes(self, page: Page) -> AsyncGenerator[tuple[Json, int], None]:
        async for item in self._in_order(page):
            yield item, len(msgspec.json.encode(item))

    async def _in_order(self, page: Page) -> AsyncGenerator[Json, None]:
        first, last = 0, self._reader.head.head
        if page.after:
            try:
                unit, items, index = await self._locate(page.after)
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
            items = await self._items(unit)
            for item in reversed(items) if page.newest_first else items:
                yield item

    async def _locate(self, id: str) -> tuple[list[Entry], list[Json], int]:
        """Return an item's unit, the unit's items, and the item's index. Raises NotFound."""
        location = parse_item_id(id)
        if location.thread == self._reader.head.id:
            async with aclosing(self._reader.units(after=location.position - 1)) as units:
                unit = await anext(units, None)
            items = await self._items(unit) if unit else []
            for index, item in enumerate(items):
                if unit and item["id"] == id:
                    return unit, items, index
        raise NotFound(f"no item {id!r} in this conversation")

    async def _items(self, unit: list[Entry]) -> list[Json]:
        """Return the items of a unit."""
        first, thread = unit[0], self._reader.head.id
        if isinstance(first.event, ItemsAdded):
            items = input_items(thread, first, self._view.input_files)
        elif isinstance(first.event, RunStarted | ModelReplied):
            run = await self._reader.run_of(first)
            if run is None or await self._is_hidden(first, run):
                return []
            view = self._view
            chosen = view.wanted or run.started.options.tool_items or view.tool_items
            tool_items = cast("ToolItems", chosen)
            entries = _as_run(unit, run)
            items = run_items(thread, entries, tool_items, view.tool_outputs, view.input_files)
        else:
            return []
        return [item for item in items if item["id"] not in self._removed]

    async def _is_hidden(self, first: Entry, run: RunContext) -> bool:
        if self._view.only_stored and not run.started.options.store:
            return True
        return await self._reader.is_deleted(first)


def _as_run(unit: list[Entry], run: RunContext) -> list[Entry]:
    """Return a unit as a whole run: after the run's first entry, without the input."""
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
