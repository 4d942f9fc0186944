"""What the store needs of a database driver: a connection for the length of one transaction."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twelvefold.core import Row
from twelvefold.services.store.sql_text import Dialect

STATEMENT_RUNNING = "a statement of this transaction is still running: await it before the next one"
MIGRATE_HINT = "`twelvefold migrate` makes the tables of a release, and those of its workflows"
NO_ANSWER = "the database did not answer the tool's statement in time"
TRANSACTION_OVER = "the transaction is over: a tool may use it only until it returns"
TRANSACTION_LOST = "the database has rolled back the transaction"

Explain = Callable[[], Awaitable[Exception]]
"""Returns the reason why a deferred statement matched no row; called after the rollback."""


@dataclass(frozen=True, slots=True)
class DriverResult:
    """The result of one statement, with the fields of a DB-API 2.0 cursor."""

    rows: Sequence[Sequence[Any]]
    description: Sequence[Sequence[Any]] | None
    rowcount: int
    lastrowid: int

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column[0] for column in self.description or ()]


class Connection(Protocol):
    """A driver's connection for the length of one transaction. Raises errors of the store only.

    One statement runs at a time; a second one is refused. After the transaction is lost or over,
    every further statement raises: it would run without the fence.
    """

    dialect: Dialect
    write_fence: int
    """1 where the commit checks only rows that were changed (a cluster with several writers), so
    that the fence must change the run's row; else 0."""

    def defer(
        self, statement: str, values: Mapping[str, Any], unmatched: Explain | None = None
    ) -> None:
        """Send a statement of the store in one packet with the next one, or with the COMMIT.

        If it matches no row, the transaction is rolled back and ends with the error that
        `unmatched` returns. The COMMIT is sent only after that was checked. An error in a deferred
        statement ends the transaction, too; it is never the error of the statement that follows.
        """
        ...

    async def fetch(
        self, statement: str, values: Mapping[str, Any], *, commit: bool = False
    ) -> list[Row]:
        """Return all rows of a statement. `commit` as in `execute`."""
        ...

    async def execute(
        self, statement: str, values: Mapping[str, Any], *, commit: bool = False
    ) -> int:
        """Return the number of rows that a statement matched.

        With `commit` the COMMIT is in the same packet: for a statement that may be committed
        whatever it matched.
        """
        ...

    async def execute_native(self, statement: str, values: Sequence[Any]) -> DriverResult:
        """Run a statement that has the driver's own placeholders."""
        ...

    async def execute_many_native(
        self, statement: str, values: Sequence[Sequence[Any]]
    ) -> DriverResult:
        """Run a statement that has the driver's own placeholders once for each row of values."""
        ...

    def raise_if_lost(self) -> None:
        """Raise the error that ended the transaction, or StoreRefused while a statement runs."""
        ...
