"""A connection of asyncmy for the length of one transaction, and its errors as ours."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from twelvefold.core.ports import Row
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable, TooLarge
from twelvefold.services.store.mysql.driver import cut
from twelvefold.services.store.mysql.errors import (
    ACCOUNT_LIMIT,
    READ_ONLY_TRANSACTION,
    code_and_text,
    fault_of,
    leaves_the_connection,
)
from twelvefold.services.store.sql_text import Dialect, positional
from twelvefold.services.store.transaction import BUSY, NO_ANSWER, OVER, Answer, as_rows


class MySQLConnection:
    """Obeys `transaction.Connection`.

    `asked_at` is when the statement under way was sent, by the monotonic clock; 0 if none is.
    One that `is_spoilt` is not used again; `may_write` unless the transaction is READ ONLY.
    `max_packet` is as a cursor's.
    """

    dialect: Dialect = "mysql"

    def __init__(self, raw: Any, touch: int, max_packet: int = 0) -> None:
        self.touch = touch
        self.asked_at = 0.0
        self.is_spoilt = False
        self.may_write = True
        self.raw = raw
        self._max_packet = max_packet
        self._begun = False
        self._over: StoreUnavailable | StoreRefused | None = None

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        cursor = await self._asked(*_bound(statement, values))
        names = [column[0] for column in cursor.description or ()]
        return as_rows(names, await cursor.fetchall())

    async def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        return cast("int", (await self._asked(*_bound(statement, values))).rowcount)

    async def ask(self, statement: str, values: Sequence[Any]) -> Answer:
        return await _answer(await self._asked(statement, tuple(values)))

    async def ask_many(self, statement: str, values: Sequence[Sequence[Any]]) -> Answer:
        rows = [tuple(row) for row in values]
        return await _answer(await self._asked(statement, rows, many=True))

    def raise_if_lost(self) -> None:
        if self._over:
            raise self._over
        if self.asked_at:
            raise StoreRefused(BUSY)

    async def run(self, statement: str) -> None:
        """Run a statement as it stands, which may end the transaction."""
        self._begun = False
        await self._asked(statement)

    async def commit(self) -> None:
        try:
            await self._ask(self.raw.commit)
        except (StoreUnavailable, StoreRefused):
            await self.rollback()
            raise

    async def rollback(self) -> None:
        """Undo what was written; a connection that cannot is closed, which comes to the same."""
        if not self.raw.connected:
            return
        self._over = None
        try:
            await self._ask(self.raw.rollback)
        except (StoreUnavailable, StoreRefused):
            self.cut()

    def cut(self) -> None:
        """Close the connection; the server undoes what was not committed."""
        # Whatever the driver says to that, nobody uses the connection any more.
        with suppress(Exception):
            cut(self.raw)

    def leave(self) -> None:
        """Nothing more may be asked: the driver's connection will be another's."""
        self._over = StoreRefused(OVER)
        if self.is_spoilt:
            self.cut()

    async def _asked(
        self, statement: str, values: Sequence[Any] | None = None, *, many: bool = False
    ) -> Any:
        """A cursor that has the answer to a statement."""
        cursor = self.raw.cursor()
        cursor.max_packet = self._max_packet
        send = cursor.executemany if many else cursor.execute
        await self._ask(send, statement, values, cursor=cursor)
        return cursor

    async def _ask(
        self, send: Callable[..., Awaitable[object]], *args: object, cursor: Any = None
    ) -> None:
        """Wait for the server's answer to one statement; without a cursor it ends the transaction.

        Whatever the driver raises comes out as StoreUnavailable or StoreRefused. What comes after
        a lost transaction is refused: a deadlock undoes the fence, too.
        """
        self.raise_if_lost()
        self.asked_at = time.monotonic()
        try:
            await send(*args)
        except TooLarge:
            # Nothing was sent. Who raises the limit raises it for new connections.
            self.is_spoilt = True
            raise
        except Exception as error:
            if cursor is not None and not cursor.is_sending:
                raise StoreRefused(f"the statement and its values make no SQL: {error}") from error
            raise await self._noted(error, ends=cursor is None) from error
        except BaseException:
            # Cancelled, say: the answer is still to come, and would be the next one's.
            self.cut()
            self._over = StoreFailed(NO_ANSWER).loggable()
            raise
        finally:
            self.asked_at = 0.0
        is_open = self.raw.get_transaction_status()
        if self._begun and not is_open and cursor is not None:
            self._over = StoreRefused("the statement has ended the transaction, which no tool may")
            raise self._over
        self._begun = is_open

    async def _noted(self, error: Exception, *, ends: bool) -> StoreUnavailable | StoreRefused:
        fault, code = fault_of(error, self._server()), code_and_text(error)[0]
        if code == ACCOUNT_LIMIT:
            # Who raises the limit raises it for new connections.
            self.is_spoilt = True
        if not self.may_write and code == READ_ONLY_TRANSACTION:
            fault = StoreRefused(str(fault)).loggable(fault.logged)
        if ends and isinstance(fault, StoreRefused):
            # Nobody's values are in a COMMIT.
            ending = "the transaction cannot be ended"
            logged = f"{ending}: {fault.logged}"
            fault = StoreFailed(f"{ending}: {fault}").loggable(logged)
        if isinstance(fault, StoreUnavailable):
            self._over = fault
            if not leaves_the_connection(error, self._server()):
                self.cut()
        elif not await self._is_open():
            # The server closes the connection after a packet that is too large, and would again.
            undone = "the database has undone the transaction"
            lost = StoreUnavailable(f"{undone}: {code_and_text(error)[1]}")
            is_large = isinstance(fault, TooLarge)
            self._over = fault if is_large else lost.loggable(f"{undone}: MySQL error {code}")
        return fault

    def _server(self) -> str:
        return cast("str", self.raw.get_server_info())

    async def _is_open(self) -> bool:
        """Whether the transaction has outlived an error, which bears no status: a ping does."""
        try:
            await self.raw.ping(reconnect=False)
        except BaseException as error:
            self.cut()
            if isinstance(error, Exception):
                return False
            self._over = StoreFailed(NO_ANSWER).loggable()
            raise
        return self.raw.get_transaction_status() or not self._begun


def _bound(statement: str, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    text, in_order = positional(statement)
    try:
        return text, in_order(values)
    except KeyError as missing:
        raise StoreRefused(f"the statement has :{missing.args[0]}, which was not given") from None


async def _answer(cursor: Any) -> Answer:
    rows = await cursor.fetchall()
    return Answer(rows, cursor.description, cursor.rowcount, cursor.lastrowid)
