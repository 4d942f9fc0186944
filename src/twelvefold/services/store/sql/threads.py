"""Threads in SQL: what is read along and looked back at, forked, described, and hidden.

A thread or run that was deleted is hidden from `thread`, `threads`, `run` and `runs`, and nothing
is begun on it. `load` still has it: a run in flight goes on to its end, and a fork keeps its past.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from twelvefold.core.events import Entry, Event, ItemRemoved, RunStarted, size_of
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.listing import title_of
from twelvefold.core.ports import Delta, JournalDelta, Row, ThreadHead, ThreadRecord
from twelvefold.errors import Conflict, NotFound, StoreRefused
from twelvefold.services.store.sql.base import in_parts, key_of, listed
from twelvefold.services.store.sql.listing import Listing, thread_head
from twelvefold.services.store.sql.windows import entry_of
from twelvefold.services.store.transaction import Connection, encoded

LAST = 2**62
"""A position that no journal reaches."""


class Conversations(Listing):
    """The methods of `twelvefold.core.ports.Store` that are about threads."""

    async def load(self, thread: ThreadId) -> ThreadRecord:
        async with self._reading() as db:
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
        # Each row is let go once it is read: a thread may be long.
        return [entry_of(**rows.pop()) for _ in range(len(rows))]

    async def first_entry(self, thread: ThreadId, *, behind: int) -> Entry | None:
        rows = await self._found("first_event", thread=thread, position=behind)
        return entry_of(**rows[0]) if rows else None

    # --- reading along ------------------------------------------------------------------------

    async def follow(
        self,
        thread: ThreadId,
        *,
        after: int,
        deltas_after: tuple[int, int],
        to: int | None = None,
    ) -> JournalDelta:
        position, number = deltas_after
        heard = await self._found(
            "follow",
            thread=thread,
            after=after,
            position=position,
            number=number,
            to=LAST if to is None else to,
        )
        # In order here: the server would have to make a table of both to sort it.
        heard.sort(key=lambda row: (row["position"], row["number"]))
        return JournalDelta(
            deltas=tuple(_delta(row) for row in heard if row["number"]),
            entries=tuple(_heard_entry(row) for row in heard if not row["number"]),
        )

    async def marks(self, threads: Collection[ThreadId]) -> dict[ThreadId, tuple[int, int]]:
        found: dict[ThreadId, tuple[int, int]] = {}
        for some in in_parts(threads):
            for row in await self._found_in("marks", "threads", some):
                found[ThreadId(row["id"])] = row["head"], row["number"]
        return found

    async def add_delta(self, thread: ThreadId, delta: Delta) -> None:
        await self._written(
            "insert_delta",
            thread=thread,
            position=delta.position,
            number=delta.number,
            kind=delta.kind,
            body=_as_text(delta.text),
            at_us=self._now_us(),
        )

    async def last_delta(self, thread: ThreadId, position: int) -> int:
        rows = await self._found("last_delta", thread=thread, position=position)
        return int(rows[0]["number"])

    # --- looking back -------------------------------------------------------------------------

    async def thread(self, thread: ThreadId) -> ThreadHead:
        async with self._reading() as db:
            return thread_head(await self._thread_row(db, thread, "shown_thread"))

    async def new_thread(
        self, thread: ThreadId, principal: str, workflow: str, metadata: Mapping[str, str]
    ) -> None:
        await self._written(
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
        if not await self._written("describe", thread=thread, metadata=_metadata_text(metadata)):
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
        kind, version, body = encoded(event)
        entry = Entry(head + 1, run, event, size_of(body), at_us or self._now_us())
        values = {"thread": thread, "position": entry.position, "run": run}
        values |= {"type": kind, "version": version, "body": body, "at_us": entry.at_us}
        try:
            async with self._transaction() as db:
                size = thread_size + entry.size
                await self._advance_resting(db, thread, head, size, title_of(event))
                await db.execute(self._sql["insert_event"], values)
                if isinstance(event, ItemRemoved):
                    await db.execute(self._sql["forget_title"], {"thread": thread})
        except Conflict:
            if await self.first_entry(thread, behind=head) != entry:
                raise
        return entry

    async def _advance_resting(
        self, db: Connection, thread: ThreadId, head: int, size: int, title: str
    ) -> None:
        """Move the head of a thread that no run is under way on."""
        row = await self._thread_row(db, thread, "lock_thread")
        if row["deleted_at"]:
            raise NotFound(f"no thread conv_{thread}")
        if unfinished := await db.fetch(self._sql["unfinished_run"], {"thread": thread}):
            run = RunId(thread, unfinished[0]["ordinal"])
            raise Conflict(f"run {run} of this thread is not over")
        # Conditional although the row is locked: a lock ends at its node (Galera).
        moved = {"thread": thread, "head": head, "workflow": row["workflow"], "size": size}
        moved |= {"listed": 1, "title": title}
        if not await db.execute(self._sql["advance_thread"], moved):
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
                f"entry {position} is that of thread conv_{row['forked_from']}; fork that one"
            )
        # Not the thread's row: a step of it has that for as long as its tool takes.
        held = {"thread": thread, "first": (row["forked_at"] or 0) + 1}
        if not await db.fetch(self._sql["hold_origin"], held):
            raise NotFound(f"no thread conv_{thread}")
        fork = {"fork": new, "thread": thread, "position": position}
        await db.execute(self._sql["insert_fork"], fork)

    # --- hiding -------------------------------------------------------------------------------

    async def delete_thread(self, thread: ThreadId) -> None:
        async with self._transaction() as db:
            if not await db.execute(self._sql["hide_thread"], {"thread": thread}):
                raise NotFound(f"no thread conv_{thread}")
            # What is under way for it ends before its next step.
            await db.execute(self._sql["ask_cancel_all"], {"thread": thread})

    async def delete_run(self, run: RunId) -> None:
        async with self._transaction() as db:
            # Whoever begins another run on the thread takes its row first.
            row = await self._thread_row(db, run.thread, "lock_thread")
            if await db.execute(self._sql["hide_run"], key_of(run)):
                await self._forget_run(db, run, row)
                return
            rows = await db.fetch(self._sql["run"], key_of(run))
        if not rows:
            raise NotFound(f"no run {run}")
        raise Conflict(f"run {run} is {rows[0]['status']}; it can be deleted when it is over")

    async def _forget_run(self, db: Connection, run: RunId, row: Row) -> None:
        """Hide the thread if nobody could find it again, and titles that may be the run's words."""
        thread = {"thread": run.thread}
        if not await db.fetch(self._sql["runs_left"], thread) and await self._is_unnamed(db, row):
            await db.execute(self._sql["hide_empty_thread"], thread | {"head": row["head"]})
        await db.execute(self._sql["forget_title"], thread)
        forks: Sequence[str] = [run.thread]
        while forks:
            forks = [fork["id"] for fork in await self._of_all(db, "forks", forks)]
            for some in in_parts(forks):
                await db.execute(*listed(self._sql["forget_titles"], "threads", some))

    async def _is_unnamed(self, db: Connection, row: Row) -> bool:
        """Whether it is nothing but responses, of which none was begun in a conversation."""
        after = row["forked_at"] or 0
        while signs := await db.fetch(
            self._sql["signs_of_a_name"], {"thread": row["id"], "after": after}
        ):
            after = signs[0]["position"]
            place = {"thread": row["id"], "position": after}
            [found] = await db.fetch(self._sql["event"], place)
            event = entry_of(**found).event
            if not isinstance(event, RunStarted) or event.options.conversation:
                return False
        return True


def _heard_entry(row: Row) -> Entry:
    return entry_of(**{name: value for name, value in row.items() if name != "number"})


def _delta(row: Row) -> Delta:
    return Delta(row["position"], row["number"], row["type"], row["body"])


def _metadata_text(metadata: Mapping[str, str]) -> str:
    return _as_text(msgspec.json.encode(metadata).decode()) if metadata else ""


def _as_text(text: str) -> str:
    """The text, if it is one. Raises StoreRefused for half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreRefused("a piece of text holds half of a surrogate pair") from None
    return text
