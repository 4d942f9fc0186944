"""Upkeep in SQL: what has been over for long, or was deleted, is removed.

A transaction removes at most `RANGE` threads and `ENTRIES` entries: locks are short, and replicas
keep up. Threads that follow each other in the primary key are removed as one range, which costs a
server a third of a list of their ids. Threads are checked without locks. The transaction that
removes them verifies that none has changed since: it leaves out threads whose head has moved, its
deletions leave out rows that have to stay, and a row that is left over rolls it back.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from twelvefold.core.ports import Row
from twelvefold.services.store.sql.base import SECOND_US, Database, in_parts
from twelvefold.services.store.sql.ranges import IdRange, in_ranges, ranges_of, single_ranges
from twelvefold.services.store.transaction import Connection

BATCH = 150
"""Threads at once. Below `eq_range_index_dive_limit` (200), above which a server guesses how many
rows a list of keys has, and reads whole tables where it guesses wrong."""
RANGE = 300
"""Threads at once that follow each other: at most half as many ranges, as `BATCH` demands."""
ENTRIES = 2_000
"""Entries at once, unless a single thread has more."""
BYTES = 16 * 1024 * 1024
"""Bytes of entries at once, unless a single thread has more: the binary log has all of them, and a
Galera cluster limits a transaction's size."""
CLOCKS_US = 3_600 * SECOND_US
"""By how much the clock that a thread's id was made by may be ahead of the database's."""
_LAST_MS = 0xFFFF_FFFF_FFFF
_OF_NO_THREAD = ("delete_old_requests", "delete_old_letters")
_OF_FEW = ("delete_deltas", "delete_requests", "delete_outbox")
"""What deletes rows that most old threads do not have."""
_Rows = Mapping[str, Row]
"""Rows of threads by id, with `head`, `entries`, `size` and `forked_from`."""


class _Interrupted(Exception):
    """Another process uses one of these threads, or added one: the transaction is rolled back."""


class _Page:
    """Threads that may be removed, in the order of their ids.

    `all_ids` are those of the whole table between them, in order. Without `all_ids` each thread is
    a range of its own. `deletions` are those of `_OF_FEW` that have rows to delete.
    """

    def __init__(
        self,
        threads: _Rows,
        all_ids: Sequence[str] = (),
        deletions: Collection[str] = _OF_FEW,
    ) -> None:
        self.threads = threads
        self.deletions = deletions
        self._all_ids = all_ids
        self.ranges: list[IdRange] = (
            ranges_of(threads, all_ids) if all_ids else single_ranges(threads)
        )

    def only(self, ids: Collection[str]) -> "_Page":
        """The page with these of its threads alone."""
        if len(ids) == len(self.threads):
            return self
        left = {one: row for one, row in self.threads.items() if one in ids}
        return _Page(left, self._all_ids, self.deletions)

    def checked(self, rows: Iterable[Row]) -> "_Page":
        """The page without the threads that `kept_threads` has found a reason to keep."""
        found = {(row["part"], row["id"]) for row in rows if row["id"]}
        kept = {thread for part, thread in found if part == "keep"}
        deletions = [name for name in _OF_FEW if name in {part for part, _ in found}]
        left = {one: row for one, row in self.threads.items() if one not in kept}
        return _Page(left, self._all_ids, deletions)

    def unchanged(self, rows: Iterable[Row]) -> "_Page":
        """The page with its threads that these rows show as they were."""
        heads = {row["id"]: row["head"] for row in rows}
        return self.only(
            [one for one, row in self.threads.items() if row["head"] == heads.get(one)]
        )

    def portions(self) -> "Iterator[_Page]":
        """The same threads in pages for one transaction each."""
        ids: list[str] = []
        entries = size = 0
        for one, row in self.threads.items():
            entries += row["entries"]
            size += row["size"]
            if ids and (entries > ENTRIES or size > BYTES):
                yield self.only(ids)
                ids, entries, size = [], row["entries"], row["size"]
            ids.append(one)
        if ids:
            yield self.only(ids)

    def parts(self) -> "Iterable[_Page]":
        """The same threads in pages of single ranges."""
        return (_Page(dict(some)) for some in in_parts(self.threads.items(), BATCH))


