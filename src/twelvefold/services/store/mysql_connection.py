"""A connection of asyncmy for the length of one transaction, and its errors as ours."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from asyncmy.cursors import Cursor
from asyncmy.errors import Error as DriverError
from asyncmy.errors import InterfaceError, InternalError, OperationalError

from twelvefold.core.ports import Row
from twelvefold.errors import DuplicateRow, StoreRefused, StoreUnavailable
from twelvefold.services.store.statements import Dialect, positional
from twelvefold.services.store.transaction import BUSY, MIGRATE, OVER, Answer, as_rows

# Source: the error references of MySQL and MariaDB.
GONE = {
    *(1040, 1042, 1043, 1047, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1836, 1927),
    *(2002, 2003, 2006, 2013, 2014, 2055, 3169, 4031),
}
"""The connection is of no use any more, or leads to a server that is of none."""
TRY_AGAIN = {1020, 1180, 1205, 1206, 1213, 1317, 1412, 1637, 3100, 3101}
"""The server has undone the transaction, or would have it tried again."""
DUPLICATE = {1062, 1586}
NO_TABLE = 1146
FORBIDDEN_BY_OPTION = 1290
"""Said by a server that has become a replica, and of other options, too."""


def fault_of(error: BaseException) -> StoreUnavailable | StoreRefused:
    """The driver's error as the tree has it."""
    code, text = _code_and_text(error)
    if _is_gone(error, code, text):
        return StoreUnavailable(f"the database cannot be reached: {text}")
    if code in TRY_AGAIN:
        return StoreUnavailable(f"the database asks to try again: {text}")
    if code == NO_TABLE:
        return StoreRefused(f"{text}; {MIGRATE}")
    return DuplicateRow(text) if code in DUPLICATE else StoreRefused(text)


def _code_and_text(error: BaseException) -> tuple[int, str]:
    if len(error.args) == 2 and isinstance(error.args[0], int):
        code, text = error.args
        return code, f"{text} (MySQL error {code})" if code else str(text)
    return 0, str(error) or type(error).__name__


def _is_gone(error: BaseException, code: int, text: str) -> bool:
    if code == FORBIDDEN_BY_OPTION:
        return "read-only" in text or "read_only" in text
    if code == 0:
        # The driver's own words, when it has lost the connection or its place in the protocol.
        kinds = (InterfaceError, InternalError, OperationalError)
        return not isinstance(error, DriverError) or isinstance(error, kinds)
    return code in GONE


class QuietCursor(Cursor):
    """A cursor that asks for no warnings: a round trip each, and a log line with data in it."""

    async def _show_warnings(self, _: object) -> None:
        """The server is in strict mode: what matters is an error."""


class MySQLConnection:
    """Obeys `transaction.Connection`.

    `asked_at` is when the statement under way was sent, by the monotonic clock; 0 if none is.
    One that `is_spoilt` is not used again.
    """

    dialect: Dialect = "mysql"

    def __init__(self, raw: Any, touch: int) -> None:
        self.touch = touch
        self.asked_at = 0.0
        self.is_spoilt = False
        self.raw = raw
        self._begun = False
        self._over: StoreUnavailable | StoreRefused | None = None

    def raise_if_lost(self) -> None:
        if self._over:
            raise self._over

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        text, bound = _bound(statement, values)
        cursor = self.raw.cursor()
        await self._ask(cursor.execute, text, bound)
        names = [column[0] for column in cursor.description or ()]
        return as_rows(names, await cursor.fetchall())

    async def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        text, bound = _bound(statement, values)
        cursor = self.raw.cursor()
        await self._ask(cursor.execute, text, bound)
        return cast("int", cursor.rowcount)

    async def ask(self, statement: str, values: Sequence[Any]) -> Answer:
        cursor = self.raw.cursor()
        await self._ask(cursor.execute, statement, tuple(values))
        return await _answer(cursor)

    async def ask_many(self, statement: str, values: Sequence[Sequence[Any]]) -> Answer:
        cursor = self.raw.cursor()
        await self._ask(cursor.executemany, statement, [tuple(row) for row in values])
        return await _answer(cursor)

    async def run(self, statement: str) -> None:
        """Run a statement as it stands, which may end the transaction."""
        self._begun = False
        await self._ask(self.raw.cursor().execute, statement)

    async def commit(self) -> None:
        try:
            await self._ask(self.raw.commit, ends=True)
        except (StoreUnavailable, StoreRefused):
            await self.rollback()
            raise

    async def rollback(self) -> None:
        """Undo what was written; a connection that cannot is closed, which comes to the same."""
        if not self.raw.connected:
            return
        self._over = None
        try:
            await self._ask(self.raw.rollback, ends=True)
        except (StoreUnavailable, StoreRefused):
            self.cut()

    def cut(self) -> None:
        """Close the connection; the server undoes what was not committed."""
        self.raw.close()

    def leave(self) -> None:
        """Nothing more may be asked: the driver's connection will be another's."""
        self._over = StoreRefused(OVER)
        if self.is_spoilt:
            self.cut()

    async def _ask(
        self, send: Callable[..., Awaitable[object]], *args: object, ends: bool = False
    ) -> None:
        """Wait for the server's answer to one statement. Raises StoreUnavailable or StoreRefused.

        What comes after a lost transaction is refused: a deadlock undoes the fence, too.
        """
        if self._over:
            raise self._over
        if self.asked_at:
            raise StoreRefused(BUSY)
        self.asked_at = time.monotonic()
        try:
            await send(*args)
        except (DriverError, OSError, EOFError) as error:
            raise await self._noted(error) from error
        except BaseException:
            # Cancelled, say: the answer is still to come, and would be the next one's.
            self.cut()
            self._over = StoreUnavailable("the database was not heard to the end")
            raise
        finally:
            self.asked_at = 0.0
        is_open = self.raw.get_transaction_status()
        if self._begun and not is_open and not ends:
            self._over = StoreRefused("the statement has ended the transaction, which no tool may")
            raise self._over
        self._begun = is_open

    async def _noted(self, error: BaseException) -> StoreUnavailable | StoreRefused:
        fault = fault_of(error)
        code, text = _code_and_text(error)
        if isinstance(fault, StoreUnavailable):
            self._over = fault
            if code not in TRY_AGAIN:
                self.cut()
        elif not await self._is_open():
            self._over = StoreUnavailable(f"the database has undone the transaction: {text}")
        return fault

    async def _is_open(self) -> bool:
        """Whether the transaction has outlived an error, which bears no status: a ping does."""
        try:
            await self.raw.ping(reconnect=False)
        except (DriverError, OSError, EOFError):
            self.cut()
            return False
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
