"""Threads in SQL: follow, read, fork, describe and hide them.

A deleted thread or run is hidden from `thread`, `threads`, `run` and `runs`, and no run starts on
it. `load` still returns it: a run in progress ends in order, and a fork keeps its history.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from twelvefold.core import (
    Delta,
    Entry,
    Event,
    ItemRemoved,
    JournalDelta,
    Row,
    RunId,
    RunStarted,
    ThreadHead,
    ThreadId,
    ThreadRecord,
)
from twelvefold.errors import Conflict, NotFound, StoreRefused
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.rows import entry_of, new_entry, title_of
from twelvefold.services.store.sql.base import expand_list, in_batches, run_key
from twelvefold.services.store.sql.listing import Listing, thread_head

MAX_POSITION = 2**62
"""A position that no journal reaches."""


class Threads(Listing):
    """Implements `twelvefold.core.ports.ThreadStore`, and `load` and `delete_run` of `RunStore`."""

    async def load(self, thread: ThreadId) -> ThreadRecord:
        async with self._read_connection() as db:
            row = await self._thread_row(db, thread)
            entries = await self._entries(db, thread, row["head"])
            origin = row
            while origin["forked_from"]:
                position = origin["forked_at"]
                origin = await self._thread_row(db, origin["forked_from"])
                entries = await self._entries(db, origin["id"], position) + entries
        return ThreadRecord(
            thread,
            row["principal"],
            row["workflow"],
            row["head"],
            row["forked_at"] or 0,
            tuple(entries),
            deleted=row["deleted_at"] is not None,
        )

    async def _thread_row(self, db: Connection, thread: str, statement: str = "thread") -> Row:
        rows = await db.fetch(self._sql[statement], {"thread": thread})
        if not rows:
            raise NotFound(f"no thread conv_{thread}")
        return rows[0]

    async def _entries(self, db: Connection, thread: str, position: int) -> list[Entry]:
        rows = await db.fetch(self._sql["events"], {"thread": thread, "position": position})
        rows.reverse()
        # `pop` frees each row after it is decoded: a thread may be long.
        return [entry_of(**rows.pop()) for _ in range(len(rows))]

    async def first_entry(self, thread: ThreadId, *, after: int) -> Entry | None:
        rows = await self._fetch("first_event", thread=thread, position=after)
        return entry_of(**rows[0]) if rows else None

    # --- the end of a journal -----------------------------------------------------------------

    async def follow(
        self,
        thread: ThreadId,
        *,
        after: int,
        deltas_after: tuple[int, int],
        to: int | None = None,
    ) -> JournalDelta:
        position, number = deltas_after
        rows = await self._fetch(
            "follow",
            thread=thread,
            after=after,
            position=position,
            number=number,
            to=MAX_POSITION if to is None else to,
        )
        # Sorted here: the server would need a temporary table to sort the union.
        rows.sort(key=lambda row: (row["position"], row["number"]))
        return JournalDelta(
            deltas=tuple(_delta(row) for row in rows if row["number"]),
            entries=tuple(_followed_entry(row) for row in rows if not row["number"]),
        )

    async def marks(self, threads: Collection[ThreadId]) -> dict[ThreadId, tuple[int, int]]:
        marks: dict[ThreadId, tuple[int, int]] = {}
        for batch in in_batches(threads):
            for row in await self._fetch_in("marks", "threads", batch):
                marks[ThreadId(row["id"])] = row["head"], row["number"]
        return marks

    async def add_delta(self, thread: ThreadId, delta: Delta) -> None:
        await self._execute(
            "insert_delta",
            thread=thread,
            position=delta.position,
            number=delta.number,
            kind=delta.kind,
            body=_check_text(delta.text),
            at_us=self._now_us(),
        )

    async def last_delta(self, thread: ThreadId, position: int) -> int:
        rows = await self._fetch("last_delta", thread=thread, position=position)
        return int(rows[0]["number"])

    # --- threads ------------------------------------------------------------------------------

    async def thread(self, thread: ThreadId) -> ThreadHead:
        async with self._read_connection() as db:
            return thread_head(await self._thread_row(db, thread, "visible_thread"))

    async def new_thread(
        self, thread: ThreadId, principal: str, workflow: str, metadata: Mapping[str, str]
    ) -> None:
        await self._execute(
            "insert_thread",
            thread=thread,
            principal=principal,
            workflow=workflow,
            head=0,
            size=0,
            metadata=_metadata_text(metadata),
            listed=1,
            title=None,
        )

    async def describe(self, thread: ThreadId, metadata: Mapping[str, str]) -> None:
        if not await self._execute("describe", thread=thread, metadata=_metadata_text(metadata)):
            raise NotFound(f"no thread conv_{thread}")

    async def add_items(
        self,
        thread: ThreadId,
        head: int,
        run: int,
        event: Event,
        *,
        at_us: int = 0,
        thread_size: int = 0,
    ) -> Entry:
        entry, values = new_entry(thread, head + 1, run, event, at_us or self._now_us())
        try:
            async with self._transaction() as db:
                size = thread_size + entry.size
                await self._advance_idle(db, thread, head, size, title_of(event))
                db.defer(self._sql["insert_event"], values)
                if isinstance(event, ItemRemoved):
                    db.defer(self._sql["forget_title"], {"thread": thread})
        except Conflict:
            if await self.first_entry(thread, after=head) != entry:
                raise
        return entry

    async def _advance_idle(
        self, db: Connection, thread: ThreadId, head: int, size: int, title: str
    ) -> None:
        """Move the head of a thread without a run in progress. Raises Conflict or NotFound."""
        row = await self._thread_row(db, thread, "lock_thread")
        if row["deleted_at"]:
            raise NotFound(f"no thread conv_{thread}")
        if unfinished := await db.fetch(self._sql["unfinished_run"], {"thread": thread}):
            run = RunId(thread, unfinished[0]["ordinal"])
            raise Conflict(f"run {run} of this thread is not over")
        # Conditional although the row is locked: in a Galera cluster a lock ends at the node.
        values = {"thread": thread, "head": head, "workflow": row["workflow"], "size": size}
        values |= {"listed": 1, "title": title}
        if not await db.execute(self._sql["advance_thread"], values):
            raise Conflict(f"thread conv_{thread} has moved on; read it again")

    async def fork(self, thread: ThreadId, position: int, new: ThreadId) -> None:
        async with self._transaction() as db:
            await self._fork(db, thread, position, new)

    async def _fork(self, db: Connection, thread: ThreadId, position: int, new: ThreadId) -> None:
        row = await self._thread_row(db, thread)
        if row["deleted_at"]:
            raise NotFound(f"no thread conv_{thread}")
        if not 1 <= position <= row["head"]:
            raise NotFound(
                f"thread conv_{thread} has no entry {position}; it has 1 to {row['head']}"
            )
        if position <= (row["forked_at"] or 0):
            raise NotFound(
                f"entry {position} belongs to thread conv_{row['forked_from']}; fork that one"
            )
        # Not the thread's row, which a step locks for as long as its tool takes.
        first = {"thread": thread, "first": (row["forked_at"] or 0) + 1}
        if not await db.fetch(self._sql["lock_origin"], first):
            raise NotFound(f"no thread conv_{thread}")
        fork = {"fork": new, "thread": thread, "position": position}
        await db.execute(self._sql["insert_fork"], fork)

    # --- hiding -------------------------------------------------------------------------------

    async def delete_thread(self, thread: ThreadId) -> None:
        below = await self._threads_below([thread])
        async with self._transaction() as db:
            if not await db.execute(self._sql["hide_thread"], {"thread": thread}):
                raise NotFound(f"no thread conv_{thread}")
            # A run in progress ends before its next step, and with it those that it starts now.
            self._stop_runs(db, thread)
            self._hide_below(db, below)

    async def _threads_below(self, threads: Sequence[str]) -> Sequence[str]:
        """Return the threads of the runs that runs of these threads have started, and so on.

        Not in a transaction, as `_forks_of`.
        """
        found: list[str] = []
        async with self._read_connection() as db:
            while rows := await self._fetch_for_threads(db, "children", threads):
                threads = [row["id"] for row in rows]
                found += threads
        return found

    def _hide_below(self, db: Connection, threads: Sequence[str]) -> None:
        for thread in threads:
            db.defer(self._sql["hide_thread"], {"thread": thread})
            self._stop_runs(db, thread)

    def _stop_runs(self, db: Connection, thread: str) -> None:
        """Cancel the runs of a hidden thread; no person is asked for them any more."""
        for name in ("ask_cancel_all", "remove_questions_of_thread"):
            db.defer(self._sql[name], {"thread": thread})

    async def delete_run(self, run: RunId) -> None:
        forks = await self._forks_of(run.thread)
        started = [row["id"] for row in await self._fetch("children_of_run", **run_key(run))]
        below = [*started, *(await self._threads_below(started) if started else ())]
        async with self._transaction() as db:
            # A start of another run on the thread locks this row first.
            row = await self._thread_row(db, run.thread, "lock_thread")
            if await db.execute(self._sql["hide_run"], run_key(run)):
                await self._forget_run(db, run, row, forks)
                self._hide_below(db, below)
                return
            rows = await db.fetch(self._sql["run"], run_key(run))
        if not rows:
            raise NotFound(f"no run {run}")
        raise Conflict(f"run {run} is {rows[0]['status']}; it can be deleted when it is over")

    async def _forks_of(self, thread: ThreadId) -> Sequence[str]:
        """Return the forks of a thread, their forks and so on.

        Not in a transaction, which would have a connection to every shard after this read.
        """
        found: list[str] = []
        threads: Sequence[str] = [thread]
        async with self._read_connection() as db:
            while rows := await self._fetch_for_threads(db, "forks", threads):
                threads = [row["id"] for row in rows]
                found += threads
        return found

    async def _forget_run(self, db: Connection, run: RunId, row: Row, forks: Sequence[str]) -> None:
        """Hide a thread that no request can find, and clear titles that may come from the run."""
        thread = {"thread": run.thread}
        if not await db.fetch(self._sql["runs_left"], thread) and await self._has_no_name(db, row):
            await db.execute(self._sql["hide_empty_thread"], thread | {"head": row["head"]})
        await db.execute(self._sql["forget_title"], thread)
        for batch in in_batches(forks):
            await db.execute(*expand_list(self._sql["forget_titles"], "threads", batch))

    async def _has_no_name(self, db: Connection, row: Row) -> bool:
        """Return whether the thread has only responses, and none of them in a conversation."""
        statement, after = self._sql["naming_entries"], row["forked_at"] or 0
        while naming := await db.fetch(statement, {"thread": row["id"], "after": after}):
            after = naming[0]["position"]
            [found] = await db.fetch(self._sql["event"], {"thread": row["id"], "position": after})
            event = entry_of(**found).event
            if not isinstance(event, RunStarted) or event.options.conversation:
                return False
        return True


def _followed_entry(row: Row) -> Entry:
    return entry_of(**{name: value for name, value in row.items() if name != "number"})


def _delta(row: Row) -> Delta:
    return Delta(row["position"], row["number"], row["type"], row["body"])


def _metadata_text(metadata: Mapping[str, str]) -> str:
    return _check_text(msgspec.json.encode(metadata).decode()) if metadata else ""


def _check_text(text: str) -> str:
    """Return the text. Raises StoreRefused if it holds half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreRefused("a piece of text holds half of a surrogate pair") from None
    return text
