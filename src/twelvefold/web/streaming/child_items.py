"""Adds the items of the runs that a response has started to its output: CHILD_ITEMS=nested."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

from twelvefold.core import ChildrenStarted, Entry, Principal, RunId, RunStarted
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound, StoreUnavailable
from twelvefold.observe.log import get_logger
from twelvefold.web.http import ApiError
from twelvefold.web.projection.items import child_items
from twelvefold.web.schemas import Json, ToolItems
from twelvefold.web.state import Web, turn_memory
from twelvefold.web.streaming.lookup import entries_of_run, load_run
from twelvefold.web.streaming.reader import ResponseReader, build_view

log = get_logger(__name__)
NESTED_BYTES = 4 * 1024 * 1024
"""The most bytes of the journals whose items one response has; later runs are left out."""
_Children = Mapping[str, ChildrenStarted]


async def nest_child_items(web: Web, reader: ResponseReader, response: Json) -> Json:
    """Return a response with the items of the runs that its calls have started, if they are shown.

    They follow the item of the call; `parent` is its id. Reads each journal once, one after the
    other. Raises ApiError with 429 if there is no memory for one.
    """
    if web.settings.child_items == "hidden" or not (children := reader.projection.children):
        return response
    principal = Principal(reader.view.started.principal)
    nesting = _Nesting(web, principal, reader.view.tool_items)
    output = [item async for item in nesting.items(response["output"], children)]
    return response | {"output": output}


async def try_nest_child_items(web: Web, reader: ResponseReader, response: Json) -> Json:
    """Like `nest_child_items`, but return the response without the items if they are not read.

    The turn is over: an error would make the client repeat it.
    """
    try:
        return await nest_child_items(web, reader, response)
    except (ApiError, StoreUnavailable) as error:
        log.warning("child_items_not_read", response=str(reader.id), error=error)
        return response


class _Nesting:
    """Reads the runs below one response; `left` are the bytes of journals that it may read."""

    def __init__(
        self, web: Web, principal: Principal, tool_items: ToolItems, left: int = NESTED_BYTES
    ) -> None:
        self._web = web
        self._principal = principal
        self._tool_items = tool_items
        self._left = left

    async def items(self, items: Iterable[Json], children: _Children) -> AsyncGenerator[Json, None]:
        """Yield items, each followed by those of the runs that it has started."""
        for item in items:
            yield item
            if started := children.get(item["id"]):
                for run in started.runs:
                    own, below = await self._load(RunId.parse(run), hand_off=started.hand_off)
                    shown = [one | {"parent": item["id"]} for one in own]
                    async for one in self.items(shown, below):
                        yield one

    async def _load(self, run: RunId, *, hand_off: bool) -> tuple[Sequence[Json], _Children]:
        """Return the items of a run and the runs that it has started.

        None if the run was deleted meanwhile, or if its journal and earlier ones are too long.
        """
        entries = await self._entries(run) if self._left > 0 else []
        started = entries[0].event if entries else None
        if not isinstance(started, RunStarted):
            return [], {}
        view = build_view(
            self._web.settings, started, background=False, tool_items=self._tool_items
        )
        return child_items(run, entries, view, hand_off=hand_off)

    async def _entries(self, run: RunId) -> list[Entry]:
        store = self._web.services.store
        try:
            record = await load_run(store, self._principal, run)
        except NotFound:
            return []
        self._left -= record.thread_size or 0
        if self._left < 0:
            return []
        after, deltas_after = record.began - 1, (record.began, 0)
        with turn_memory(self._web.reads, self._principal, 0) as memory:
            await memory.hold(record.thread_size)
            delta = await retry_unavailable(
                lambda: store.follow(run.thread, after=after, deltas_after=deltas_after)
            )
        return entries_of_run(delta.entries, run)
