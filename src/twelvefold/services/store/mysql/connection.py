"""A connection of asyncmy for the length of one transaction, and its errors as the store's."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from twelvefold.core import Row
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable, TooLarge
from twelvefold.services.store.connection import (
    NO_ANSWER,
    STATEMENT_RUNNING,
    TRANSACTION_LOST,
    TRANSACTION_OVER,
    DriverResult,
)
from twelvefold.services.store.mysql.driver import abort
from twelvefold.services.store.mysql.errors import (
    ACCOUNT_LIMIT,
    READ_ONLY_TRANSACTION,
    is_read_only,
    keeps_connection,
    parse_error,
    translate_error,
)
from twelvefold.services.store.sql_text import Dialect, as_rows, to_positional


class MySQLConnection:
    """Implements `store.connection.Connection`.

    `sent_at`: when the running statement was sent, by the monotonic clock; 0 if none runs. A
    connection that `is_tainted` is closed instead of reused. `may_write` is False in a READ ONLY
    transaction. `is_on_replica`: the server has rejected a write as read-only. `max_packet` is that
    of `QuietCursor`, `recovery_s` that of StoreUnavailable once the connection is lost.
    """

    dialect: Dialect = "mysql"

    def __init__(
        self, raw: Any, write_fence: int, max_packet: int = 0, recovery_s: float = 0.0
    ) -> None:
        self.write_fence = write_fence
        self.sent_at = 0.0
        self.is_tainted = False
        self.may_write = True
        self.is_on_replica = False
        self.raw = raw
        self._max_packet = max_packet
        self._recovery_s = recovery_s
        self._in_transaction = False
        self._end: StoreUnavailable | StoreRefused | None = None

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        result = await _read_result(await self._run(*_bind(statement, values)))
        return as_rows(result.names, result.rows)

    async def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        return cast("int", (await self._run(*_bind(statement, values))).rowcount)

    async def execute_native(self, statement: str, values: Sequence[Any]) -> DriverResult:
        return await _read_result(await self._run(statement, tuple(values)))

    async def execute_many_native(
        self, statement: str, values: Sequence[Sequence[Any]]
    ) -> DriverResult:
        rows = [tuple(row) for row in values]
        return await _read_result(await self._run(statement, rows, many=True))

    def raise_if_lost(self) -> None:
        if self._end:
            raise self._end
        if self.sent_at:
            raise StoreRefused(STATEMENT_RUNNING)

    async def run(self, statement: str) -> None:
        """Run a statement without parameters, which may end the transaction."""
        self._in_transaction = False
        await self._run(statement)

    async def commit(self) -> None:
        try:
            await self._send(self.raw.commit)
        except (StoreUnavailable, StoreRefused):
            await self.rollback()
            raise

    async def rollback(self) -> None:
        """Roll back, or close the connection if that fails, so that the server rolls back."""
        if not self.raw.connected:
            return
        self._end = None
        try:
            await self._send(self.raw.rollback)
        except (StoreUnavailable, StoreRefused):
            self.abort()

    def abort(self) -> None:
        """Close the connection; the server rolls back what was not committed."""
        # No error matters: the connection is not used any more.
        with suppress(Exception):
            abort(self.raw)

    def detach(self) -> None:
        """Refuse further statements: the driver's connection goes back to its pool."""
        self._end = StoreRefused(TRANSACTION_OVER)
        if self.is_tainted:
            self.abort()

    async def _run(
        self, statement: str, values: Sequence[Any] | None = None, *, many: bool = False
    ) -> Any:
        """Run a statement and return its cursor."""
        cursor = self.raw.cursor()
        cursor.max_packet = self._max_packet
        send = cursor.executemany if many else cursor.execute
        await self._send(send, statement, values, cursor=cursor)
        return cursor

    async def _send(
        self, send: Callable[..., Awaitable[object]], *args: object, cursor: Any = None
    ) -> None:
        """Wait for the server's answer to one statement; without a cursor it ends the transaction.

        Raises StoreUnavailable or StoreRefused for each error of the driver. After the transaction
        is lost every statement is refused: a deadlock rolls the fence back too.
        """
        self.raise_if_lost()
        self.sent_at = time.monotonic()
        try:
            await send(*args)
        except TooLarge:
            # Nothing was sent. An operator who raises the limit raises it for new connections.
            self.is_tainted = True
            raise
        except Exception as error:
            if cursor is not None and not cursor.is_sending:
                raise StoreRefused(f"the statement and its values make no SQL: {error}") from error
            raise await self._record_error(error, ends=cursor is None) from error
        except BaseException:
            # For example cancelled: the answer would be read as that of the next statement.
            self.abort()
            self._end = StoreFailed(NO_ANSWER).loggable()
            raise
        finally:
            self.sent_at = 0.0
        self._check_open(ends=cursor is None)

    def _check_open(self, *, ends: bool) -> None:
        """Raise StoreRefused if a statement has ended the transaction."""
        is_open = self.raw.get_transaction_status()
        if self._in_transaction and not is_open and not ends:
            self._end = StoreRefused("the statement has ended the transaction, which no tool may")
            raise self._end
        self._in_transaction = is_open

    async def _record_error(
        self, error: Exception, *, ends: bool
    ) -> StoreUnavailable | StoreRefused:
        """Return the error as the store's, and note whether the transaction is lost with it."""
        fault, (code, text) = translate_error(error, self._server()), parse_error(error)
        if code == ACCOUNT_LIMIT:
            # An operator who raises the limit raises it for new connections.
            self.is_tainted = True
        if not self.may_write and code == READ_ONLY_TRANSACTION:
            fault = StoreRefused(str(fault)).loggable(fault.logged)
        if ends and isinstance(fault, StoreRefused):
            # A COMMIT has no values of the tool.
            ending = "the transaction cannot be ended"
            logged = f"{ending}: {fault.logged}"
            fault = StoreFailed(f"{ending}: {fault}").loggable(logged)
        if isinstance(fault, StoreUnavailable):
            self._end, self.is_on_replica = fault, is_read_only(code, text)
            if not keeps_connection(error, self._server()):
                self.abort()
                if not isinstance(fault, StoreFailed):
                    fault.recovery_s = self._recovery_s
        elif not await self._is_open():
            # The server closes the connection after a packet that is too large, and would again.
            lost = StoreUnavailable(f"{TRANSACTION_LOST}: {text}")
            lost.loggable(f"{TRANSACTION_LOST}: MySQL error {code}")
            self._end = fault if isinstance(fault, TooLarge) else lost
        return fault

    def _server(self) -> str:
        return cast("str", self.raw.get_server_info())

    async def _is_open(self) -> bool:
        """Return whether the transaction is still open after an error.

        An error has no transaction status; the answer to a ping does.
        """
        try:
            await self.raw.ping(reconnect=False)
        except BaseException as error:
            self.abort()
            if isinstance(error, Exception):
                return False
            self._end = StoreFailed(NO_ANSWER).loggable()
            raise
        return self.raw.get_transaction_status() or not self._in_transaction


def _bind(statement: str, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    text, order_values = to_positional(statement)
    try:
        return text, order_values(values)
    except KeyError as missing:
        raise StoreRefused(f"the statement has :{missing.args[0]}, which was not given") from None


async def _read_result(cursor: Any) -> DriverResult:
    rows = await cursor.fetchall()
    return DriverResult(rows, cursor.description, cursor.rowcount, cursor.lastrowid)
