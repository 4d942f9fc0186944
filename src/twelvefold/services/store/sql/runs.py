"""The journal in SQL: what `twelvefold.core.ports.Store` promises, over any driver's transactions.

Here are the runs and their steps; `conversations`, `queue`, `outbox` and so on have the rest. A
subclass brings connections, its errors as ours, and the few statements that it says in its own
way; `mysql.py` and `sqlite.py` are those.
"""

import secrets
import sys
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from twelvefold.core.events import Entry, Event, Usage, size_of
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.listing import is_listed, title_of
from twelvefold.core.ports import (
    OVER,
    Append,
    Claim,
    Lease,
    NewRun,
    Row,
    RunRecord,
    RunStatus,
    StepTransaction,
    ToolReadOnly,
    Transaction,
)
from twelvefold.errors import (
    CancelAsked,
    Conflict,
    DuplicateRow,
    LeaseLost,
    NotFound,
    Repeated,
    StaleRun,
    StoreRefused,
    StoreUnavailable,
)
from twelvefold.services.store.sql.base import SECOND_US, key_of
from twelvefold.services.store.sql.idempotency import Requests
from twelvefold.services.store.sql.keys import Keys
from twelvefold.services.store.sql.outbox import Outbox
from twelvefold.services.store.sql.queue import Queue
from twelvefold.services.store.sql.releases import Releases
from twelvefold.services.store.sql.retention import Upkeep
from twelvefold.services.store.sql.threads import Conversations
from twelvefold.services.store.sql_text import Dialect
from twelvefold.services.store.transaction import (
    Connection,
    SQLReadOnly,
    SQLStepTransaction,
    SQLTransaction,
    encoded,
    raise_as_failed,
)

if TYPE_CHECKING:
    from twelvefold.services.store.sqlalchemy_bridge import SQLAlchemyBridge

IN_DOUBT = LeaseToken("in-doubt")
"""Left in place of a token by a process that gave up with an unsafe call under way."""
LONG_STEP_S = 1.0
"""From what length on a step renews its run's lease; a renewal waits as long for the step's end."""
LONG_STEP = 1 / 3
"""The same as a share of the lease's length, for short leases: a holder renews about as often."""


