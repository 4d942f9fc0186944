"""Lists of threads in SQL: an index has those that are listed, their row has all that a list shows.

Threads that an older release wrote are in no list until somebody has classified them. A title that
is not known (NULL) is looked up when it is wanted, and kept.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from twelvefold.core.events import Entry, ItemsAdded, RunStarted
from twelvefold.core.ids import THREAD_ID_LENGTH, RunId, ThreadId
from twelvefold.core.listing import is_listed, title_of, title_of_items
from twelvefold.core.ports import LatestRun, ListedThread, Row, ThreadHead
from twelvefold.errors import NotFound
from twelvefold.services.store.sql.base import listed
from twelvefold.services.store.sql.windows import Windows, entry_of
from twelvefold.services.store.transaction import Connection

BATCH = 100
"""Threads that are classified in one transaction."""
OPENINGS = 100
"""So many entries from outside are searched for a thread's title at most."""
_METADATA = msgspec.json.Decoder(dict[str, str])
_LAST, _FIRST = "~", ""
"""Behind and before every id."""


class _Found(NamedTuple):
    """What was found out of a thread."""

    listed: bool
    title: str


class Listing(Windows):
    """The methods of `twelvefold.core.ports.Store` that list threads."""

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
            name, start = "listed_threads", after or _LAST
        else:
            name, start = "listed_threads_upwards", after or _FIRST
        return await self._listed(
            await self._found(name, principal=principal, after=start, limit=limit)
        )

    async def listed_thread(self, thread: ThreadId) -> ListedThread:
        rows = await self._found("listed_thread", thread=thread)
        if rows and rows[0]["listed"] is None:
            found = (await self._find([thread])).get(thread, _Found(False, ""))
            rows[0] |= {"listed": found.listed, "title": found.title}
        if not rows or not rows[0]["listed"]:
            raise NotFound(f"no thread conv_{thread}")
        return (await self._listed(rows))[0]

    async def _listed(self, rows: Sequence[Row]) -> list[ListedThread]:
        untitled = [row["id"] for row in rows if row["title"] is None and row["head"]]
        found = await self._find(untitled) if untitled else {}
        titles = {thread: one.title for thread, one in found.items()}
        ran = [row["id"] for row in rows if row["ordinal"]]
        async with self._reading() as db:
            rests = {row["thread_id"]: row["rests"] for row in await self._of_all(db, "rests", ran)}
        return [
            ListedThread(
                thread_head(row),
                row["title"] or titles.get(row["id"], ""),
                _latest_run(row, rests.get(row["id"], 0)) if row["ordinal"] else None,
            )
            for row in rows
        ]

    # --- threads of an older release ----------------------------------------------------------

    async def classify(self, *, limit: int, principal: str = "") -> int:
        if principal:
            rows = await self._found("unclassified_of", limit=limit, principal=principal)
        else:
            rows = await self._found("unclassified", limit=limit)
        threads = [row["id"] for row in rows]
        parts = (threads[first : first + BATCH] for first in range(0, len(threads), BATCH))
        return sum([len(await self._classify(part)) for part in parts])

    async def _find(self, threads: Sequence[str]) -> dict[str, _Found]:
        """What is not known of these threads, also of one that is just being written to."""
        found = await self._classify(threads)
        if left := [thread for thread in threads if thread not in found]:
            async with self._reading() as db:
                rows = await self._of_all(db, "some_threads", left)
                found |= await self._looked_at(db, rows)
        return found

    async def _classify(self, threads: Sequence[str]) -> dict[str, _Found]:
        """Write down what is not known of these threads, and return it.

        Leaves out a thread that another transaction is writing to.
        """
        async with self._transaction() as db:
            rows = await db.fetch(*listed(self._sql["lock_unclassified"], "threads", threads))
            found = await self._looked_at(db, rows)
            for thread, one in found.items():
                values = {"thread": thread, "listed": int(one.listed), "title": one.title}
                await db.execute(self._sql["classify"], values)
        return found

    async def _looked_at(self, db: Connection, rows: Sequence[Row]) -> dict[str, _Found]:
        deleted = {row["id"]: _Found(False, "") for row in rows if row["deleted_at"]}
        there = {row["id"]: row for row in rows if not row["deleted_at"]}
        firsts = {row["thread_id"]: row for row in await self._of_all(db, "first_entries", there)}
        changed = {row["id"] for row in await self._of_all(db, "threads_changed", there)}
        found = deleted
        for thread, row in there.items():
            first = await self._first_entry(db, firsts.get(thread))
            event = first.event if first else None
            shown = is_listed(event) if row["listed"] is None else bool(row["listed"])
            title = title_of(event) if event else ""
            if shown and row["head"] and (row["forked_from"] or thread in changed or not title):
                title = await self._searched_title(db, row)
            found[thread] = _Found(shown, title if shown else "")
        return found

    async def _first_entry(self, db: Connection, row: Row | None) -> Entry | None:
        if row is None:
            return None
        thread = row.pop("thread_id")
        if row["body"] is None:
            values = {"thread": thread, "position": row["position"]}
            [row] = await db.fetch(self._sql["event"], values)
        return entry_of(**row)

    async def _searched_title(self, db: Connection, row: Row) -> str:
        """What a user said first in what a thread has, its origin's entries included."""
        at = row["forked_at"] or 0
        origin = ThreadId(row["forked_from"]) if row["forked_from"] else None
        head = ThreadHead(ThreadId(row["id"]), "", "", row["head"], origin, at, 0, {})
        lineage = await self._lineage(db, head)
        deleted = await self._deleted_runs(db, lineage)
        # An item's id has its prefix and its thread before its place.
        ids = await self._removed_items(db, lineage)
        removed = {id.partition("_")[2][THREAD_ID_LENGTH:] for id in ids}
        left = OPENINGS
        for segment in lineage:
            values = {"thread": segment.thread, "after": segment.after, "to": segment.to}
            openings = await db.fetch(self._sql["openings"], values | {"limit": left})
            left -= len(openings)
            for one in openings:
                place = {"thread": segment.thread, "position": one["position"]}
                [found] = await db.fetch(self._sql["event"], place)
                if title := _title_left(entry_of(**found), deleted, removed):
                    return title
            if left <= 0:
                break
        return ""


def _title_left(entry: Entry, deleted: Collection[int], removed: Collection[str]) -> str:
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
    """A row of the threads."""
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


def _latest_run(row: Row, rests: int) -> LatestRun:
    run = RunId(ThreadId(row["id"]), row["ordinal"])
    return LatestRun(run, rests + 1, row["status"], bool(row["cancel_asked"]))
