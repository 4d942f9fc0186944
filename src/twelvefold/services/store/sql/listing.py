"""Lists of threads in SQL: an index has the listed threads, their rows have all that a list shows.

A thread of an older release is in no list until it is classified. A title that is NULL is computed
when it is first read, and stored.
"""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from twelvefold.core import (
    THREAD_ID_LENGTH,
    Entry,
    ItemsAdded,
    LatestRun,
    ListedThread,
    Row,
    RunId,
    RunStarted,
    ThreadHead,
    ThreadId,
    family_of,
)
from twelvefold.errors import NotFound
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.rows import entry_of, is_listed, title_of, title_of_items
from twelvefold.services.store.sql.base import expand_list, in_batches
from twelvefold.services.store.sql.entries import Entries

BATCH_SIZE = 100
"""Threads that one transaction classifies."""
MAX_INPUT_ENTRIES = 100
"""Entries that are searched for a thread's title."""
_METADATA = msgspec.json.Decoder(dict[str, str])
_AFTER_ALL_IDS, _BEFORE_ALL_IDS = "~", ""


class _Classification(NamedTuple):
    """What an older release did not store of a thread."""

    listed: bool
    title: str


class Listing(Entries):
    """Implements the methods of `twelvefold.core.ports.ThreadStore` that list threads."""

    async def threads(
        self,
        principal: str,
        *,
        limit: int,
        after: ThreadId | None = None,
        newest_first: bool = True,
    ) -> list[ListedThread]:
        await self.classify(limit=limit, principal=principal)
        if newest_first:
            name, start = "listed_threads", after or _AFTER_ALL_IDS
        else:
            name, start = "listed_threads_upwards", after or _BEFORE_ALL_IDS
        rows = await self._fetch(name, principal=principal, after=start, limit=limit)
        return await self._list_rows(rows)

    async def listed_thread(self, thread: ThreadId) -> ListedThread:
        rows = await self._fetch("listed_thread", thread=thread)
        if rows and rows[0]["listed"] is None:
            found = await self._classify_all([thread])
            missing = found.get(thread, _Classification(False, ""))
            rows[0] |= {"listed": missing.listed, "title": missing.title}
        if not rows or not rows[0]["listed"]:
            raise NotFound(f"no thread conv_{thread}")
        return (await self._list_rows(rows))[0]

    async def _list_rows(self, rows: Sequence[Row]) -> list[ListedThread]:
        untitled = [row["id"] for row in rows if row["title"] is None and row["head"]]
        found = await self._classify_all(untitled) if untitled else {}
        titles = {thread: one.title for thread, one in found.items()}
        with_runs = [row["id"] for row in rows if row["ordinal"]]
        async with self._read_connection() as db:
            counts = await self._fetch_for_threads(db, "continuations", with_runs)
        continuations = {row["thread_id"]: row["continuations"] for row in counts}
        return [
            ListedThread(
                thread_head(row),
                row["title"] or titles.get(row["id"], ""),
                _latest_run(row, continuations.get(row["id"], 0)) if row["ordinal"] else None,
            )
            for row in rows
        ]

    # --- threads of an older release ----------------------------------------------------------

    async def classify(self, *, limit: int, principal: str = "") -> int:
        if principal:
            rows = await self._fetch("unclassified_of", limit=limit, principal=principal)
        else:
            rows = await self._fetch("unclassified", limit=limit)
        threads = [row["id"] for row in rows]
        batches = in_batches(threads, BATCH_SIZE)
        return sum([len(await self._classify(batch)) for batch in batches])

    async def _classify_all(self, threads: Sequence[str]) -> dict[str, _Classification]:
        """Classify these threads; those that another transaction is writing to are not updated."""
        found: dict[str, _Classification] = {}
        # A transaction for each family: another family may be on another shard.
        for _, family in groupby(sorted(threads), lambda thread: family_of(ThreadId(thread))):
            found |= await self._classify(list(family))
        if skipped := [thread for thread in threads if thread not in found]:
            async with self._read_connection() as db:
                rows = await self._fetch_for_threads(db, "threads_to_classify", skipped)
                found |= await self._examine(db, rows)
        return found

    async def _classify(self, threads: Sequence[str]) -> dict[str, _Classification]:
        """Store and return what is missing of these threads.

        Skips threads that another transaction is writing to.
        """
        found: dict[str, _Classification] = {}
        for part in await self._without_locked(threads, self._classify_unlocked):
            found |= part
        return found

    async def _classify_unlocked(self, threads: Sequence[str]) -> dict[str, _Classification]:
        statement, values = expand_list(self._sql["lock_unclassified"], "threads", threads)
        async with self._transaction() as db:
            rows = await self._lock(db, statement, values)
            found = await self._examine(db, rows)
            for thread, one in found.items():
                values = {"thread": thread, "listed": int(one.listed), "title": one.title}
                db.defer(self._sql["classify"], values)
        return found

    async def _examine(self, db: Connection, rows: Sequence[Row]) -> dict[str, _Classification]:
        found = {row["id"]: _Classification(False, "") for row in rows if row["deleted_at"]}
        kept = {row["id"]: row for row in rows if not row["deleted_at"]}
        first_rows = await self._fetch_for_threads(db, "first_entries", kept)
        firsts = {row["thread_id"]: row for row in first_rows}
        removals = await self._fetch_for_threads(db, "threads_with_removals", kept)
        changed = {row["id"] for row in removals}
        for thread, row in kept.items():
            first = await self._first_entry(db, firsts.get(thread))
            event = first.event if first else None
            listed = is_listed(event) if row["listed"] is None else bool(row["listed"])
            title = title_of(event) if event else ""
            if listed and row["head"] and (row["forked_from"] or thread in changed or not title):
                title = await self._search_title(db, row)
            found[thread] = _Classification(listed, title if listed else "")
        return found

    async def _first_entry(self, db: Connection, row: Row | None) -> Entry | None:
        if row is None:
            return None
        thread = row.pop("thread_id")
        if row["body"] is None:
            values = {"thread": thread, "position": row["position"]}
            [row] = await db.fetch(self._sql["event"], values)
        return entry_of(**row)

    async def _search_title(self, db: Connection, row: Row) -> str:
        """Return the first user message in a thread, the entries of its origin included."""
        at = row["forked_at"] or 0
        origin = ThreadId(row["forked_from"]) if row["forked_from"] else None
        head = ThreadHead(ThreadId(row["id"]), "", "", row["head"], origin, at, 0, {})
        lineage = await self._lineage(db, head)
        deleted = await self._deleted_runs(db, lineage)
        # An item's id is a prefix, its thread, and its place in that.
        ids = await self._removed_items(db, lineage)
        removed = {id.partition("_")[2][THREAD_ID_LENGTH:] for id in ids}
        remaining = MAX_INPUT_ENTRIES
        for segment in lineage:
            values = {"thread": segment.thread, "after": segment.after, "to": segment.to}
            inputs = await db.fetch(self._sql["input_entries"], values | {"limit": remaining})
            remaining -= len(inputs)
            for one in inputs:
                place = {"thread": segment.thread, "position": one["position"]}
                [found] = await db.fetch(self._sql["event"], place)
                if title := _visible_title(entry_of(**found), deleted, removed):
                    return title
            if remaining <= 0:
                break
        return ""


