"""The journal in SQL: what `twelvefold.core.ports.Store` promises, over any driver's transactions.

A subclass brings connections, its errors as ours, and the few statements that it says in its own
way; `mysql.py` and `sqlite.py` are those.
"""

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from twelvefold.core.events import Entry, Event, Usage, decode
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.ports import (
    OVER,
    Append,
    Lease,
    NewRun,
    ReadOnly,
    Row,
    RunRecord,
    RunStatus,
    StepTransaction,
    ThreadRecord,
    Transaction,
)
from twelvefold.errors import (
    CancelAsked,
    Conflict,
    DuplicateRow,
    LeaseLost,
    NotFound,
    StaleRun,
    StoreUnavailable,
)
from twelvefold.services.store.statements import load
from twelvefold.services.store.transaction import (
    Connection,
    SQLReadOnly,
    SQLStepTransaction,
    SQLTransaction,
    encoded,
)

if TYPE_CHECKING:
    from twelvefold.services.store.guest import Guest

_S = 1_000_000
IN_DOUBT = LeaseToken("in-doubt")
"""Left in place of a token by a process that gave up with an unsafe call under way."""


class SQLStore(ABC):
    """Obeys `twelvefold.core.ports.Store`."""

    def __init__(
        self, own_statements: str, words: Mapping[str, str], now_us: Callable[[], int]
    ) -> None:
        self._sql = load("journal.sql", words) | load(own_statements, words)
        self._now_us = now_us
        self._guest: Guest | None = None

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[Connection]:
        """A connection in a transaction that commits when the body ends, else rolls back."""

    @abstractmethod
    def _reading(self) -> AbstractAsyncContextManager[Connection]:
        """A connection to read what is committed."""

    @abstractmethod
    def _read_only(self) -> AbstractAsyncContextManager[Connection]:
        """The same for statements that are not ours: the database itself refuses to write."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""

    def _guest_of(self) -> "Guest":
        # Only tools that use SQLAlchemy pay for its import.
        from twelvefold.services.store.guest import Guest

        if self._guest is None:
            self._guest = Guest()
        return self._guest

    # --- runs ---------------------------------------------------------------------------------

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        lease = Lease(new.run, new.token) if lease_s is not None else None
        try:
            return await self._started(new, started, lease_s), lease
        except (DuplicateRow, Conflict) as error:
            if entry := await self._started_before(new, lease):
                return entry, lease
            raise Conflict(f"thread conv_{new.run.thread} has moved on; read it again") from error

    async def _started(self, new: NewRun, started: Event, lease_s: float | None) -> Entry:
        kind, version, body = encoded(started)
        entry = Entry(new.thread_head + 1, new.run.ordinal, started, len(body), self._now_us())
        values = {"thread": new.run.thread, "position": entry.position, "run": entry.run}
        values |= {"type": kind, "version": version, "body": body, "at_us": entry.at_us}
        async with self._transaction() as db:
            await self._start_thread(db, new)
            await db.execute(self._sql["insert_run"], _run_values(new, lease_s))
            await db.execute(self._sql["insert_event"], values)
        return entry

    async def _start_thread(self, db: Connection, new: NewRun) -> None:
        thread = {"thread": new.run.thread, "head": new.thread_head}
        if new.thread_head == 0:
            whose = {"principal": new.principal, "workflow": new.workflow}
            await db.execute(self._sql["insert_thread"], {"thread": new.run.thread, **whose})
        elif not await db.execute(self._sql["advance_thread"], thread):
            raise Conflict(f"thread conv_{new.run.thread} has moved on")

    async def _started_before(self, new: NewRun, lease: Lease | None) -> Entry | None:
        """The first entry of the run, if this very start has been through already."""
        async with self._reading() as db:
            rows = await db.fetch(self._sql["run_state"], _key(new.run))
            if not rows or rows[0]["idempotency_key"] != _idempotency_key(new):
                return None
            if lease is not None and rows[0]["lease_token"] != lease.token:
                return None
            return (await self._entries(db, new.run.thread, new.thread_head + 1))[-1]

    async def claim(self, run: RunId, lease_s: float) -> tuple[Lease, bool] | None:
        lease = Lease(run, _token())
        async with self._transaction() as db:
            rows = await db.fetch(self._sql["lock_run"], _key(run))
            if not rows:
                raise NotFound(f"no run {run}")
            claim = {"token": lease.token, "lease_us": int(lease_s * _S), **_key(run)}
            if not await db.execute(self._sql["claim"], claim):
                return None
            return lease, bool(rows[0]["lease_token"])

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        values = {"token": lease.token, "lease_us": int(lease_s * _S), **_key(lease.run)}
        async with self._transaction() as db:
            if not await db.execute(self._sql["renew"], values):
                raise LeaseLost(f"run {lease.run}: another process has taken it over")
            rows = await db.fetch(self._sql["run_state"], _key(lease.run))
            return bool(rows and rows[0]["cancel_asked"])

    async def release(
        self,
        lease: Lease,
        *,
        status: Literal["queued", "waiting"] = "queued",
        in_doubt: bool = False,
    ) -> None:
        values = {"token": lease.token, "left": IN_DOUBT if in_doubt else "", "status": status}
        async with self._transaction() as db:
            await db.execute(self._sql["release"], values | _key(lease.run))

    async def ask_cancel(self, run: RunId) -> bool:
        async with self._transaction() as db:
            if await db.execute(self._sql["ask_cancel"], _key(run)):
                return True
            if not await db.fetch(self._sql["run_state"], _key(run)):
                raise NotFound(f"no run {run}")
            return False

    async def run(self, run: RunId) -> RunRecord:
        async with self._reading() as db:
            rows = await db.fetch(self._sql["run"], _key(run))
        if not rows:
            raise NotFound(f"no run {run}")
        return _run_record(rows[0])

    async def runs(self, *, limit: int, status: RunStatus | None = None) -> list[RunRecord]:
        async with self._reading() as db:
            rows = await db.fetch(self._sql["runs"], {"status": status or "", "limit": limit})
        return [_run_record(row) for row in rows]

    # --- steps --------------------------------------------------------------------------------

    def append(self, change: Append) -> AbstractAsyncContextManager[StepTransaction]:
        return _Step(self, change)

    async def begin_step(self, db: Connection, change: Append) -> SQLStepTransaction:
        """Take the fence. Raises LeaseLost, StaleRun or CancelAsked."""
        await self._fence(db, change)
        return SQLStepTransaction(db, self._guest_of, self._sql, self._now_us, change)

    async def _fence(self, db: Connection, change: Append) -> None:
        run = change.lease.run
        values = {
            "thread": run.thread,
            "ordinal": run.ordinal,
            "head": change.head,
            "new": change.head + change.adds,
            "token": change.lease.token,
            "cancels": change.status == "cancelled",
            "touch": db.touch,
        }
        if await db.execute(self._sql["fence"], values):
            return
        rows = await db.fetch(self._sql["run_state"], _key(run))
        if not rows or rows[0]["lease_token"] != change.lease.token:
            raise LeaseLost(f"run {run}: another process has taken it over")
        if rows[0]["head"] != change.head:
            raise StaleRun(f"run {run}: expected entry {change.head}, found {rows[0]['head']}")
        if rows[0]["cancel_asked"] > values["cancels"]:
            raise CancelAsked(f"run {run} is to be cancelled")
        raise StoreUnavailable(f"run {run}: the database did not know yet what it knows now")

    async def end_step(self, db: Connection, change: Append) -> None:
        """Write down what has become of the run."""
        if change.status == "running":
            return
        values = {
            "status": change.status,
            "usage": msgspec.json.encode(change.usage).decode(),
            "error": change.error,
            "over": int(change.status in OVER),
            "token": change.lease.token,
        }
        await db.execute(self._sql["settle_run"], {**values, **_key(change.lease.run)})

    # --- threads ------------------------------------------------------------------------------

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
        )

    async def _thread_row(self, db: Connection, thread: str, statement: str = "thread") -> Row:
        rows = await db.fetch(self._sql[statement], {"thread": thread})
        if not rows:
            raise NotFound(f"no thread conv_{thread}")
        return rows[0]

    async def _entries(self, db: Connection, thread: str, position: int) -> list[Entry]:
        rows = await db.fetch(self._sql["events"], {"thread": thread, "position": position})
        return [_entry(**row) for row in rows]

    async def fork(self, thread: ThreadId, position: int, new: ThreadId) -> None:
        async with self._transaction() as db:
            row = await self._thread_row(db, thread, "lock_thread")
            if not 1 <= position <= row["head"]:
                raise NotFound(
                    f"thread conv_{thread} has no entry {position}; it has 1 to {row['head']}"
                )
            if position <= (row["forked_at"] or 0):
                raise NotFound(
                    f"entry {position} is that of thread conv_{row['forked_from']}; fork that one"
                )
            fork = {"fork": new, "thread": thread, "position": position}
            await db.execute(self._sql["insert_fork"], fork)

    async def prune(self, *, before_us: int) -> int:
        pruned = 0
        while True:
            async with self._transaction() as db:
                rows = await db.fetch(self._sql["old_threads"], {"before_us": before_us})
                for row in rows:
                    pruned += await self._prune_thread(db, row["id"], before_us)
            if not rows:
                return pruned

    async def _prune_thread(self, db: Connection, thread: str, before_us: int) -> bool:
        values = {"thread": thread, "before_us": before_us}
        # Whoever goes on with a thread, or forks it, takes its row first. It may have happened
        # since the thread was found.
        await db.fetch(self._sql["lock_thread"], {"thread": thread})
        if not await db.fetch(self._sql["old_thread"], values):
            return False
        for name in ("delete_events", "delete_runs", "delete_outbox", "delete_thread"):
            await db.execute(self._sql[name], {"thread": thread})
        return True

    # --- SQL outside a step -------------------------------------------------------------------

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadOnly]:
        async with self._read_only() as db:
            reading = SQLReadOnly(db, self._guest_of)
            try:
                yield reading
            finally:
                await reading.leave()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        async with self._transaction() as db:
            tx = SQLTransaction(db, self._guest_of, self._sql)
            try:
                yield tx
                await tx.flush()
            finally:
                await tx.leave()

    async def schema_version(self) -> str | None:
        """The migration that was applied last; None before the first."""
        async with self._reading() as db:
            if not await db.fetch(self._sql["version_table"], {}):
                return None
            rows = await db.fetch(self._sql["schema_version"], {})
        return str(rows[0]["version_num"]) if rows else None


class _Step:
    """One step's transaction: the fence, the body, what becomes of the run, and the commit.

    A class, since a generator in its place costs a tenth of what the whole transaction does.
    """

    def __init__(self, store: SQLStore, change: Append) -> None:
        self._store = store
        self._change = change
        self._transaction = store._transaction()

    async def __aenter__(self) -> SQLStepTransaction:
        self._db = await self._transaction.__aenter__()
        try:
            self._tx = await self._store.begin_step(self._db, self._change)
        except BaseException as error:
            await self._transaction.__aexit__(type(error), error, error.__traceback__)
            raise
        return self._tx

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self._tx.finish()
                await self._store.end_step(self._db, self._change)
        except BaseException as late:
            await self._leave(type(late), late, late.__traceback__)
            raise
        await self._leave(kind, error, trace)

    async def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._tx.leave()
        finally:
            await self._transaction.__aexit__(kind, error, trace)


def wall_clock_us() -> int:
    """Microseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1000


