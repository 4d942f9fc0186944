"""What the engine stands on, as Protocols; `twelvefold.services` has an implementation of each.

What goes in and out of them is in `core.records`, `core.sql` and `core.listener`, and can be
imported from here, too. `ReadOnly`, `Transaction`, `Principal` and `CallKey` are also what a tool
asks for by type.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from twelvefold.core.events import Entry, Event, Usage
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.core.ports.listener import Listener, NullListener
from twelvefold.core.ports.records import (
    OVER,
    SCOPES,
    ApiKey,
    Append,
    CallKey,
    Claim,
    Delta,
    IdempotentRequest,
    JournalDelta,
    LatestRun,
    Lease,
    ListedThread,
    Mail,
    ModelReply,
    ModelRequest,
    NewRun,
    OutboxMessage,
    Principal,
    Release,
    Row,
    RunRecord,
    RunStatus,
    Schema,
    Segment,
    ThreadHead,
    ThreadRecord,
    ToolSpec,
    WaitingRun,
    WaitingWork,
)
from twelvefold.core.ports.sql import ReadOnly, StepTransaction, ToolReadOnly, Transaction

__all__ = [
    "OVER",
    "SCOPES",
    "ApiKey",
    "Append",
    "CallKey",
    "Claim",
    "Delta",
    "IdempotentRequest",
    "Ids",
    "JournalDelta",
    "LatestRun",
    "Lease",
    "ListedThread",
    "Listener",
    "Mail",
    "Mailer",
    "Model",
    "ModelReply",
    "ModelRequest",
    "NewRun",
    "NullListener",
    "OutboxMessage",
    "Principal",
    "ReadOnly",
    "Release",
    "Row",
    "RunRecord",
    "RunStatus",
    "Schema",
    "Segment",
    "StepTransaction",
    "Store",
    "ThreadHead",
    "ThreadRecord",
    "ToolReadOnly",
    "ToolSpec",
    "Transaction",
    "WaitingRun",
    "WaitingWork",
]


class Store(Protocol):
    """The journal, its leases and the business tables beside it, in one database.

    Every method may raise StoreUnavailable (try again) or StoreRefused (do not).
    """

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        """Write a run and its first entry, leased unless `lease_s` is None (then it is queued).

        Written already with this token: the same again. Raises Repeated if `new.request` was
        made within a day, Conflict if the thread is no longer at `thread_head`, NotFound if a
        thread that exists does not, or was deleted.
        """
        ...

    async def made_before(self, principal: str, key: str) -> tuple[RunId, str] | None:
        """What came of a request with this key within a day: its run, and the hash of its body."""
        ...

    async def load(self, thread: ThreadId) -> ThreadRecord:
        """The thread with its whole journal, that of the threads it was forked from included.

        Raises NotFound.
        """
        ...

    async def claim(
        self, run: RunId, lease_s: float, token: LeaseToken | None = None
    ) -> Claim | None:
        """Take a run that is not over and that nobody holds; None if somebody does.

        One that is to be cancelled is taken from whoever holds it, to be ended. Who gives a token
        may claim again with it and has what an earlier try took, then as `interrupted`: who held
        the run before that is not known any more. Raises NotFound.
        """
        ...

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        """Hold on to a run. Raises LeaseLost.

        True if the run is to be cancelled: its lease is not renewed then.
        """
        ...

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
        """Give a run back at once; True if somebody asked for its cancelling: it is queued then.

        Who asked may have found it held and left its end to the holder. `in_doubt` says that an
        unsafe call may have happened. `behind`: those that wait already come first. `counts`: the
        attempt counts towards `max_attempts`. `usage` is what the run has cost, if the journal
        does not have all of it. `error` is why it was given back, for the operator.
        """
        ...

    def append(self, change: Append) -> AbstractAsyncContextManager[StepTransaction]:
        """One transaction: the fence, then whatever the body does; commits when it ends.

        Raises StaleRun or LeaseLost before the body runs if another process has gone on, and
        CancelAsked if the run is to be cancelled and `change` does not do that.
        """
        ...

    def read(self) -> AbstractAsyncContextManager[ToolReadOnly]:
        """A connection for reading, outside any step."""
        ...

    def write(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction outside any step, for seeds and imports."""
        ...

    async def ask_cancel(self, run: RunId) -> bool:
        """Ask for a run to be cancelled; False if it is over already. Raises NotFound."""
        ...

    async def run(self, run: RunId) -> RunRecord:
        """One run. Raises NotFound."""
        ...

    async def runs(self, *, limit: int, status: RunStatus | None = None) -> list[RunRecord]:
        """The newest runs, newest first."""
        ...

    async def fork(self, thread: ThreadId, position: int, new: ThreadId) -> None:
        """Make a thread that goes on from a position of another; nothing is copied."""
        ...

    # --- conversations, for those who read along or look back ---------------------------------

    async def follow(
        self,
        thread: ThreadId,
        *,
        after: int,
        deltas_after: tuple[int, int],
        to: int | None = None,
    ) -> JournalDelta:
        """The thread's own entries behind a position, and deltas behind (position, number).

        Those up to `to`, if it is given.

        One snapshot of both: an entry without the deltas in front of it would not be the story
        that others read later.
        """
        ...

    async def marks(self, threads: Collection[ThreadId]) -> dict[ThreadId, tuple[int, int]]:
        """How far each of these threads is: its head, and the number of the last delta behind that.

        What `follow` gives has changed only where this has.
        """
        ...

    async def add_delta(self, thread: ThreadId, delta: Delta) -> None:
        """Let others see a piece of a reply. Raises DuplicateRow if that number is taken."""
        ...

    async def last_delta(self, thread: ThreadId, position: int) -> int:
        """The number of the last delta at a position; 0 if there is none."""
        ...

    async def first_entry(self, thread: ThreadId, *, behind: int) -> Entry | None:
        """The thread's own first entry behind a position; None if there is none."""
        ...

    async def lineage(self, head: ThreadHead) -> tuple[Segment, ...]:
        """Where the entries of a thread are: those of its origins first, its own last."""
        ...

    async def window(
        self,
        lineage: Sequence[Segment],
        *,
        after: int,
        to: int,
        newest_first: bool = False,
        rows: int = 32,
    ) -> list[Entry]:
        """Some of the entries behind `after` and up to `to`, in order, or the last of them first.

        Empty only if there are none; `rows` at most otherwise, and no more bytes than a bound
        plus one entry.
        """
        ...

    async def answers(self, lineage: Sequence[Segment], *, after: int, to: int) -> list[Entry]:
        """Some of the answers to approvals behind `after` and up to `to`, in order."""
        ...

    async def size_of(self, lineage: Sequence[Segment]) -> int:
        """The length of all these entries in bytes, added up in the database."""
        ...

    async def run_at(self, head: ThreadHead) -> int:
        """The ordinal of the run of a thread's last entry; 0 if it has none."""
        ...

    async def waits(self, run: RunId, *, before: int) -> int:
        """How often a run had to wait for a person, by its entries before a position."""
        ...

    async def last_start(self, lineage: Sequence[Segment], position: int) -> Entry | None:
        """The first entry of the run that was under way at a position; None if none was."""
        ...

    async def deleted_runs(self, lineage: Sequence[Segment]) -> frozenset[int]:
        """The ordinals of deleted runs, also those of threads that it was forked from."""
        ...

    async def removed_items(self, lineage: Sequence[Segment]) -> frozenset[str]:
        """The ids of items that were taken out again, as the entries say that did so."""
        ...

    async def new_thread(
        self, thread: ThreadId, principal: str, workflow: str, metadata: Mapping[str, str]
    ) -> None:
        """Write a thread that has no run and no entry yet."""
        ...

    async def thread(self, thread: ThreadId) -> ThreadHead:
        """A thread without its journal. Raises NotFound, also if it was deleted."""
        ...

    async def threads(
        self,
        principal: str,
        *,
        limit: int,
        after: ThreadId | None = None,
        newest_first: bool = True,
    ) -> list[ListedThread]:
        """The principal's listed threads in the order of their ids, those behind `after`.

        Threads that an older release wrote are classified first, at most `limit` of them.
        """
        ...

    async def listed_thread(self, thread: ThreadId) -> ListedThread:
        """One thread as a list shows it. Raises NotFound, also if it is not listed."""
        ...

    async def classify(self, *, limit: int, principal: str = "") -> int:
        """Find out which threads of older releases are listed, and their titles.

        Looks at `limit` of them at most, the newest first, of one principal if one is given;
        returns how many it has classified. Leaves out those that are being written to.
        """
        ...

    async def describe(self, thread: ThreadId, metadata: Mapping[str, str]) -> None:
        """Replace a thread's metadata. Raises NotFound."""
        ...

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
        """Append an entry outside any run; `run` is the ordinal of the last one, 0 before any.

        `at_us` is when, 0 for now. `thread_size`: bytes of all entries up to `head`. Written
        already there and then: the same again.
        Raises NotFound, or Conflict if the thread is not at `head` or its last run is not over.
        """
        ...

    async def delete_thread(self, thread: ThreadId) -> None:
        """Hide a thread, and ask for the end of what is under way on it. Raises NotFound.

        Nothing is begun on it any more. `load` and `run` still have it: a run in flight goes on
        to its end, and a fork keeps its past. Its journal stays until it is pruned.
        """
        ...

    async def delete_run(self, run: RunId) -> None:
        """Hide a run that is over from `run` and `runs`; its thread keeps what was said.

        Its thread is hidden with the last of its runs if no conversation was named in it: no
        request could find the thread again. Raises NotFound, or Conflict while the
        run is not over.
        """
        ...

    # --- queue --------------------------------------------------------------------------------

    async def queued_runs(
        self, *, workflows: Collection[str], limit: int, principal: str | None = None
    ) -> int:
        """How many runs of these workflows are queued; at most `limit` are counted.

        With `principal` only those of that principal.
        """
        ...

    async def waiting_work(
        self, *, workflows: Collection[str], limit: int, after: str = ""
    ) -> WaitingWork:
        """Runs of these workflows that any process may claim now, and whether mail is due.

        Queued runs are those of the principals behind `after`, at most `limit`. Runs whose lease
        expired are those of every principal, the first to expire, at most as many as one process
        may leave behind. One statement.
        """
        ...

    async def unserved_runs(self, *, workflows: Collection[str]) -> Mapping[str, int]:
        """How many runs of other workflows are queued, by workflow."""
        ...

    # --- keys ---------------------------------------------------------------------------------

    async def add_key(self, key: ApiKey) -> None:
        """Keep a key. Raises DuplicateRow if a key that is not revoked has the name."""
        ...

    async def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included, oldest first."""
        ...

    async def find_key(self, sha256: str) -> ApiKey | None:
        """The key with this hash, unless it was revoked."""
        ...

    async def revoke_key(self, id: str) -> None:
        """End a key, which may be over already. Raises NotFound."""
        ...

    # --- outbox -------------------------------------------------------------------------------

    async def due_letters(self, limit: int) -> list[OutboxMessage]:
        """Letters that are to be sent now, oldest first."""
        ...

    async def claim_letter(self, letter: OutboxMessage, for_s: float) -> bool:
        """Take a letter for so long, and count an attempt; False if somebody else has it.

        `letter` as it was found, here and where it is said what became of it.
        """
        ...

    async def renew_letter(self, letter: OutboxMessage, for_s: float) -> bool:
        """Keep a claimed letter for so long from now; False if it is not this sender's any more.

        It was sent, failed, or was claimed by another sender since. `letter` as it was found.
        """
        ...

    async def letter_sent(self, letter: OutboxMessage) -> None:
        """Write down that a letter has left, also when another sender has claimed it since."""
        ...

    async def letter_failed(self, letter: OutboxMessage, error: str, retry_s: float | None) -> None:
        """Write down that it has not; it is due again then, or dead if `retry_s` is None.

        Changes nothing if somebody else has taken it since.
        """
        ...

    async def letters(
        self, *, limit: int, state: Literal["waiting", "sent", "dead"] | None = None
    ) -> list[OutboxMessage]:
        """Letters, those first that were or will be tried last."""
        ...

    async def retry_letter(self, id: str) -> None:
        """Make a letter due now that waits or is dead; a dead one has all its attempts again.

        Raises NotFound, or Conflict if it was sent, or is just being sent.
        """
        ...

    async def retry_dead(self) -> int:
        """Make all letters due now that are dead, as `retry_letter` does one; returns how many."""
        ...

    # --- upkeep -------------------------------------------------------------------------------

    async def prune(self, *, before_us: int) -> int:
        """Remove threads whose last run and entry were before then, and deleted ones of any age.

        Returns how many. One whose last run has waited for a person since goes, too. A thread
        stays as long as one that was forked from it, while somebody holds a run of it or may take
        it up, and until its mail has left or is dead. Callers' request keys go after a day, and
        mail of no thread once it has left or is dead for so long. Runs that are to be cancelled and
        wait for a person nevertheless, which earlier releases left, become claimable.
        """
        ...

    async def schema(self) -> Schema | None:
        """What the database has been brought to; None before the first migration."""
        ...

    async def add_release(self, release: Release) -> bool:
        """Write down that a release was put in place, unless it is the last one that was.

        Returns whether it is new. What is written is never changed.
        """
        ...

    async def releases(self, *, limit: int) -> list[Release]:
        """The releases that were put in place, the last one first."""
        ...

    async def check(self) -> list[str]:
        """What makes the database unfit for the journal, each with what to set instead."""
        ...

    async def run_script(self, script: str) -> None:
        """Run statements ended by `;` one by one, outside any transaction: a workflow's schema."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Mailer(Protocol):
    """Who takes mail away."""

    async def send(self, mail: Mail) -> None:
        """Hand a mail over. Raises MailUnavailable (try again) or MailRejected (never)."""
        ...

    async def check(self) -> None:
        """Connect and log in, as for a mail. Raises MailUnavailable."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Model(Protocol):
    """One reply from a model."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Ask until a whole reply is in, repeating what is worth repeating.

        Raises ModelUnavailable when that does not help, ModelRejected when it never will.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Ids(Protocol):
    """Where new ids come from."""

    def thread(self) -> ThreadId:
        """A new thread's id."""
        ...
