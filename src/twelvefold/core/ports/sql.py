"""Transactions as tools and the engine see them; a tool's annotation declares which it needs."""

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from twelvefold.core.events import Entry, Event, RunStarted
from twelvefold.core.ports.run_records import NewRun

if TYPE_CHECKING:
    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

Row = dict[str, Any]
BlockingWait = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
"""Runs a coroutine on the event loop for a thread, and returns its result in the thread."""


@runtime_checkable
class ReadOnly(Protocol):
    """SQL that changes no row: `:name` in the text, `name=value` as an argument.

    A statement is text or a SQLAlchemy Core statement. Rows are dicts in column order.

    Example:
        from twelvefold import ReadOnly, tool

        @tool
        async def find_items(db: ReadOnly, word: str) -> list[dict[str, object]]:
            \"""Find items on the list.\"""
            return await db.fetch_all("select item from list where item like :p", p=f"%{word}%")
    """

    async def fetch_one(self, statement: "str | Executable", /, **values: Any) -> Row | None:
        """Return the first row; None if there is none."""
        ...

    async def fetch_all(self, statement: "str | Executable", /, **values: Any) -> list[Row]:
        """Return all rows, in the statement's order."""
        ...


@runtime_checkable
class Transaction(ReadOnly, Protocol):
    """The step's transaction: its rows commit together with the journal entry, or not at all.

    Refuses statements that commit implicitly (DDL) or end the transaction.

    Example:
        from twelvefold import Transaction, tool

        @tool
        async def add_item(tx: Transaction, item: str) -> str:
            \"""Put one thing on the list.\"""
            await tx.execute("insert into list (item) values (:item)", item=item)
            await tx.send_mail("ann@example.org", "The list", f"{item} is on it")
            return f"{item} is on the list"
    """

    async def execute(self, statement: "str | Executable", /, **values: Any) -> int:
        """Run a statement and return the number of rows it matched.

        Raises DuplicateRow if a row with this key exists.
        """
        ...

    async def send_mail(self, to: str, subject: str, text: str, *, html: str = "") -> None:
        """Add a mail to the outbox; it is sent after the commit, at least once."""
        ...

    async def signal(self, workflow: str, principal: str, key: str, payload: Any = None) -> bool:
        """Send an event with the commit to the runs of a workflow and principal; see `Wait`.

        `payload` is a JSON value. Returns False if the event was sent before: a key names one
        event. Raises RequestError if the key or the payload is too long.
        """
        ...

    async def orm_session(self) -> "AsyncSession":
        """Return a SQLAlchemy session within this transaction; it is flushed before the commit."""
        ...


@runtime_checkable
class SyncReadOnly(Protocol):
    """`ReadOnly` for a plain function, which runs in a thread: each call waits for its result.

    After the call of the tool is over, also because of its timeout, every call raises StoreRefused.

    Example:
        from twelvefold import SyncReadOnly, tool

        @tool
        def count_books(db: SyncReadOnly, title: str) -> int:
            \"\"\"Count the books with this title.\"\"\"
            return len(db.fetch_all("select id from books where title = :title", title=title))
    """

    def fetch_one(self, statement: "str | Executable", /, **values: Any) -> Row | None:
        """Return the first row; None if there is none."""
        ...

    def fetch_all(self, statement: "str | Executable", /, **values: Any) -> list[Row]:
        """Return all rows, in the statement's order."""
        ...


@runtime_checkable
class SyncTransaction(SyncReadOnly, Protocol):
    """`Transaction` for a plain function, which runs in a thread: each call waits for its result.

    Its rows commit together with the journal entry, or not at all. After the call of the tool is
    over, also because of its timeout, every call raises StoreRefused.

    Example:
        from twelvefold import Principal, SyncTransaction, tool

        @tool
        def borrow(tx: SyncTransaction, who: Principal, book_id: int) -> str:
            \"\"\"Lend a book to the caller.\"\"\"
            tx.execute("insert into loans values (:book, :who)", book=book_id, who=who.id)
            return "lent"
    """

    def execute(self, statement: "str | Executable", /, **values: Any) -> int:
        """Run a statement and return the number of rows it matched.

        Raises DuplicateRow if a row with this key exists.
        """
        ...

    def send_mail(self, to: str, subject: str, text: str, *, html: str = "") -> None:
        """Add a mail to the outbox; it is sent after the commit, at least once."""
        ...

    def signal(self, workflow: str, principal: str, key: str, payload: Any = None) -> bool:
        """Send an event with the commit, as `Transaction.signal` does."""
        ...

    def orm_session(self) -> "Session":
        """Return a SQLAlchemy session within this transaction; it is flushed before the commit.

        The thread of the tool alone may use it. Raises StoreRefused unless `sqlalchemy.orm` was
        imported before the call.
        """
        ...


class MayBeLost(Protocol):
    """A transaction that the engine checks after the tool has ended."""

    def raise_if_lost(self) -> None:
        """Raise the error that ended the transaction, also if the tool has caught it.

        Raises StoreUnavailable or StoreFailed if the database lost it or did not answer a
        statement in time, StoreRefused if the tool's own statement ended it or is still running.
        """
        ...


class ToolReadOnly(ReadOnly, MayBeLost, Protocol):
    """A read-only tool's transaction as the engine sees it."""


class StepTransaction(Transaction, MayBeLost, Protocol):
    """A tool's transaction as the engine sees it."""

    @property
    def is_fenced(self) -> bool:
        """Whether the database has checked the lease: locks now keep other processes out.

        False before the first statement, and again once the transaction is lost. May be read from
        any thread.
        """
        ...

    @property
    def mails(self) -> int:
        """How many mails the step has added to the outbox."""
        ...

    @property
    def signalled(self) -> Collection[str]:
        """The workflows whose runs an event of the step may have woken."""
        ...

    async def flush(self) -> None:
        """Flush the ORM session. Raises the error of its statements."""
        ...

    def start_child(self, new: NewRun, started: RunStarted) -> None:
        """Start a queued run on a new thread of the run's family, hidden from lists.

        Its rows commit with the step. Raises StoreRefused if its first entry is no text.
        """
        ...

    def call_blocking(self, function: Callable[[], object], wait: BlockingWait) -> object:
        """Call a function in a thread, and return its result.

        The function may use the session of `blocking_session`, whose statements go through `wait`.
        """
        ...

    async def blocking_session(self) -> "Session":
        """Return the ORM session of the function that `call_blocking` calls. Raises StoreRefused.

        It is flushed as that of `orm_session` is.
        """
        ...

    async def record(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        """Write the announced entries. They are visible after the commit."""
        ...
