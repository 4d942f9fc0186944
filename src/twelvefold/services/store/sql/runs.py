"""Runs in SQL: start, claim, renew, release, cancel and read them."""

import asyncio
import secrets
import time
from typing import Any, Literal

import msgspec

from twelvefold.core import (
    Claim,
    Entry,
    Event,
    IdempotentRequest,
    Lease,
    LeaseToken,
    NewRun,
    Row,
    RunId,
    RunRecord,
    RunStatus,
    ThreadId,
    Usage,
)
from twelvefold.errors import (
    Conflict,
    DuplicateRow,
    LeaseLost,
    NotFound,
    Repeated,
    StoreUnavailable,
)
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.rows import is_listed, new_entry, run_values, title_of
from twelvefold.services.store.sql.base import SECOND_US, Database, RowLocked, run_key
from twelvefold.services.store.sql.threads import Threads

IN_DOUBT = LeaseToken("in-doubt")
"""Replaces the token of a process that gave up while the result of an unsafe call was unknown."""
LOCK_PAUSE_S = 0.05
"""The pause before a claim of a locked run is tried again."""


class IdempotentRequests(Database):
    """Implements `find_request` of `twelvefold.core.ports.RunStore`."""

    async def find_request(self, principal: str, key: str) -> tuple[RunId, str] | None:
        for row in await self._fetch("request", principal=principal, request_key=key):
            return RunId(ThreadId(row["thread_id"]), row["ordinal"]), row["body_hash"]
        return None

    def _forget_request(self, db: Connection, principal: str, request: IdempotentRequest) -> None:
        """Make a key of a day ago usable again."""
        values = {"principal": principal, "request_key": request.key}
        db.defer(self._sql["forget_request"], values)

    def _remember_request(
        self, db: Connection, run: RunId, principal: str, request: IdempotentRequest | None
    ) -> None:
        """Record a request; a repetition is a DuplicateRow at the commit."""
        if request is not None:
            self._forget_request(db, principal, request)
            db.defer(self._sql["insert_request"], request_values(run, principal, request))


def request_values(run: RunId, principal: str, request: IdempotentRequest) -> dict[str, Any]:
    """Return the parameters of `insert_request`."""
    values = {"principal": principal, "request_key": request.key, "body_hash": request.body_hash}
    return values | run_key(run)


