"""What the engine stands on, as Protocols; `twelvefold.services` has an implementation of each.

`ReadOnly`, `Transaction`, `Principal` and `CallKey` are also what a tool asks for by type.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from twelvefold.core.events import Entry, Event, FinalStatus, Item, ReplyEnd, Usage
from twelvefold.core.ids import LeaseToken, RunId, ThreadId

if TYPE_CHECKING:
    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncSession

Row = dict[str, Any]
RunStatus = Literal["queued", "running", "waiting"] | FinalStatus
OVER: tuple[FinalStatus, ...] = ("completed", "incomplete", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf a run acts; it comes from the caller's key, never from the model."""

    id: str


class CallKey(str):
    """A key that stays the same however often this call is tried, for effects elsewhere."""

    __slots__ = ()


@runtime_checkable
class ReadOnly(Protocol):
    """SQL that changes nothing: `:name` in the text, `name=value` beside it.

    A statement is text or a SQLAlchemy Core statement. Rows come as dicts in column order.
    """

    async def fetch_one(self, statement: "str | Executable", /, **values: Any) -> Row | None:
        """The first row, or None where there is none."""
        ...

    async def fetch_all(self, statement: "str | Executable", /, **values: Any) -> list[Row]:
        """All rows, in the statement's order."""
        ...


@runtime_checkable
class Transaction(ReadOnly, Protocol):
    """The step's own transaction: what it writes commits with the journal entry, or not at all.

    Statements that commit by themselves (DDL) or end the transaction are refused.
    """

    async def execute(self, statement: "str | Executable", /, **values: Any) -> int:
        """Run a statement and return the number of rows it matched.

        Raises DuplicateRow if a row with this key is there already.
        """
        ...

    async def send_mail(self, to: str, subject: str, text: str, *, html: str = "") -> None:
        """Put a mail into the outbox; it leaves after the commit, at least once."""
        ...

    async def orm_session(self) -> "AsyncSession":
        """A SQLAlchemy session that is part of this transaction; flushed before the commit."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a run; a token that another process has replaced writes nothing."""

    run: RunId
    token: LeaseToken


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is written when a run starts. `thread_head` 0 makes the thread, too.

    `token` is that of the lease, chosen by the caller so that starting twice is starting once.
    """

    run: RunId
    token: LeaseToken
    thread_head: int
    principal: str
    workflow: str
    release: str
    background: bool = False
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the operator sees it. Times are microseconds since 1970 by the server's clock."""

    run: RunId
    status: RunStatus
    principal: str
    workflow: str
    release: str
    usage: Usage
    error: str
    created_at_us: int
    finished_at_us: int | None
    leased: bool
    cancel_asked: bool


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread as stored, with all entries of its lineage up to `head`.

    Entries up to `forked_at` are another thread's; 0 if it was not forked.
    """

    id: ThreadId
    principal: str
    workflow: str
    head: int
    forked_at: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Append:
    """What one step's commit does to the run: so many entries on top of `head`, and its status.

    `status` "running" keeps the lease; any other gives it back.
    """

    lease: Lease
    head: int
    adds: int
    status: RunStatus = "running"
    usage: Usage = field(default_factory=Usage)
    error: str = ""


class StepTransaction(Transaction, Protocol):
    """A tool's transaction as the engine sees it."""

    def reading(self) -> ReadOnly:
        """The same transaction for a tool that may only read."""
        ...

    async def record(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        """Write the announced entries. Visible when the transaction commits."""
        ...


class Store(Protocol):
    """The journal, its leases and the business tables beside it, in one database.

    Every method may raise StoreUnavailable (try again) or StoreRefused (do not).
    """

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        """Write a run and its first entry, leased unless `lease_s` is None (then it is queued).

        Written already with this token: the same again. Raises Conflict if the thread is no
        longer at `thread_head`.
        """
        ...

    async def load(self, thread: ThreadId) -> ThreadRecord:
        """The thread with its whole journal, that of the threads it was forked from included.

        Raises NotFound.
        """
        ...

    async def claim(self, run: RunId, lease_s: float) -> tuple[Lease, bool] | None:
        """Take a run that is not over and that nobody holds; None if somebody does.

        The flag is True if its last holder never gave it back. Raises NotFound.
        """
        ...

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        """Hold on to a run; True if somebody asked for its cancelling. Raises LeaseLost."""
        ...

    async def release(
        self,
        lease: Lease,
        *,
        status: Literal["queued", "waiting"] = "queued",
        in_doubt: bool = False,
    ) -> None:
        """Give a run back at once; `in_doubt` says that an unsafe call may have happened."""
        ...

    def append(self, change: Append) -> AbstractAsyncContextManager[StepTransaction]:
        """One transaction: the fence, then whatever the body does; commits when it ends.

        Raises StaleRun or LeaseLost before the body runs if another process has gone on, and
        CancelAsked if the run is to be cancelled and `change` does not do that.
        """
        ...

    def read(self) -> AbstractAsyncContextManager[ReadOnly]:
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

    async def prune(self, *, before_us: int) -> int:
        """Remove threads whose last run was over before then; returns how many.

        A thread that others were forked from stays as long as they do.
        """
        ...

    async def schema_version(self) -> str | None:
        """The migration that was applied last; None before the first."""
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


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool = True

    @property
    def parameters_size(self) -> int:
        """About how many characters of JSON the schema is."""
        return len(str(self.parameters))


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request for a reply: the conversation as items in the Responses API's shape."""

    instructions: str
    items: tuple[Item, ...]
    tools: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A whole reply. `request_hash` is the SHA-256, in hex, of the body that was sent."""

    items: tuple[Item, ...]
    usage: Usage
    model: str
    request_hash: str
    ended: ReplyEnd = "completed"


class Listener(Protocol):
    """Who wants to see a run as it goes on. Called in order, never awaited."""

    def text(self, delta: str) -> None:
        """A piece of the reply has come in."""

    def restarted(self, why: str) -> None:
        """The reply so far is void; it is asked for again."""

    def recorded(self, entry: Entry) -> None:
        """The journal has this now."""


class Silence:
    """A listener that does nothing."""

    def text(self, delta: str) -> None:
        """Nobody reads along."""

    def restarted(self, why: str) -> None:
        """Nothing was shown."""

    def recorded(self, entry: Entry) -> None:
        """The journal is enough."""


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
