"""The pages of items and of a journal together have the whole conversation, whatever their size."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import HASH, SPENT, assistant, finished, function_call, output, own_tool, user
from tests.services.store.builders import (
    LONG_S,
    append,
    emptied,
    made,
    new_run,
    new_thread,
    on_server,
)
from tests.web.whole import WholeJournal, item_list, kept_of
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Event,
    Item,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RequestOptions,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, RunId, ThreadId, call_id
from twelvefold.core.ports import Lease, Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import offline_sql
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.sqlite.store import SQLiteStore
from twelvefold.web.history.item_pages import ItemPages, ItemView
from twelvefold.web.history.journal import Journal
from twelvefold.web.history.thread_reader import PAGE_BYTES, open_thread_reader
from twelvefold.web.http.pagination import Page

Json = dict[str, Any]
THEIRS = ("look", "list")
"""The client's own tools."""


class Narrow:
    """A store whose windows have few entries and few bytes, so that short threads need several."""

    def __init__(self, store: Store, rows: int, size: int) -> None:
        self._store = store
        self._window = {"rows": rows, "size": size}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def window(self, *args: Any, **how: Any) -> Any:
        return await self._store.window(*args, **{**how, **self._window})

    async def answers(self, *args: Any, **how: Any) -> Any:
        return await self._store.answers(*args, **how, rows=1)  # type: ignore[call-arg]


class Story:
    """Writes random threads as the engine does."""

    def __init__(self, store: Store, draw: Callable[[Any], Any]) -> None:
        self.store = store
        self.draw = draw
        self.threads: list[ThreadId] = []
        self.runs: list[RunId] = []

    async def tell(self) -> None:
        await self.begin()
        for _ in range(self.draw(st.integers(1, 7))):
            what = self.draw(st.sampled_from(("run", "run", "add", "remove", "fork", "delete")))
            await getattr(self, what)(self.draw(st.sampled_from(self.threads)))

    async def begin(self) -> None:
        thread = new_thread()
        await self.store.new_thread(thread, "ann", "academy", {})
        self.threads.append(thread)

    async def add(self, thread: ThreadId) -> None:
        items = self.draw(st.lists(st.sampled_from((user("by the way"), TOOLS)), min_size=1))
        await self._put(thread, ItemsAdded(tuple(items)))

    async def _put(self, thread: ThreadId, event: Event) -> None:
        head = await self.store.thread(thread)
        await self.store.add_items(thread, head.head, await self.store.run_at(head), event)

    async def remove(self, thread: ThreadId) -> None:
        record = await self.store.load(thread)
        if items := item_list(thread, record.entries):
            await self._put(thread, ItemRemoved(self.draw(st.sampled_from(items))["id"]))

    async def fork(self, thread: ThreadId) -> None:
        head = await self.store.thread(thread)
        if head.head > head.forked_at:
            fork = new_thread()
            position = self.draw(st.integers(head.forked_at + 1, head.head))
            await self.store.fork(thread, position, fork)
            self.threads.append(fork)

    async def delete(self, thread: ThreadId) -> None:
        if runs := [run for run in self.runs if run.thread == thread]:
            run = self.draw(st.sampled_from(runs))
            self.runs.remove(run)
            named = (await self.store.thread(thread)).head
            await self._put(thread, ItemsAdded((user("a name"),)))  # so that it stays
            assert named < (await self.store.thread(thread)).head
            await self.store.delete_run(run)

    async def run(self, thread: ThreadId) -> None:
        head = await self.store.thread(thread)
        ordinal = await self.store.run_at(head) + 1
        new = new_run(thread, ordinal=ordinal, head=head.head, exists=True)
        _, lease = await self.store.start(new, self._start(), LONG_S)
        assert lease is not None
        at = head.head + 1
        for _ in range(self.draw(st.integers(0, 3))):
            at, goes_on = await self._reply(lease, at)
            if not goes_on:
                break
        await append(self.store, lease, at, finished(self._end()), status="completed")
        self.runs.append(lease.run)

    def _end(self) -> Any:
        return self.draw(st.sampled_from(("completed", "completed", "failed", "cancelled")))

    def _start(self) -> RunStarted:
        asked = RequestOptions(
            tools=tuple(map(own_tool, self.draw(st.sets(st.sampled_from(THEIRS))))),
            conversation=self.draw(st.booleans()),
            tool_items=self.draw(st.sampled_from(("", "function", "hidden"))),
        )
        items = (user("x" * self.draw(st.sampled_from((1, 300)))), output("c9", "late"))
        return RunStarted(items[: self.draw(st.integers(0, 2))], "ann", "academy", "1.0", asked)

    async def _reply(self, lease: Lease, at: int) -> tuple[int, bool]:
        """Write a reply and its results; return the head, and whether a reply may follow."""
        text = "y" * self.draw(st.sampled_from((1, 200)))
        names = self.draw(st.lists(st.sampled_from(("enrol", "ship", *THEIRS)), max_size=2))
        said: list[Item] = [assistant(text)] * self.draw(st.integers(0, 2))
        items = (*said, *(function_call(name, f"c{at}{i}") for i, name in enumerate(names)))
        first = self.draw(st.integers(0, 1))
        events: list[Event] = [ModelReplied(items, SPENT, "m-1", HASH, first_delta=first)]
        for index, name in enumerate(names):
            events += self._outcome(call_id(at + 1, index), name)
        await append(self.store, lease, at, *events)
        outcomes = sum(isinstance(event, ToolSucceeded | ToolFailed) for event in events)
        return at + len(events), outcomes == len(names)

    def _outcome(self, id: CallId, tool: str) -> Sequence[Event]:
        more = RequestOptions(tools=(own_tool("list"),)) if self.draw(st.booleans()) else None
        way = self.draw(st.sampled_from(("none", "runs", "fails", "asks", "denied", "unknown")))
        done, denied = ToolSucceeded(id, tool, "done"), ToolFailed(id, tool, "denied", "Error: no")
        ways: dict[str, Sequence[Event]] = {
            "none": (),
            "runs": (done,),
            "fails": (ToolFailed(id, tool, "refused", "Error: full"),),
            "asks": (
                ApprovalAsked(id, tool),
                ApprovalAnswered(id, True, "bob", options=more),
                done,
            ),
            "denied": (ApprovalAsked(id, tool), ApprovalAnswered(id, False, "bob"), denied),
            "unknown": (OutcomeUnknown(id, tool), OutcomeSettled(id, "done", "bob"), done),
        }
        return ways[way]


