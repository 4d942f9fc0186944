"""Entries in SQL: parts of a thread's journal, bounded in rows and in bytes.

A fork has the entries of its origin up to a position, and so on: its lineage. A statement reads
from one of those threads.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from twelvefold.core import (
    Entry,
    Row,
    RunId,
    Segment,
    ThreadHead,
    ThreadId,
    decode,
)
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.rows import entry_of
from twelvefold.services.store.sql.base import Database, expand_list, in_batches, run_key

WINDOW_ROWS = 32
WINDOW_BYTES = 1024 * 1024
"""One entry more than this allows is read, so that a window is never empty."""
ANSWERS_WINDOW = 4
"""Answers to approvals that one statement reads."""


class Entries(Database):
    """Implements the methods of `twelvefold.core.ports.ThreadStore` that read parts of journals."""

    async def lineage(self, head: ThreadHead) -> tuple[Segment, ...]:
        if not head.forked_from:
            return (Segment(head.id, 0, head.head),)
        async with self._read_connection() as db:
            return await self._lineage(db, head)

    async def _lineage(self, db: Connection, head: ThreadHead) -> tuple[Segment, ...]:
        segments = [Segment(head.id, head.forked_at, head.head)]
        origin = head.forked_from
        while origin:
            rows = await db.fetch(self._sql["lineage"], {"thread": origin})
            for row in rows:
                start, end = row["forked_at"] or 0, segments[-1].after
                segments.append(Segment(ThreadId(row["id"]), start, end))
            # One statement returns at most 100 threads.
            origin = rows[-1]["forked_from"] if rows else None
        return tuple(reversed(segments))

    async def window(
        self,
        lineage: Sequence[Segment],
        *,
        after: int,
        to: int,
        newest_first: bool = False,
        rows: int = WINDOW_ROWS,
        size: int = WINDOW_BYTES,
    ) -> list[Entry]:
        async with self._read_connection() as db:
            for segment in _cut(reversed(lineage) if newest_first else lineage, after, to):
                values = {**_bounds(segment), "rows": rows, "bytes": size}
                statement = "window_back" if newest_first else "window"
                if found := await db.fetch(self._sql[statement], values):
                    return [entry_of(**row) for row in found]
        return []

    async def answers(
        self, lineage: Sequence[Segment], *, after: int, to: int, rows: int = ANSWERS_WINDOW
    ) -> list[Entry]:
        for segment in _cut(lineage, after, to):
            if found := await self._fetch("answers", **_bounds(segment), rows=rows):
                return [entry_of(**row) for row in found]
        return []

    async def size_of(self, lineage: Sequence[Segment]) -> int:
        size = 0
        async with self._read_connection() as db:
            for segment in lineage:
                [row] = await db.fetch(self._sql["size_of"], _bounds(segment))
                size += int(row["size"] or 0)
        return size

    async def run_at(self, head: ThreadHead) -> int:
        # A fork without own entries continues its origin.
        thread = head.id if head.head > head.forked_at else head.forked_from
        rows = await self._fetch("run_at", thread=thread, position=head.head)
        return int(rows[0]["run"]) if rows else 0

    async def count_waits(self, run: RunId, *, before: int) -> int:
        rows = await self._fetch("waits", **run_key(run), before=before)
        return int(rows[0]["waits"])

    async def last_start(self, lineage: Sequence[Segment], position: int) -> Entry | None:
        for segment in reversed(lineage):
            if segment.after < position:
                values = {"thread": segment.thread, "after": segment.after, "to": position}
                rows = await self._fetch("last_start", **values)
                return entry_of(**rows[0]) if rows else None
        return None

    async def deleted_runs(self, lineage: Sequence[Segment]) -> frozenset[int]:
        async with self._read_connection() as db:
            return await self._deleted_runs(db, lineage)

    async def _deleted_runs(self, db: Connection, lineage: Sequence[Segment]) -> frozenset[int]:
        ends = {segment.thread: segment.to for segment in lineage}
        rows = await self._fetch_for_threads(db, "deleted_runs", ends)
        return frozenset(
            row["ordinal"] for row in rows if (row["began"] or 0) <= ends[row["thread_id"]]
        )

    async def removed_items(self, lineage: Sequence[Segment]) -> frozenset[str]:
        async with self._read_connection() as db:
            return await self._removed_items(db, lineage)

    async def _removed_items(self, db: Connection, lineage: Sequence[Segment]) -> frozenset[str]:
        ends = {segment.thread: segment.to for segment in lineage}
        rows = await self._fetch_for_threads(db, "removed_items", ends)
        return frozenset(
            decode(row["type"], row["version"], row["body"]).item  # type: ignore[union-attr]
            for row in rows
            if row["position"] <= ends[row["thread_id"]]
        )

    async def _fetch_for_threads(
        self, db: Connection, name: str, threads: Collection[str]
    ) -> list[Row]:
        rows: list[Row] = []
        for batch in in_batches(threads):
            rows += await db.fetch(*expand_list(self._sql[name], "threads", batch))
        return rows


def _cut(lineage: Iterable[Segment], after: int, to: int) -> Iterator[Segment]:
    """Yield the parts of the segments after `after` and up to `to`."""
    for segment in lineage:
        first, last = max(after, segment.after), min(to, segment.to)
        if first < last:
            yield Segment(segment.thread, first, last)


def _bounds(segment: Segment) -> dict[str, Any]:
    return {"thread": segment.thread, "after": segment.after, "to": segment.to}