class Runs(Threads, IdempotentRequests):
    """Implements `twelvefold.core.ports.RunStore`, except for steps and transactions."""

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        lease = Lease(new.run, new.token) if lease_s is not None else None
        try:
            return await self._insert_run(new, started, lease_s), lease
        except (DuplicateRow, Conflict) as error:
            if entry := await self._find_start(new, lease):
                return entry, lease
            await self._raise_failed_start(new, error)
            raise Conflict(f"thread conv_{new.run.thread} has moved on; read it again") from error

    async def _insert_run(self, new: NewRun, started: Event, lease_s: float | None) -> Entry:
        thread, position = new.run.thread, new.thread_head + 1
        entry, values = new_entry(thread, position, new.run.ordinal, started, self._now_us())
        async with self._transaction() as db:
            await self._start_thread(db, new, started, new.thread_size + entry.size)
            # A concurrent repetition waits here, or for the thread, and then finds this run.
            self._remember_request(db, new.run, new.principal, new.request)
            db.defer(self._sql["insert_run"], run_values(new, lease_s))
            db.defer(self._sql["insert_event"], values)
        return entry

    async def _start_thread(self, db: Connection, new: NewRun, started: Event, size: int) -> None:
        """Make the run's thread, fork it, or move its head. Raises Conflict or NotFound."""
        thread = {"thread": new.run.thread, "workflow": new.workflow, "size": size}
        listed = is_listed(started)
        thread |= {"listed": int(listed), "title": title_of(started) if listed else ""}
        if new.forked_from:
            await self._fork(db, new.forked_from, new.thread_head, new.run.thread)
        if new.thread_head or new.thread_exists:
            thread |= {"head": new.thread_head}
            if not await db.execute(self._sql["advance_thread"], thread):
                raise Conflict(f"thread conv_{new.run.thread} has moved on")
        else:
            thread |= {"principal": new.principal, "head": 1, "metadata": ""}
            db.defer(self._sql["insert_thread"], thread)

    async def _find_start(self, new: NewRun, lease: Lease | None) -> Entry | None:
        """Return the run's first entry if this start has already been committed."""
        async with self._read_connection() as db:
            rows = await db.fetch(self._sql["run_state"], run_key(new.run))
            if not rows or rows[0]["idempotency_key"] != new.token:
                return None
            if lease is not None and rows[0]["lease_token"] != lease.token:
                return None
            return (await self._entries(db, new.run.thread, new.thread_head + 1))[-1]

    async def _raise_failed_start(self, new: NewRun, error: Exception) -> None:
        """Raise the reason of a failed start; return if the thread has moved on."""
        if new.request is not None:
            earlier = await self.find_request(new.principal, new.request.key)
            if earlier is not None:
                run, body_hash = earlier
                raise Repeated(str(run), body_hash) from error
        if new.thread_exists:
            async with self._read_connection() as db:
                await self._thread_row(db, new.run.thread, "visible_thread")

    async def claim(
        self,
        run: RunId,
        lease_s: float,
        token: LeaseToken | None = None,
        lock_wait_s: float = 0.0,
    ) -> Claim | None:
        lease = Lease(run, token or _new_token())
        wait_until = time.monotonic() + lock_wait_s
        while True:
            try:
                async with self._transaction() as db:
                    return await self._claim(db, lease, lease_s)
            except RowLocked:
                if time.monotonic() >= wait_until:
                    return None  # for example, a step is in progress
            await asyncio.sleep(LOCK_PAUSE_S)

    async def _claim(self, db: Connection, lease: Lease, lease_s: float) -> Claim | None:
        key = run_key(lease.run)
        rows = await self._lock(db, self._sql["lock_run"], key)
        if not rows:
            raise NotFound(f"no run {lease.run}")
        claim = _make_claim(lease, rows[0])
        values = {"token": lease.token, "lease_us": int(lease_s * SECOND_US), **key}
        values |= {"attempts": claim.attempts, "head": rows[0]["head"]}
        return claim if await db.execute(self._sql["claim"], values, commit=True) else None

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        values = {"token": lease.token, "lease_us": int(lease_s * SECOND_US), **run_key(lease.run)}
        async with self._renewal_connection() as db:
            if await db.execute(self._sql["keep_lease"], values):
                return False
            rows = await db.fetch(self._sql["run_state"], run_key(lease.run))
        if not rows or rows[0]["lease_token"] != lease.token:
            raise LeaseLost(f"run {lease.run}: another process has taken it over").loggable()
        if not rows[0]["cancel_asked"]:
            raise StoreUnavailable(f"run {lease.run}: its lease was not renewed").loggable()
        return True

    async def record_usage(self, lease: Lease, usage: Usage) -> None:
        values = {"token": lease.token, "usage": encode_usage(usage), **run_key(lease.run)}
        if not await self._execute("fence_run", write_fence=0, cancels=1, **values):
            raise LeaseLost(f"run {lease.run}: another process has taken it over").loggable()

    async def release(
        self,
        lease: Lease,
        *,
        status: Literal["queued", "waiting"] = "queued",
        in_doubt: bool = False,
        requeue_last: bool = False,
        counts: bool = False,
        usage: Usage | None = None,
        error: str = "",
    ) -> bool:
        new_token = IN_DOUBT if in_doubt else ""
        values: dict[str, Any] = {"token": lease.token, "new_token": new_token, "status": status}
        values |= {
            "requeue_last": int(requeue_last),
            "counts": int(counts),
            "usage": encode_usage(usage),
        }
        values |= {"error": error, **run_key(lease.run)}
        async with self._transaction() as db:
            released = await db.execute(self._sql["release"], values)
            rows = await db.fetch(self._sql["run_state"], run_key(lease.run), commit=True)
        return bool(released and rows and rows[0]["cancel_asked"])

    async def ask_cancel(self, run: RunId) -> bool:
        async with self._transaction() as db:
            if await db.execute(self._sql["ask_cancel"], run_key(run)):
                return True
            if not await db.fetch(self._sql["run_state"], run_key(run)):
                raise NotFound(f"no run {run}")
            return False

    async def run(self, run: RunId) -> RunRecord:
        if not (rows := await self._fetch("run", **run_key(run))):
            raise NotFound(f"no run {run}")
        return run_record(rows[0])

    async def runs(self, *, limit: int, status: RunStatus | None = None) -> list[RunRecord]:
        rows = await self._fetch("runs", status=status or "", limit=limit)
        return [run_record(row) for row in rows]


def encode_usage(usage: Usage | None) -> str:
    """Return the usage as JSON; "" leaves the column as it is."""
    return msgspec.json.encode(usage).decode() if usage else ""


def _decode_usage(row: Row) -> Usage:
    return msgspec.json.decode(row["usage"], type=Usage) if row["usage"] else Usage()


def _new_token() -> LeaseToken:
    return LeaseToken(secrets.token_hex(8))


def _make_claim(lease: Lease, row: Row) -> Claim:
    """Return the claim of a run by its row before the claim."""
    counted = row["attempts"] if row["attempts_head"] == row["head"] else 0
    is_repeated = row["lease_token"] == lease.token
    return Claim(
        lease,
        interrupted=bool(row["lease_token"]),
        cancel_asked=bool(row["cancel_asked"]),
        attempts=counted if is_repeated else counted + 1,
        usage=_decode_usage(row),
        thread_size=row["thread_size"] or 0,
    )


def run_record(row: Row) -> RunRecord:
    """Return the run of a row."""
    return RunRecord(
        run=RunId(ThreadId(row["thread_id"]), row["ordinal"]),
        status=row["status"],
        principal=row["principal"],
        workflow=row["workflow"],
        release=row["release_id"],
        usage=_decode_usage(row),
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