TOOLS: Item = {"type": "function_call_output", "call_id": "c1", "output": "z" * 100}


async def _check(store: Store, draw: Callable[[Any], Any]) -> None:
    story = Story(store, draw)
    await story.tell()
    narrow = Narrow(store, draw(st.integers(1, 8)), draw(st.sampled_from((1, 200, 100_000))))
    for thread in story.threads:
        await _check_items(narrow, thread, draw)
        await _check_journal(narrow, thread, draw)


async def _check_items(store: Any, thread: ThreadId, draw: Callable[[Any], Any]) -> None:
    head = await store.thread(thread)
    reader = await open_thread_reader(store, head)
    deleted = await store.deleted_runs(reader.lineage)
    kept = kept_of(await store.load(thread), deleted)
    wanted = draw(st.sampled_from(("", "function", "mcp_call")))
    whole = item_list(thread, kept.entries, wanted=wanted)
    removed = await store.removed_items(reader.lineage)
    newest_first = draw(st.booleans())
    limit, size = draw(st.integers(1, 5)), draw(st.sampled_from((1, 500, PAGE_BYTES)))

    found: list[Json] = []
    has_more = True
    while has_more:
        pages = ItemPages(await open_thread_reader(store, head), removed, ItemView(wanted=wanted))
        after = found[-1]["id"] if found else ""
        page = await pages.page(Page(limit, after, newest_first), size)
        assert len(page["data"]) <= limit
        assert page["data"] or not page["has_more"]
        found += page["data"]
        has_more = page["has_more"]

    assert found == (whole[::-1] if newest_first else whole)
    for item in whole:
        pages = ItemPages(await open_thread_reader(store, head), removed, ItemView(wanted=wanted))
        assert await pages.item(item["id"]) == item


async def _check_journal(store: Any, thread: ThreadId, draw: Callable[[Any], Any]) -> None:
    head = await store.thread(thread)
    lineage = (await open_thread_reader(store, head)).lineage
    kept = kept_of(await store.load(thread), await store.deleted_runs(lineage))
    whole = WholeJournal(kept, None, "full").page(0, 10_000)["data"]
    limit, size = draw(st.integers(1, 6)), draw(st.sampled_from((1, 500, PAGE_BYTES)))

    found: list[Json] = []
    has_more, after = True, 0
    while has_more:
        journal = Journal(await open_thread_reader(store, head), store, None, "full")
        page = await journal.page(after, limit, size)
        found += page["data"]
        has_more, after = page["has_more"], page["last"]

    assert found == whole


@cache
def _schema() -> str:
    return offline_sql("sqlite://")


@asynccontextmanager
async def _in_memory() -> AsyncIterator[Store]:
    store = SQLiteStore(":memory:")
    await store.run_script(_schema())
    yield store
    await store.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_all_pages_together_are_the_whole_conversation(data: st.DataObject) -> None:
    async def check_thread() -> None:
        async with _in_memory() as store:
            await _check(store, data.draw)

    asyncio.run(check_thread())


@pytest.mark.slow
@pytest.mark.mysql
def test_all_pages_together_are_the_whole_conversation_on_mariadb() -> None:
    server = os.environ["DATABASE_URL"]
    name = f"pages_{secrets.token_hex(6)}"
    url = urlsplit(server)._replace(path=f"/{name}").geturl()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        async def check_thread() -> None:
            store = await open_store(url)
            assert isinstance(store, MySQLStore)
            try:
                await emptied(store)
                await _check(store, data.draw)
            finally:
                await store.close()

        asyncio.run(check_thread())

    asyncio.run(on_server(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    try:
        asyncio.run(made(url))
        check()
    finally:
        asyncio.run(on_server(server, f"DROP DATABASE {name}"))
