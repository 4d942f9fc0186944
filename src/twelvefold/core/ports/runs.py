"""The port of runs: start, claim, append and end, each fenced by a lease."""

from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from twelvefold.core.events import Entry, Event, Usage
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.ports.run_records import (
    Append,
    Claim,
    Lease,
    NewRun,
    RunRecord,
    RunStatus,
)
from twelvefold.core.ports.sql import StepTransaction, ToolReadOnly, Transaction
from twelvefold.core.ports.thread_records import ThreadRecord


class RunStore(Protocol):
    """Runs and their journal.

    Every method may raise StoreUnavailable (repeat it) or StoreRefused (do not).
    """

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        """Write a run and its first entry; lease it for `lease_s`, or queue it if that is None.

        Returns the same result again for a token that has been written already. Raises Repeated
        if `new.request` was made within a day, Conflict if the thread is no longer at
        `thread_head`, NotFound if an existing thread is absent or deleted.
        """
        ...

    async def find_request(self, principal: str, key: str) -> tuple[RunId, str] | None:
        """Return the run that a request with this key started within a day, and its body's hash."""
        ...

    async def load(self, thread: ThreadId) -> ThreadRecord:
        """Return a thread with its whole journal, including the threads it was forked from.

        Raises NotFound.
        """
        ...

    async def claim(
        self,
        run: RunId,
        lease_s: float,
        token: LeaseToken | None = None,
        lock_wait_s: float = 0.0,
    ) -> Claim | None:
        """Lease a run that is not over; None if another process holds the lease.

        A run with a cancel request is taken from its holder. A claim with a `token` may be
        repeated: it returns what the first try took, then with `interrupted` set, because the
        previous holder is no longer known. `lock_wait_s`: how long to wait for a transaction that
        has locked the run; then None. Raises NotFound.
        """
        ...

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        """Extend a lease. Raises LeaseLost.

        Returns True, without an extension, if the run has a cancel request.
        """
        ...

    async def record_usage(self, lease: Lease, usage: Usage) -> None:
        """Write the usage of the run so far, beside the journal. Raises LeaseLost."""
        ...

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
        """Give a run back at once.

        Returns True if its cancellation was requested; then its status is "queued". `in_doubt`:
        an unsafe call may have happened. `requeue_last`: queue it after the runs that wait already.
        `counts`: count the attempt towards `max_attempts`. `usage` is what the run has cost, if
        the journal does not hold all of it. `error` is the reason, for the operator.
        """
        ...

    def append(self, change: Append) -> AbstractAsyncContextManager[StepTransaction]:
        """Open a step's transaction: check the fence, run the body, commit.

        Raises StaleRun or LeaseLost if another process has taken the run, and CancelAsked if the
        run has a cancel request and `change` does not end it: from the first statement of the body,
        or before the commit. Everything that the body wrote is rolled back then.
        """
        ...

    def read(self) -> AbstractAsyncContextManager[ToolReadOnly]:
        """Open a connection for reads outside any step."""
        ...

    def write(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction outside any step, for seeds and imports."""
        ...

    async def ask_cancel(self, run: RunId) -> bool:
        """Request the cancellation of a run; False if it is over. Raises NotFound."""
        ...

    async def run(self, run: RunId) -> RunRecord:
        """Return one run. Raises NotFound."""
        ...

    async def runs(self, *, limit: int, status: RunStatus | None = None) -> list[RunRecord]:
        """Return the newest runs, newest first."""
        ...

    async def delete_run(self, run: RunId) -> None:
        """Hide a run that is over from `run` and `runs`; its thread keeps its entries.

        The last run of a thread hides the thread too, unless the thread is a named conversation:
        no request could find it again. Raises NotFound, or Conflict while the run is not over.
        """
        ...

    async def count_waits(self, run: RunId, *, before: int) -> int:
        """Return how often a run had to wait for a person before a position."""
        ...
