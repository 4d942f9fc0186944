"""Retention in SQL: remove threads that ended long ago or were deleted.

A transaction removes at most `RANGE_SIZE` threads and `MAX_ENTRIES` entries, so that locks are
short and replicas keep up. Threads that follow each other in the primary key are removed as one
range, which costs a server a third of a list of their ids. Threads are checked without locks. The
transaction that removes them verifies that none has changed since: it leaves out threads whose head
has moved, its deletions leave out rows that must stay, and a remaining row rolls it back.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from twelvefold.core import FindPrice, Row, no_price
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.base import MAX_LIST, SECOND_US, in_batches
from twelvefold.services.store.sql.ranges import IdRange, in_ranges, ranges_of, single_ranges
from twelvefold.services.store.sql.usage import UsageSums

RANGE_SIZE = 300
"""Threads of one page whose ids follow each other. They have at most half as many ranges."""
MAX_ENTRIES = 2_000
"""Entries that one transaction removes, unless a single thread has more."""
MAX_BYTES = 16 * 1024 * 1024
"""Bytes of entries that one transaction removes, unless a single thread has more. The binary log
holds all of them, and a Galera cluster limits the size of a transaction."""
CLOCK_SKEW_US = 3_600 * SECOND_US
"""How far the clock of a process that made a thread's id may be ahead of the database's."""
_MAX_MS = 0xFFFF_FFFF_FFFF
_WITHOUT_THREAD = (
    *("delete_old_requests", "delete_old_messages", "delete_old_signals"),
    *("delete_old_reservations", "delete_old_periods", "delete_old_trace_exports"),
    *("delete_old_questions", "remove_silent_processes"),
)
_RARE = ("delete_deltas", "delete_requests", "delete_signal_waits", "delete_outbox")
"""Statements that delete rows which most old threads do not have."""
_Rows = Mapping[str, Row]
"""Rows of threads by id, with `head`, `entries`, `size` and `forked_from`."""


class _Interrupted(Exception):
    """Another process uses one of these threads, or added one: the transaction is rolled back."""


class _Page:
    """Threads that may be removed, in the order of their ids.

    `all_ids` are the ids of all threads between them, in order; without them each thread is a
    separate range. `deletions` are the statements of `_RARE` that have rows to delete.
    """

    def __init__(
        self,
        threads: _Rows,
        all_ids: Sequence[str] = (),
        deletions: Collection[str] = _RARE,
    ) -> None:
        self.threads = threads
        self.deletions = deletions
        self._all_ids = all_ids
        self.ranges: list[IdRange] = (
            ranges_of(threads, all_ids) if all_ids else single_ranges(threads)
        )

    def select(self, ids: Collection[str]) -> "_Page":
        """Return a page with these threads only."""
        if len(ids) == len(self.threads):
            return self
        selected = {id: row for id, row in self.threads.items() if id in ids}
        return _Page(selected, self._all_ids, self.deletions)

    def drop_kept(self, rows: Iterable[Row]) -> "_Page":
        """Return a page without the threads that have a reason to stay by `kept_threads`."""
        found = {(row["part"], row["id"]) for row in rows if row["id"]}
        kept = {thread for part, thread in found if part == "keep"}
        deletions = [name for name in _RARE if name in {part for part, _ in found}]
        removable = {id: row for id, row in self.threads.items() if id not in kept}
        return _Page(removable, self._all_ids, deletions)

    def select_unchanged(self, rows: Iterable[Row]) -> "_Page":
        """Return a page with the threads whose head is the same in these rows."""
        heads = {row["id"]: row["head"] for row in rows}
        return self.select([id for id, row in self.threads.items() if row["head"] == heads.get(id)])

    def split(self) -> "Iterator[_Page]":
        """Yield the threads in pages that one transaction may remove."""
        ids: list[str] = []
        entries = size = 0
        for id, row in self.threads.items():
            entries += row["entries"]
            size += row["size"]
            if ids and (entries > MAX_ENTRIES or size > MAX_BYTES):
                yield self.select(ids)
                ids, entries, size = [], row["entries"], row["size"]
            ids.append(id)
        if ids:
            yield self.select(ids)

    def split_ranges(self) -> "Iterable[_Page]":
        """Return the threads in pages with a range for each thread."""
        return (_Page(dict(batch)) for batch in in_batches(self.threads.items()))


class Retention(UsageSums):
    """Implements `prune` of `twelvefold.core.ports.MaintenanceStore`."""

    async def prune(self, *, before_us: int, price: FindPrice = no_price) -> int:
        while await self.count_usage(price):
            pass  # a run that is not counted keeps its thread
        await self._requeue_cancelled()
        for name in _WITHOUT_THREAD:
            while await self._execute(name, before_us=before_us):
                pass  # one statement removes at most 1000 rows in MySQL
        pruned = 0
        for pages in (self._aged(before_us), self._deleted()):
            async for page in pages:
                pruned += await self._prune_old(page, before_us)
        return pruned

    async def _requeue_cancelled(self) -> None:
        # Read without locks: few waiting runs, if any, have a cancel request.
        while rows := await self._fetch("cancelled_waiting", limit=MAX_LIST):
            async with self._transaction() as db:
                for row in rows:
                    run = {"thread": row["thread_id"], "ordinal": row["ordinal"]}
                    await db.execute(self._sql["requeue_cancelled"], run)

    async def _aged(self, before_us: int) -> AsyncIterator[_Page]:
        below = _below(before_us + CLOCK_SKEW_US)
        while rows := await self._fetch(
            "aged_threads", below=below, before_us=before_us, limit=RANGE_SIZE
        ):
            below = rows[-1]["id"]
            rows.reverse()
            yield _Page(_by_id(row for row in rows if row["is_old"]), [row["id"] for row in rows])

    async def _deleted(self) -> AsyncIterator[_Page]:
        deleted_at, after = 0, ""
        while rows := await self._fetch(
            "deleted_threads", deleted_at=deleted_at, after=after, limit=MAX_LIST
        ):
            deleted_at, after = rows[-1]["deleted_at"], rows[-1]["id"]
            yield _Page(_by_id(rows))

    async def _prune_old(self, page: _Page, before_us: int) -> int:
        """Remove the old threads of a page, then their children and their origins."""
        pruned, pages = 0, [page]
        while pages:
            removed = await self._remove(pages.pop(), before_us)
            pruned += len(removed)
            origins = {row["forked_from"] for row in removed.values() if row["forked_from"]}
            for statement, ids in (("old_threads", origins), ("old_children", removed)):
                for batch in in_batches(sorted(ids)):
                    rows = await self._fetch_in(statement, "threads", batch, before_us=before_us)
                    pages.append(_Page(_by_id(rows)))
        return pruned

    async def _remove(self, page: _Page, before_us: int) -> _Rows:
        removed: dict[str, Row] = {}
        page = await self._drop_kept(page, before_us)
        for part in page.split():
            try:
                removed |= await self._remove_unlocked(part, before_us)
            except _Interrupted:
                removed |= await self._remove_ranges(part, before_us)
        return removed

    async def _remove_ranges(self, page: _Page, before_us: int) -> _Rows:
        """Remove the threads again after an interruption, without other threads between them."""
        removed: dict[str, Row] = {}
        for part in page.split_ranges():
            # The next prune removes a part that is interrupted again.
            with suppress(_Interrupted):
                removable = await self._drop_kept(part, before_us)
                removed |= await self._remove_unlocked(removable, before_us)
        return removed

    async def _remove_unlocked(self, page: _Page, before_us: int) -> _Rows:
        """Remove these threads as `_remove_at_once` does, except for locked ones."""

        async def remove(ids: Sequence[str]) -> _Rows:
            return await self._remove_at_once(page.select(ids), before_us)

        removed: dict[str, Row] = {}
        for part in await self._without_locked(list(page.threads), remove):
            removed |= part
        return removed

    async def _remove_at_once(self, page: _Page, before_us: int) -> _Rows:
        """Remove these threads, except for those that changed since they were read.

        Raises _Interrupted, and RowLocked if another transaction has locked one.
        """
        if not page.threads:
            return {}
        async with self._transaction() as db:
            statement, values = in_ranges(self._sql["lock_threads"], page.ranges)
            locked = await self._lock(db, statement, values)
            page = page.select_unchanged(locked)
            if page.threads:
                await self._delete(db, page, before_us)
            return page.threads

    async def _drop_kept(self, page: _Page, before_us: int) -> _Page:
        if not page.threads:
            return page
        statement, values = in_ranges(self._sql["kept_threads"], page.ranges)
        async with self._read_connection() as db:
            rows = await db.fetch(statement, {**values, "before_us": before_us})
        return page.drop_kept(rows)

    async def _delete(self, db: Connection, page: _Page, before_us: int) -> None:
        """Delete all rows of these threads, which are locked. Raises _Interrupted."""
        for name in ("delete_runs", "delete_events", *page.deletions, "delete_threads"):
            statement, values = in_ranges(self._sql[name], page.ranges)
            removed = await db.execute(statement, {**values, "before_us": before_us})
        # The last statement deletes the threads' rows. More rows than threads mean that a thread
        # was started among them, and was deleted too.
        if removed != len(page.threads):
            raise _Interrupted
        (row,) = await db.fetch(*in_ranges(self._sql["still_in_use"], page.ranges))
        if row["still_in_use"]:
            raise _Interrupted


def _by_id(rows: Iterable[Row]) -> _Rows:
    return {row["id"]: row for row in rows}


def _below(before_us: int) -> str:
    """Return a text that is greater than the ids of all threads made before then."""
    return f"{min(max(0, before_us // 1_000), _MAX_MS):012x}g"
