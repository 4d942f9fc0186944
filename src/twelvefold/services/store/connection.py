"""What the store needs of a database driver: a connection for the length of one transaction.

A round trip costs more than most statements. So a statement of the store whose result is needed
only before the COMMIT waits for the next statement, and both are one packet. The database runs the
statements of a packet in order and stops at the first error.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec import Struct

from twelvefold.core import Row
from twelvefold.errors import (
    DuplicateRow,
    ServiceFault,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
    TwelvefoldError,
)
from twelvefold.services.store.sql_text import Dialect, as_rows

STATEMENT_RUNNING = "a statement of this transaction is still running: await it before the next one"
MIGRATE_HINT = "`twelvefold migrate` makes the tables of a release, and those of its workflows"
NO_ANSWER = "the database did not answer the tool's statement in time"
TRANSACTION_OVER = "the transaction is over: a tool may use it only until it returns"
TRANSACTION_LOST = "the database has rolled back the transaction"
CANNOT_END = "the transaction cannot be ended"
REJECTED = "the database rejects a statement of Twelvefold"

Explain = Callable[[], Awaitable[Exception]]
"""Returns the reason why a deferred statement matched no row; called after the rollback."""


class DriverResult(Struct, frozen=True):
    """The result of one statement, with the fields of a DB-API 2.0 cursor."""

    rows: Sequence[Sequence[Any]]
    description: Sequence[Sequence[Any]] | None
    rowcount: int
    lastrowid: int

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column[0] for column in self.description or ()]


class Reply(Struct, frozen=True):
    """The results of a packet's statements up to the first error; `fault` is that error."""

    results: Sequence[DriverResult]
    fault: StoreUnavailable | StoreRefused | None = None


class Deferred(NamedTuple):
    """A statement that waits for the next one; `unmatched` as in `Connection.defer`."""

    part: Any
    unmatched: Explain | None = None


