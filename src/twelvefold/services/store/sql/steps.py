"""Steps of runs in SQL: the fence, the body, the run's new state, and the commit."""

import time
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from twelvefold.core import OVER, Append, StepTransaction
from twelvefold.errors import (
    CancelAsked,
    DuplicateRow,
    LeaseLost,
    StaleRun,
    StoreRefused,
    StoreUnavailable,
)
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.base import SECOND_US, run_key
from twelvefold.services.store.sql.runs import IdempotentRequests, encode_usage
from twelvefold.services.store.sql.transactions import Transactions
from twelvefold.services.store.transaction import SQLStepTransaction, raise_as_failed

LONG_STEP_S = 1.0
"""A step that took longer renews its run's lease. A renewal waits as long for the step's end."""
LONG_STEP_SHARE = 1 / 3
"""The same as a share of the lease, for short leases: a holder renews about as often."""


class Steps(Transactions, IdempotentRequests):
    """Implements `append` of `twelvefold.core.ports.RunStore`."""

    def append(self, change: Append) -> AbstractAsyncContextManager[StepTransaction]:
        return _Step(self, change)

    async def begin_step(self, db: Connection, change: Append) -> SQLStepTransaction:
        """Check the fence. Raises LeaseLost, StaleRun, CancelAsked or DuplicateRow."""
        try:
            await self._fence(db, change)
            await self._remember_request(db, change.lease.run, change.principal, change.request)
        except StoreRefused as refused:
            if change.request is not None and isinstance(refused, DuplicateRow):
                raise  # the request is a repetition
            raise_as_failed(refused)
        return SQLStepTransaction(db, self._get_bridge, self._sql, self._now_us, change)

    async def _fence(self, db: Connection, change: Append) -> None:
        run = change.lease.run
        values = {
            "thread": run.thread,
            "ordinal": run.ordinal,
            "head": change.head,
            "new": change.head + change.adds,
            "token": change.lease.token,
            "cancels": change.status == "cancelled",
            "write_fence": db.write_fence,
            "usage": encode_usage(change.usage),
            "size": change.size,
        }
        if not await db.execute(self._sql["fence"], values):
            await self._raise_failed_fence(db, change)

    async def _raise_failed_fence(self, db: Connection, change: Append) -> None:
        run = change.lease.run
        rows = await db.fetch(self._sql["run_state"], run_key(run))
        if not rows or rows[0]["lease_token"] != change.lease.token:
            raise LeaseLost(f"run {run}: another process has taken it over").loggable()
        if rows[0]["head"] != change.head:
            moved = f"run {run}: expected entry {change.head}, found {rows[0]['head']}"
            raise StaleRun(moved).loggable()
        if rows[0]["cancel_asked"] and change.status != "cancelled":
            raise CancelAsked(f"run {run} has a cancel request")
        changed = f"run {run}: the row that the fence checks has just changed"
        raise StoreUnavailable(changed).loggable()

    async def end_step(self, db: Connection, change: Append, took_s: float) -> None:
        """Write the run's new state, and delete or end the deltas that the step replaces."""
        if change.first_delta or change.closes_deltas:
            await self._end_deltas(db, change)
        values = {"token": change.lease.token, **run_key(change.lease.run)}
        if change.status != "running":
            over = int(change.status in OVER)
            values |= {"status": change.status, "error": change.error, "over": over}
            await db.execute(self._sql["settle_run"], values)
        elif took_s > min(LONG_STEP_S, change.lease_s * LONG_STEP_SHARE):
            # Renewals wait behind the fence, and so do processes that find the lease expired.
            values |= {"lease_us": int(change.lease_s * SECOND_US)}
            await db.execute(self._sql["renew"], values)

    async def _end_deltas(self, db: Connection, change: Append) -> None:
        values = {"thread": change.lease.run.thread, "position": change.head + 1}
        if change.first_delta:
            recorded = {"number": change.first_delta, **values}
            await db.execute(self._sql["delete_recorded_deltas"], recorded)
        if not change.closes_deltas:
            return
        try:
            await db.execute(self._sql["close_deltas"], values | {"at_us": self._now_us()})
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
            if kind is None:
                await self._end()
        except BaseException as late:
            await self._close(type(late), late, late.__traceback__)
            raise
        await self._close(kind, error, trace)

    async def _end(self) -> None:
        await self._tx.finish()
        took_s = time.monotonic() - self._started
        try:
            await self._store.end_step(self._db, self._change, took_s)
        except StoreRefused as refused:
            raise_as_failed(refused)

    async def _close(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._tx.close()
        finally:
            await self._transaction.__aexit__(kind, error, trace)