def _visible_title(entry: Entry, deleted: Collection[int], removed: Collection[str]) -> str:
    """Return the title by an entry's items, without those that were deleted or removed."""
    event = entry.event
    if isinstance(event, RunStarted):
        if entry.run in deleted and not event.options.conversation:
            return ""
    elif not isinstance(event, ItemsAdded):
        return ""
    return title_of_items(
        item for index, item in enumerate(event.items) if f"{entry.position}i{index}" not in removed
    )


def thread_head(row: Row) -> ThreadHead:
    """Return the thread of a row."""
    return ThreadHead(
        id=ThreadId(row["id"]),
        principal=row["principal"],
        workflow=row["workflow"],
        head=row["head"],
        forked_from=ThreadId(row["forked_from"]) if row["forked_from"] else None,
        forked_at=row["forked_at"] or 0,
        created_at_us=row["created_at"],
        metadata=_METADATA.decode(row["metadata"]) if row["metadata"] else {},
        size=row["size"],
        listed=None if row["listed"] is None else bool(row["listed"]),
    )


def _latest_run(row: Row, continuations: int) -> LatestRun:
    run = RunId(ThreadId(row["id"]), row["ordinal"])
    return LatestRun(run, continuations + 1, row["status"], bool(row["cancel_asked"]))