class Upkeep(Database):
    """The methods of `twelvefold.core.ports.Store` that keep the database tidy."""

    async def prune(self, *, before_us: int) -> int:
        await self._requeue_cancelled()
        for name in _OF_NO_THREAD:
            while await self._written(name, before_us=before_us):
                pass  # so many at a time
        pruned = 0
        for pages in (self._aged(before_us), self._deleted()):
            async for page in pages:
                pruned += await self._prune_old(page, before_us)
        return pruned

    async def _requeue_cancelled(self) -> None:
        # Read without locks first: the rows are few, if any, among all that wait.
        while rows := await self._found("cancelled_waiting", limit=BATCH):
            async with self._transaction() as db:
                for row in rows:
                    run = {"thread": row["thread_id"], "ordinal": row["ordinal"]}
                    await db.execute(self._sql["requeue_cancelled"], run)

    async def _aged(self, before_us: int) -> AsyncIterator[_Page]:
        below = _below(before_us + CLOCKS_US)
        while rows := await self._found(
            "aged_threads", below=below, before_us=before_us, limit=RANGE
        ):
            below = rows[-1]["id"]
            rows.reverse()
            yield _Page(_by_id(row for row in rows if row["is_old"]), [row["id"] for row in rows])

    async def _deleted(self) -> AsyncIterator[_Page]:
        deleted_at, after = 0, ""
        while rows := await self._found(
            "deleted_threads", deleted_at=deleted_at, after=after, limit=BATCH
        ):
            deleted_at, after = rows[-1]["deleted_at"], rows[-1]["id"]
            yield _Page(_by_id(rows))

    async def _prune_old(self, page: _Page, before_us: int) -> int:
        """Remove the old threads of a page, and then what those were forked from."""
        pruned, pages = 0, [page]
        while pages:
            gone = await self._remove(pages.pop(), before_us)
            pruned += len(gone)
            origins = sorted({row["forked_from"] for row in gone.values() if row["forked_from"]})
            for some in in_parts(origins, BATCH):
                rows = await self._found_in("old_threads", "threads", some, before_us=before_us)
                pages.append(_Page(_by_id(rows)))
        return pruned

    async def _remove(self, page: _Page, before_us: int) -> _Rows:
        gone: dict[str, Row] = {}
        page = await self._without_kept(page, before_us)
        for portion in page.portions():
            try:
                gone |= await self._remove_at_once(portion, before_us)
            except _Interrupted:
                gone |= await self._remove_in_parts(portion, before_us)
        return gone

    async def _remove_in_parts(self, page: _Page, before_us: int) -> _Rows:
        gone: dict[str, Row] = {}
        for part in page.parts():
            # A part that is interrupted, too, is left to the next prune.
            with suppress(_Interrupted):
                removable = await self._without_kept(part, before_us)
                gone |= await self._remove_at_once(removable, before_us)
        return gone

    async def _remove_at_once(self, page: _Page, before_us: int) -> _Rows:
        """Remove these threads but those that changed since they were read.

        Raises _Interrupted.
        """
        if not page.threads:
            return {}
        async with self._transaction() as db:
            page = page.unchanged(
                await db.fetch(*in_ranges(self._sql["lock_threads"], page.ranges))
            )
            if page.threads:
                await self._delete(db, page, before_us)
            return page.threads

    async def _without_kept(self, page: _Page, before_us: int) -> _Page:
        if not page.threads:
            return page
        statement, values = in_ranges(self._sql["kept_threads"], page.ranges)
        async with self._reading() as db:
            rows = await db.fetch(statement, {**values, "before_us": before_us})
        return page.checked(rows)

    async def _delete(self, db: Connection, page: _Page, before_us: int) -> None:
        """Delete all rows of these threads, which are locked. Raises _Interrupted."""
        for name in ("delete_runs", "delete_events", *page.deletions, "delete_threads"):
            statement, values = in_ranges(self._sql[name], page.ranges)
            removed = await db.execute(statement, {**values, "before_us": before_us})
        # The last were the threads' own rows: one that was begun among them was removed, too.
        if removed != len(page.threads):
            raise _Interrupted
        (row,) = await db.fetch(*in_ranges(self._sql["still_in_use"], page.ranges))
        if row["still_in_use"]:
            raise _Interrupted


def _by_id(rows: Iterable[Row]) -> _Rows:
    return {row["id"]: row for row in rows}


def _below(before_us: int) -> str:
    """What the ids of threads made before then are less than."""
    return f"{min(max(0, before_us // 1_000), _LAST_MS):012x}g"
