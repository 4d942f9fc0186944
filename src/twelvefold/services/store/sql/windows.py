"""Parts of a thread's journal in SQL: a bounded number of entries, and of bytes, at a time.

A thread that was forked has the entries of its origin up to a position, and so on: its lineage. A
statement reads from one of those threads.
"""

from collections.abc import Collection, Sequence

from twelvefold.core.events import Entry, decode, size_of
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Row, Segment, ThreadHead
from twelvefold.services.store.sql.base import Database, in_parts, key_of, listed
from twelvefold.services.store.transaction import Connection

WINDOW_ROWS = 32
WINDOW_BYTES = 1024 * 1024
"""An entry more than has room is read: the first is read however large it is."""
ANSWERS = 4
"""Answers to approvals that are read at once."""


class Windows(Database):
    """The methods of `twelvefold.core.ports.Store` that read a part of a journal."""

    async def lineage(self, head: ThreadHead) -> tuple[Segment, ...]:
        if not head.forked_from:
            return (Segment(head.id, 0, head.head),)
        async with self._reading() as db:
            return await self._lineage(db, head)

    async def _lineage(self, db: Connection, head: ThreadHead) -> tuple[Segment, ...]:
        segments = [Segment(head.id, head.forked_at, head.head)]
        origin = head.forked_from
        while origin:
            rows = await db.fetch(self._sql["lineage"], {"thread": origin})
            for row in rows:
                start, end = row["forked_at"] or 0, segments[-1].after
                segments.append(Segment(ThreadId(row["id"]), start, end))
            # A statement goes back so far and no further.
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
        async with self._reading() as db:
            for segment in reversed(lineage) if newest_first else lineage:
                first, last = max(after, segment.after), min(to, segment.to)
                if first >= last:
                    continue
                values = {"thread": segment.thread, "after": first, "to": last}
                values |= {"rows": rows, "bytes": size}
                statement = "window_back" if newest_first else "window"
                if found := await db.fetch(self._sql[statement], values):
                    return [entry_of(**row) for row in found]
        return []

    async def answers(
        self, lineage: Sequence[Segment], *, after: int, to: int, rows: int = ANSWERS
    ) -> list[Entry]:
        for segment in lineage:
            first, last = max(after, segment.after), min(to, segment.to)
            if first >= last:
                continue
            values = {"thread": segment.thread, "after": first, "to": last, "rows": rows}
            if found := await self._found("answers", **values):
                return [entry_of(**row) for row in found]
        return []

    async def size_of(self, lineage: Sequence[Segment]) -> int:
        size = 0
        async with self._reading() as db:
            for segment in lineage:
                values = {"thread": segment.thread, "after": segment.after, "to": segment.to}
                size += int((await db.fetch(self._sql["size_of"], values))[0]["size"] or 0)
        return size

    async def run_at(self, head: ThreadHead) -> int:
        # A fork without an entry of its own goes on from its origin's.
        thread = head.id if head.head > head.forked_at else head.forked_from
        rows = await self._found("run_at", thread=thread, position=head.head)
        return int(rows[0]["run"]) if rows else 0

    async def count_waits(self, run: RunId, *, before: int) -> int:
        rows = await self._found("waits", **key_of(run), before=before)
        return int(rows[0]["waits"])

    async def last_start(self, lineage: Sequence[Segment], position: int) -> Entry | None:
        for segment in reversed(lineage):
            if segment.after < position:
                values = {"thread": segment.thread, "after": segment.after, "to": position}
                rows = await self._found("last_start", **values)
                return entry_of(**rows[0]) if rows else None
        return None

    async def deleted_runs(self, lineage: Sequence[Segment]) -> frozenset[int]:
        async with self._reading() as db:
            return await self._deleted_runs(db, lineage)

    async def _deleted_runs(self, db: Connection, lineage: Sequence[Segment]) -> frozenset[int]:
        ends = {segment.thread: segment.to for segment in lineage}
        rows = await self._of_all(db, "deleted_runs", ends)
        return frozenset(
            row["ordinal"] for row in rows if (row["began"] or 0) <= ends[row["thread_id"]]
        )

    async def removed_items(self, lineage: Sequence[Segment]) -> frozenset[str]:
        async with self._reading() as db:
            return await self._removed_items(db, lineage)

    async def _removed_items(self, db: Connection, lineage: Sequence[Segment]) -> frozenset[str]:
        ends = {segment.thread: segment.to for segment in lineage}
        rows = await self._of_all(db, "removed_items", ends)
        return frozenset(
            decode(row["type"], row["version"], row["body"]).item  # type: ignore[union-attr]
            for row in rows
            if row["position"] <= ends[row["thread_id"]]
        )

    async def _of_all(self, db: Connection, name: str, threads: Collection[str]) -> list[Row]:
        rows: list[Row] = []
        for some in in_parts(threads):
            rows += await db.fetch(*listed(self._sql[name], "threads", some))
        return rows


def entry_of(
    position: int, run: int, type: str, version: int, body: str | bytes, at_us: int
) -> Entry:
    """A row of the journal."""
    size = len(body) if isinstance(body, bytes) else size_of(body)
    return Entry(position, run, decode(type, version, body), size, at_us)