def _token() -> LeaseToken:
    return LeaseToken(secrets.token_hex(8))


def _key(run: RunId) -> dict[str, Any]:
    return {"thread": run.thread, "ordinal": run.ordinal}


def _run_values(new: NewRun, lease_s: float | None) -> dict[str, Any]:
    return {
        **_key(new.run),
        "status": "queued" if lease_s is None else "running",
        "token": "" if lease_s is None else new.token,
        "lease_us": int((lease_s or 0) * _S),
        "background": int(new.background),
        "idempotency_key": _idempotency_key(new),
        "release": new.release,
    }


def _idempotency_key(new: NewRun) -> str:
    """What tells a start that is tried again: the caller's own key, or the lease's token."""
    return new.idempotency_key or new.token


def _entry(position: int, run: int, type: str, version: int, body: str, at_us: int) -> Entry:
    return Entry(position, run, decode(type, version, body), len(body), at_us)


def _run_record(row: Row) -> RunRecord:
    return RunRecord(
        run=RunId(ThreadId(row["thread_id"]), row["ordinal"]),
        status=row["status"],
        principal=row["principal"],
        workflow=row["workflow"],
        release=row["release_id"],
        usage=msgspec.json.decode(row["usage"], type=Usage) if row["usage"] else Usage(),
        error=row["error"],
        created_at_us=row["created_at"],
        finished_at_us=row["finished_at"],
        leased=bool(row["leased"]),
        cancel_asked=bool(row["cancel_asked"]),
    )
