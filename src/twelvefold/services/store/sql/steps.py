"""Steps of runs in SQL: the fence, the body, the run's new state, and the commit."""

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any

from twelvefold.core import OVER, Append, StepTransaction
from twelvefold.errors import (
    CancelAsked,
    DuplicateRow,
    LeaseLost,
    StaleRun,
    StoreUnavailable,
)
from twelvefold.services.store.connection import Connection, as_failed, own_statement
from twelvefold.services.store.sql.base import SECOND_US, run_key
from twelvefold.services.store.sql.runs import IdempotentRequests, encode_usage, request_values
from twelvefold.services.store.sql.traces import trace_values
from twelvefold.services.store.sql.transactions import Transactions
from twelvefold.services.store.transaction import SQLStepTransaction

LONG_STEP_S = 1.0
"""A step that took longer renews its run's lease. A renewal waits as long for the step's end."""
LONG_STEP_SHARE = 1 / 3
"""The same as a share of the lease, for short leases: a holder renews about as often."""


class Steps(Transactions, IdempotentRequests):
    """Implements `append` of `twelvefold.core.ports.RunStore`."""

    def append(self, change: Append) -> AbstractAsyncContextManager[StepTransaction]:
        return _Step(self, change)

    async def begin_step(self, db: Connection, change: Append) -> SQLStepTransaction:
        """Begin with the fence, which is sent with the first statement.

        With a request it is sent at once; raises as `append` does, and DuplicateRow if the request
        is a repetition.
        """
        self._fence(db, change)
        if change.request is not None:
            self._forget_request(db, change.principal, change.request)
            values = request_values(change.lease.run, change.principal, change.request)
            with own_statement():
                await db.execute(self._sql["insert_request"], values)
        return SQLStepTransaction(db, self._get_bridge, self._sql, self._now_us, change)

    def _fence(self, db: Connection, change: Append) -> None:
        """Defer the fence: the thread's row, then the run's."""
        key = run_key(change.lease.run)
        thread = {"thread": key["thread"], "head": change.head, "size": change.size}
        thread |= {"new": change.head + change.adds}
        run = key | {"token": change.lease.token, "usage": encode_usage(change.usage)}
        run |= {"cancels": int(change.status == "cancelled")}
        statement = "fence_run"
        if change.status == "running":
            run |= {"write_fence": db.write_fence}
        else:
            statement = "settle_run"
            run |= {"status": change.status, "error": change.error}
            run |= {"over": int(change.status in OVER), "wake_at": change.wait.due_us}
            run |= {"wakes": -1 if change.wait.wakes is None else change.wait.wakes}
        explain = partial(self._explain_fence, db, change)
        db.defer(self._sql["fence_thread"], thread, explain)
        db.defer(self._sql[statement], run, explain)

    async def _explain_fence(self, db: Connection, change: Append) -> Exception:
        """Return the reason why a part of the fence matched no row."""
        run = change.lease.run
        rows = await db.fetch_reason(self._sql["run_state"], run_key(run))
        if not rows or rows[0]["lease_token"] != change.lease.token:
            return LeaseLost(f"run {run}: another process has taken it over").loggable()
        if rows[0]["head"] != change.head:
            moved = f"run {run}: expected entry {change.head}, found {rows[0]['head']}"
            return StaleRun(moved).loggable()
        if rows[0]["cancel_asked"] and change.status != "cancelled":
            return CancelAsked(f"run {run} has a cancel request")
        changed = f"run {run}: the row that the fence checks has just changed"
        return StoreUnavailable(changed).loggable()

    async def end_step(self, db: Connection, change: Append, took_s: float) -> None:
        """Delete or end the deltas that the step replaces, and renew the lease in a long step.

        A run that ends, or needs a person, wakes the one that started it. One that ends cancels
        those that it started.
        """
        values = {"thread": change.lease.run.thread, "position": change.head + 1}
        if change.first_delta:
            recorded = {"number": change.first_delta, **values}
            db.defer(self._sql["delete_recorded_deltas"], recorded)
        if change.closes_deltas:
            await self._close_deltas(db, change, values)
        if change.parent is not None and (change.status in OVER or change.asks):
            db.defer(self._sql["wake"], run_key(change.parent))
        if change.closes_questions:
            db.defer(self._sql["remove_questions_of_run"], run_key(change.lease.run))
        for run in change.cancels:
            db.defer(self._sql["ask_cancel"], run_key(run))
        if change.traced and change.status != "running":
            export = trace_values(change.lease.run, change.head + change.adds)
            db.defer(self._sql["add_trace_export"], export)
        is_long = took_s > min(LONG_STEP_S, change.lease_s * LONG_STEP_SHARE)
        if change.status == "running" and is_long:
            # Renewals wait behind the fence, and so do processes that find the lease expired.
            lease = {"token": change.lease.token, "lease_us": int(change.lease_s * SECOND_US)}
            db.defer(self._sql["renew"], lease | run_key(change.lease.run))

    async def _close_deltas(
        self, db: Connection, change: Append, values: Mapping[str, Any]
    ) -> None:
        try:
            with own_statement():
                await db.execute(self._sql["close_deltas"], {**values, "at_us": self._now_us()})
        except DuplicateRow as error:
            raise StoreUnavailable(
                f"run {change.lease.run}: another process has just published a piece of a reply"
            ).loggable() from error


class _Step:
    """The context manager of one step's transaction.

    A class: a generator costs a tenth of what the whole transaction does.
    """

    def __init__(self, store: Steps, change: Append) -> None:
        self._store = store
        self._change = change
        self._transaction = store._tool_transaction()

    async def __aenter__(self) -> SQLStepTransaction:
        self._db = await self._transaction.__aenter__()
        self._started = time.monotonic()
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
            await self._end(commits=kind is None)
        except BaseException as late:
            await self._transaction.__aexit__(type(late), late, late.__traceback__)
            raise
        try:
            await self._transaction.__aexit__(kind, error, trace)
        except DuplicateRow as duplicate:
            # Of a statement of the store, which was sent with the COMMIT.
            raise as_failed(duplicate) from duplicate.__cause__

    async def _end(self, *, commits: bool) -> None:
        """Add the step's last statements if it commits, and close SQLAlchemy's side of it."""
        try:
            if commits:
                await self._tx.finish()
                took_s = time.monotonic() - self._started
                await self._store.end_step(self._db, self._change, took_s)
        finally:
            await self._tx.close()
