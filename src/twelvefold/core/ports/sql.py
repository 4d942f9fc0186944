"""Transactions, as a tool and the engine see them; a tool declares by these what it may do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from twelvefold.core.events import Entry, Event
from twelvefold.core.ports.records import Row

if TYPE_CHECKING:
    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncSession


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


class MayBeLost(Protocol):
    """What the engine asks of a transaction once the tool has ended, in whatever way."""

    def raise_if_lost(self) -> None:
        """Raise the error that ended the transaction, also where the tool has swallowed it.

        Raises StoreUnavailable or StoreFailed if the database lost it or did not answer a
        statement in time, StoreRefused if the tool's own statement ended it or is still under way.
        """
        ...


class ToolReadOnly(ReadOnly, MayBeLost, Protocol):
    """A read-only tool's transaction as the engine sees it."""


class StepTransaction(Transaction, MayBeLost, Protocol):
    """A tool's transaction as the engine sees it."""

    async def flush(self) -> None:
        """Send what the ORM session still holds back. Raises what that raises."""
        ...

    async def record(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        """Write the announced entries. Visible when the transaction commits."""
        ...