class Connection(ABC):
    """A driver's connection for the length of one transaction. Raises errors of the store only.

    One statement runs at a time; a second one is refused. After the transaction is lost or over,
    every further statement raises: it would run without the fence. A subclass sends the packets. A
    part is a statement with its values in the form of the driver.
    """

    dialect: Dialect
    write_fence = 0
    """1 where the commit checks only rows that were changed (a cluster with several writers), so
    that the fence must change the run's row; else 0."""

    _deferred: Sequence[Deferred] = ()
    _end: Exception | None = None
    _has_sent = False
    _unchecked = 0

    @property
    def is_checked(self) -> bool:
        """Whether no deferred statement is still to be checked, and the transaction is not lost."""
        return self._unchecked == 0 and self._end is None

    @property
    @abstractmethod
    def _is_running(self) -> bool:
        """Whether a packet has been sent and not answered."""

    @abstractmethod
    def _bind(self, statement: str, values: Mapping[str, Any]) -> Any:
        """Return a statement with named parameters as a part."""

    @abstractmethod
    def _bind_native(self, statement: str, values: Sequence[Any]) -> Any:
        """Return a statement with the driver's own placeholders as a part."""

    @abstractmethod
    async def _send(self, parts: Sequence[Any], *, commits: bool = False) -> Reply:
        """Send the parts, and COMMIT after them; read all results.

        Sets `_end` if the transaction is lost.
        """

    @abstractmethod
    async def rollback(self) -> None:
        """Roll back and drop what is deferred. Raises no error.

        A transaction that is lost stays lost; only `fetch_reason` sends a statement after it.
        """

    # --- statements ---------------------------------------------------------------------------

    def defer(
        self, statement: str, values: Mapping[str, Any], unmatched: Explain | None = None
    ) -> None:
        """Send a statement of the store in one packet with the next one, or with the COMMIT.

        If it matches no row, the transaction is rolled back and ends with the error that
        `unmatched` returns. The COMMIT is sent only after that was checked. An error in a deferred
        statement ends the transaction, too; it is never the error of the statement that follows.
        """
        self.raise_if_lost()
        waits = Deferred(self._bind(statement, values), unmatched)
        self._deferred = (*self._deferred, waits)
        self._unchecked += unmatched is not None

    async def fetch(
        self, statement: str, values: Mapping[str, Any], *, commit: bool = False
    ) -> list[Row]:
        """Return all rows of a statement. `commit` as in `execute`."""
        result = await self._run(self._bind(statement, values), commits=commit)
        return as_rows(result.names, result.rows)

    async def execute(
        self, statement: str, values: Mapping[str, Any], *, commit: bool = False
    ) -> int:
        """Return the number of rows that a statement matched.

        With `commit` the COMMIT is in the same packet: for a statement that may be committed
        whatever it matched.
        """
        return (await self._run(self._bind(statement, values), commits=commit)).rowcount

    async def fetch_reason(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        """Return all rows of a statement that is sent after the rollback, for an `Explain`."""
        reply = await self._send([self._bind(statement, values)])
        if reply.fault:
            raise as_failed(reply.fault)
        return as_rows(reply.results[0].names, reply.results[0].rows)

    async def execute_native(self, statement: str, values: Sequence[Any]) -> DriverResult:
        """Run a statement that has the driver's own placeholders."""
        return await self._run(self._bind_native(statement, values))

    @abstractmethod
    async def execute_many_native(
        self, statement: str, values: Sequence[Sequence[Any]]
    ) -> DriverResult:
        """Run a statement that has the driver's own placeholders once for each row of values."""

    def raise_if_lost(self) -> None:
        """Raise the error that ended the transaction, or StoreRefused while a statement runs."""
        if self._end:
            raise self._end
        if self._is_running:
            raise StoreRefused(STATEMENT_RUNNING)

    async def _run(self, part: Any, *, commits: bool = False) -> DriverResult:
        """Send the deferred statements and this one; return the result of this one."""
        self.raise_if_lost()
        if commits:
            await self._send_checked()
        deferred, self._deferred = self._deferred, ()
        self._has_sent = True
        reply = await self._send([*(one.part for one in deferred), part], commits=commits)
        await self._check(deferred, reply)
        if reply.fault:
            at_commit = len(reply.results) > len(deferred)
            raise self._commit_fault(reply.fault) if at_commit else reply.fault
        self._has_sent = not commits
        return reply.results[len(deferred)]

    async def _send_checked(self) -> None:
        """Send the deferred statements up to the last one to be checked, and check them."""
        checked = [number for number, one in enumerate(self._deferred, 1) if one.unmatched]
        if checked:
            await self._send_first(checked[-1])

    async def _send_first(self, count: int) -> None:
        """Send that many of the deferred statements without another one."""
        deferred, self._deferred = self._deferred[:count], self._deferred[count:]
        self._has_sent = True
        await self._check(deferred, await self._send([one.part for one in deferred]))

    async def _check(self, deferred: Sequence[Deferred], reply: Reply) -> None:
        """Raise the error of a deferred statement, which ends the transaction."""
        for one, result in zip(deferred, reply.results, strict=False):
            if one.unmatched and not result.rowcount:
                self._end = await self._find_reason(one.unmatched)
                raise self._end
        if reply.fault and len(reply.results) < len(deferred):
            self._end = as_failed(reply.fault)
            raise self._end
        self._unchecked -= sum(one.unmatched is not None for one in deferred)

    async def _find_reason(self, unmatched: Explain) -> Exception:
        """Roll back, and return why a statement matched no row."""
        # Other tasks of the tool may send statements meanwhile: none may begin without the fence.
        lost = self._end = StoreUnavailable(TRANSACTION_LOST).loggable()
        try:
            await self.rollback()
            return await unmatched()
        except BaseException as error:  # for example cancelled
            self._end = error if isinstance(error, StoreUnavailable) else lost
            raise

    # --- the end ------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Check what is deferred, then send the rest of it and the COMMIT in one packet.

        Rolls back and raises if that fails. Raises DuplicateRow for a deferred statement.
        """
        try:
            self.raise_if_lost()
            await self._send_checked()
            if self._deferred or self._has_sent:
                await self._commit()
        except TwelvefoldError:
            await self.rollback()
            raise

    async def _commit(self) -> None:
        parts, self._deferred = [one.part for one in self._deferred], ()
        self._has_sent = True
        reply = await self._send(parts, commits=True)
        if reply.fault is None:
            self._has_sent = False
        elif len(reply.results) == len(parts):
            raise self._commit_fault(reply.fault)
        elif isinstance(reply.fault, DuplicateRow):
            raise reply.fault
        else:
            raise as_failed(reply.fault)

    def _commit_fault(self, fault: ServiceFault) -> ServiceFault:
        """Return the error of a COMMIT, which has no values of the tool."""
        if not isinstance(fault, StoreRefused):
            return fault
        failed = StoreFailed(f"{CANNOT_END}: {fault}").loggable(f"{CANNOT_END}: {fault.logged}")
        failed.__cause__ = fault.__cause__
        return failed


@contextmanager
def own_statement() -> Iterator[None]:
    """Raise the rejection of one of the store's own statements as StoreFailed, but DuplicateRow."""
    try:
        yield
    except DuplicateRow:
        raise
    except StoreRefused as refused:
        raise as_failed(refused) from refused.__cause__


def as_failed(refused: TwelvefoldError) -> TwelvefoldError:
    """Return the database's rejection of one of the store's own statements as StoreFailed.

    Every other error, TooLarge, and what the store itself refused (it has no cause), stay as they
    are.
    """
    is_rejection = isinstance(refused, StoreRefused) and not isinstance(refused, TooLarge)
    if not is_rejection or refused.__cause__ is None:
        return refused
    failed = StoreFailed(f"{REJECTED}: {refused}").loggable(f"{REJECTED}: {refused.logged}")
    failed.__cause__ = refused.__cause__
    return failed
