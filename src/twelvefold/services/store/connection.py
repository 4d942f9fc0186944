"""What the store needs of a database driver: a connection for the length of one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twelvefold.core import Row
from twelvefold.services.store.sql_text import Dialect

STATEMENT_RUNNING = "a statement of this transaction is still running: await it before the next one"
MIGRATE_HINT = "`twelvefold migrate` makes the tables of a release, and those of its workflows"
NO_ANSWER = "the database did not answer the tool's statement in time"
TRANSACTION_OVER = "the transaction is over: a tool may use it only until it returns"
TRANSACTION_LOST = "the database has rolled back the transaction"


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
    """1 where the commit checks only rows that were changed (Galera), so that the fence must change
    the run's row; else 0."""

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        """Return all rows of a statement."""
        ...

    async def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        """Return the number of rows that a statement matched."""
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