class SQLStore(Conversations, Keys, Outbox, Queue, Releases, Requests, Upkeep):
    """Obeys `twelvefold.core.ports.Store`."""

    def __init__(
        self, own_statements: str, words: Mapping[str, str], now_us: Callable[[], int]
    ) -> None:
        super().__init__(own_statements, words, now_us)
        self._guest: SQLAlchemyBridge | None = None
        self._dialect: Dialect = "mysql" if own_statements == "mysql.sql" else "sqlite"

    @abstractmethod
    def _read_only(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for statements that are not ours: the database refuses to write."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""

    def _guest_of(self) -> "SQLAlchemyBridge":
        # Only tools that use SQLAlchemy pay for its import.
        from twelvefold.services.store.sqlalchemy_bridge import SQLAlchemyBridge

        if self._guest is None:
            self._guest = SQLAlchemyBridge()
        return self._guest

    def prepare(self) -> None:
        """Make SQLAlchemy ready where a workflow has imported it."""
        if "sqlalchemy" in sys.modules:
            self._guest_of().prepare(self._dialect)

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
            await self._refuse_start(new, error)
            raise Conflict(f"thread conv_{new.run.thread} has moved on; read it again") from error

    async def _started(self, new: NewRun, started: Event, lease_s: float | None) -> Entry:
        kind, version, body = encoded(started)
        entry = Entry(new.thread_head + 1, new.run.ordinal, started, size_of(body), self._now_us())
        values = {"thread": new.run.thread, "position": entry.position, "run": entry.run}
        values |= {"type": kind, "version": version, "body": body, "at_us": entry.at_us}
        async with self._transaction() as db:
            # First of all: the same request once more waits here, and then learns of this run.
            await self._remember_request(db, new.run, new.principal, new.request)
            size = new.thread_size + entry.size
            await self._start_thread(db, new, started, size)
            await db.execute(self._sql["insert_run"], _run_values(new, lease_s))
            await db.execute(self._sql["insert_event"], values)
        return entry

    async def _start_thread(self, db: Connection, new: NewRun, started: Event, size: int) -> None:
        thread = {"thread": new.run.thread, "workflow": new.workflow, "size": size}
        listed = is_listed(started)
        thread |= {"listed": int(listed), "title": title_of(started) if listed else ""}
        if new.forked_from:
            await self._fork(db, new.forked_from, new.thread_head, new.run.thread)
        if new.thread_head or new.thread_exists:
            if not await db.execute(
                self._sql["advance_thread"], thread | {"head": new.thread_head}
            ):
                raise Conflict(f"thread conv_{new.run.thread} has moved on")
            return
        whose = {"principal": new.principal, "head": 1, "metadata": ""}
        await db.execute(self._sql["insert_thread"], thread | whose)

    async def _started_before(self, new: NewRun, lease: Lease | None) -> Entry | None:
        """The first entry of the run, if this very start has been through already."""
        async with self._reading() as db:
            rows = await db.fetch(self._sql["run_state"], key_of(new.run))
            if not rows or rows[0]["idempotency_key"] != new.token:
                return None
            if lease is not None and rows[0]["lease_token"] != lease.token:
                return None
            return (await self._entries(db, new.run.thread, new.thread_head + 1))[-1]

    async def _refuse_start(self, new: NewRun, error: Exception) -> None:
        """Say why a run was not started, where it is not that its thread has moved on."""
        if new.request is not None:
            before = await self.find_request(new.principal, new.request.key)
            if before is not None:
                run, body_hash = before
                raise Repeated(str(run), body_hash) from error
        if new.thread_exists:
            async with self._reading() as db:
                await self._thread_row(db, new.run.thread, "shown_thread")

    async def claim(
        self, run: RunId, lease_s: float, token: LeaseToken | None = None
    ) -> Claim | None:
        lease = Lease(run, token or _token())
        async with self._transaction() as db:
            rows = await db.fetch(self._sql["lock_run"], key_of(run))
            if not rows:
                if await db.fetch(self._sql["run_state"], key_of(run)):
                    return None
                raise NotFound(f"no run {run}")
            before = rows[0]
            again = before["lease_token"] == lease.token
            counted = before["attempts"] if before["attempts_head"] == before["head"] else 0
            attempts = counted if again else counted + 1
            claim = {"token": lease.token, "lease_us": int(lease_s * SECOND_US), **key_of(run)}
            claim |= {"attempts": attempts, "head": before["head"]}
            if not await db.execute(self._sql["claim"], claim):
                return None
            interrupted, cancel_asked = bool(before["lease_token"]), bool(before["cancel_asked"])
            size = before["thread_size"] or 0
            return Claim(lease, interrupted, cancel_asked, attempts, _usage_of(before), size)

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        values = {"token": lease.token, "lease_us": int(lease_s * SECOND_US), **key_of(lease.run)}
        async with self._renewing() as db:
            if await db.execute(self._sql["keep_lease"], values):
                return False
            rows = await db.fetch(self._sql["run_state"], key_of(lease.run))
        if not rows or rows[0]["lease_token"] != lease.token:
            raise LeaseLost(f"run {lease.run}: another process has taken it over").loggable()
        if not rows[0]["cancel_asked"]:
            raise StoreUnavailable(f"run {lease.run}: its lease was not renewed").loggable()
        return True

    async def _is_to_be_cancelled(self, db: Connection, run: RunId) -> bool:
        rows = await db.fetch(self._sql["run_state"], key_of(run))
        return bool(rows and rows[0]["cancel_asked"])

    async def release(
        self,
        lease: Lease,
        *,
        status: Literal["queued", "waiting"] = "queued",
        in_doubt: bool = False,
        behind: bool = False,
        counts: bool = False,
        usage: Usage | None = None,
        error: str = "",
    ) -> bool:
        left = IN_DOUBT if in_doubt else ""
        values = {"token": lease.token, "left": left, "status": status, "behind": int(behind)}
        values |= {"counts": int(counts), "usage": usage_text(usage), "error": error}
        async with self._transaction() as db:
            given_back = await db.execute(self._sql["release"], values | key_of(lease.run))
            return bool(given_back) and await self._is_to_be_cancelled(db, lease.run)

    async def ask_cancel(self, run: RunId) -> bool:
        async with self._transaction() as db:
            if await db.execute(self._sql["ask_cancel"], key_of(run)):
                return True
            if not await db.fetch(self._sql["run_state"], key_of(run)):
                raise NotFound(f"no run {run}")
            return False

    async def run(self, run: RunId) -> RunRecord:
        if not (rows := await self._found("run", **key_of(run))):
            raise NotFound(f"no run {run}")
        return _run_record(rows[0])

    async def runs(self, *, limit: int, status: RunStatus | None = None) -> list[RunRecord]:
        rows = await self._found("runs", status=status or "", limit=limit)
        return [_run_record(row) for row in rows]

    # --- steps --------------------------------------------------------------------------------

    def append(self, change: Append) -> AbstractAsyncContextManager[StepTransaction]:
        return _Step(self, change)

    async def begin_step(self, db: Connection, change: Append) -> SQLStepTransaction:
        """Take the fence. Raises LeaseLost, StaleRun, CancelAsked or DuplicateRow."""
        try:
            await self._fence(db, change)
            await self._remember_request(db, change.lease.run, change.principal, change.request)
        except StoreRefused as refused:
            if change.request is not None and isinstance(refused, DuplicateRow):
                raise  # the request was made before
            raise_as_failed(refused)
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
            "usage": usage_text(change.usage),
            "size": change.size,
        }
        if await db.execute(self._sql["fence"], values):
            return
        rows = await db.fetch(self._sql["run_state"], key_of(run))
        if not rows or rows[0]["lease_token"] != change.lease.token:
            raise LeaseLost(f"run {run}: another process has taken it over").loggable()
        if rows[0]["head"] != change.head:
            moved = f"run {run}: expected entry {change.head}, found {rows[0]['head']}"
            raise StaleRun(moved).loggable()
        if rows[0]["cancel_asked"] > values["cancels"]:
            raise CancelAsked(f"run {run} is to be cancelled")
        late = f"run {run}: the database did not know yet what it knows now"
        raise StoreUnavailable(late).loggable()

    async def end_step(self, db: Connection, change: Append, took_s: float) -> None:
        """Write down what has become of the run, and of the pieces of a reply that were shown."""
        if change.first_delta or change.closes_deltas:
            await self._end_deltas(db, change)
        values = {"token": change.lease.token, **key_of(change.lease.run)}
        if change.status != "running":
            over = int(change.status in OVER)
            values |= {"status": change.status, "error": change.error, "over": over}
            await db.execute(self._sql["settle_run"], values)
        elif took_s > min(LONG_STEP_S, change.lease_s * LONG_STEP):
            # Renewals have waited behind the fence, and so has whoever finds the lease run out.
            values |= {"lease_us": int(change.lease_s * SECOND_US)}
            await db.execute(self._sql["renew"], values)

    async def _end_deltas(self, db: Connection, change: Append) -> None:
        values = {"thread": change.lease.run.thread, "position": change.head + 1}
        if change.first_delta:
            told = {"number": change.first_delta, **values}
            await db.execute(self._sql["delete_told_deltas"], told)
        if not change.closes_deltas:
            return
        try:
            await db.execute(self._sql["close_deltas"], values | {"at_us": self._now_us()})
        except DuplicateRow as error:
            raise StoreUnavailable(
                f"run {change.lease.run}: another process has just shown a piece of a reply"
            ).loggable() from error

    # --- SQL outside a step -------------------------------------------------------------------

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ToolReadOnly]:
        async with self._read_only() as db:
            reading = SQLReadOnly(db, self._guest_of)
            try:
                yield reading
            finally:
                await reading.leave()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        async with self._lasting() as db:
            tx = SQLTransaction(db, self._guest_of, self._sql)
            try:
                yield tx
                await tx.flush()
            finally:
                await tx.leave()


class _Step:
    """One step's transaction: the fence, the body, what becomes of the run, and the commit.

    A class, since a generator in its place costs a tenth of what the whole transaction does.
    """

    def __init__(self, store: SQLStore, change: Append) -> None:
        self._store = store
        self._change = change
        self._transaction = store._lasting()

    async def __aenter__(self) -> SQLStepTransaction:
        self._db = await self._transaction.__aenter__()
        self._begun_at = time.monotonic()
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
                took_s = time.monotonic() - self._begun_at
                try:
                    await self._store.end_step(self._db, self._change, took_s)
                except StoreRefused as refused:
                    raise_as_failed(refused)
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


def usage_text(usage: Usage | None) -> str:
    """As JSON; nothing where it stays as it was."""
    return msgspec.json.encode(usage).decode() if usage else ""


def _usage_of(row: Row) -> Usage:
    return msgspec.json.decode(row["usage"], type=Usage) if row["usage"] else Usage()


def _token() -> LeaseToken:
    return LeaseToken(secrets.token_hex(8))


def _run_values(new: NewRun, lease_s: float | None) -> dict[str, Any]:
    return {
        **key_of(new.run),
        "status": "queued" if lease_s is None else "running",
        "token": "" if lease_s is None else new.token,
        "lease_us": int((lease_s or 0) * SECOND_US),
        "background": int(new.background),
        "idempotency_key": new.token,
        "release": new.release,
        "workflow": new.workflow,
        "principal": new.principal,
        "began": new.thread_head + 1,
    }


def _run_record(row: Row) -> RunRecord:
    return RunRecord(
        run=RunId(ThreadId(row["thread_id"]), row["ordinal"]),
        status=row["status"],
        principal=row["principal"],
        workflow=row["workflow"],
        release=row["release_id"],
        usage=_usage_of(row),
        error=row["error"],
        created_at_us=row["created_at"],
        finished_at_us=row["finished_at"],
        leased=bool(row["leased"]),
        cancel_asked=bool(row["cancel_asked"]),
        background=bool(row["background"]),
        began=row.get("began") or 0,
        last_position=row["next_began"] - 1 if row.get("next_began") else None,
        thread_size=row["thread_size"],
    )
