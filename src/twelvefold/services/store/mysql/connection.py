"""A connection of asyncmy for the length of one transaction, and its errors as the store's."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable, TooLarge
from twelvefold.services.store.connection import (
    NO_ANSWER,
    TRANSACTION_LOST,
    TRANSACTION_OVER,
    Connection,
    Deferred,
    DriverResult,
    Reply,
)
from twelvefold.services.store.mysql.driver import (
    SEPARATOR,
    OnResult,
    abort,
    encode_statement,
    group_parts,
    no_sql,
    send_many,
    send_packet,
)
from twelvefold.services.store.mysql.errors import (
    ACCOUNT_LIMIT,
    READ_ONLY_TRANSACTION,
    is_read_only,
    keeps_connection,
    parse_error,
    translate_error,
)
from twelvefold.services.store.sql_text import Dialect, to_positional

ENDED = "the statement has ended the transaction; a tool must not commit or roll back"
COMMIT = b"COMMIT"
ROLLBACK = b"ROLLBACK"
READ_ONLY = b"START TRANSACTION READ ONLY"


class MySQLConnection(Connection):
    """A connection of asyncmy for the length of one transaction.

    `sent_at`: when the running packet was sent, by the monotonic clock; 0 if none runs. A
    connection that `is_tainted` is closed instead of reused. `may_write` is False for a tool that
    reads: each of its statements is a READ ONLY transaction. `is_on_replica`: the server has
    rejected a write as read-only. `max_packet` is the session's limit, 0 if it is not known,
    `recovery_s` that of StoreUnavailable once the connection is lost.
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

    async def execute_many_native(
        self, statement: str, values: Sequence[Sequence[Any]]
    ) -> DriverResult:
        self.raise_if_lost()
        # The driver makes one statement of all rows, or several.
        await self._send_first(len(self._deferred))
        self._has_sent = True
        cursor = self.raw.cursor()
        cursor.max_packet = self._max_packet
        rows = [tuple(row) for row in values]
        reply = await self._exchange(partial(send_many, cursor, statement, rows))
        if reply.fault:
            raise reply.fault
        return reply.results[0]

    async def run(self, statement: str) -> None:
        """Run a statement without parameters, which may end the transaction, and commit."""
        self._has_sent = True
        reply = await self._exchange(partial(send_packet, self.raw, statement.encode()), (False,))
        if reply.fault:
            raise reply.fault
        await self.commit()

    async def rollback(self) -> None:
        """Roll back, or close the connection if that fails, so that the server rolls back."""
        self._deferred = ()
        if not self.raw.connected or not self._has_sent:
            return
        if self._is_running or (await self._exchange_parts([ROLLBACK])).fault:
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

    @property
    def _is_running(self) -> bool:
        return self.sent_at > 0

    def _bind(self, statement: str, values: Mapping[str, Any]) -> bytes:
        text, order_values = to_positional(statement)
        try:
            ordered = order_values(values)
        except KeyError as missing:
            raise StoreRefused(
                f"the statement has :{missing.args[0]}, which was not given"
            ) from None
        return self._bind_native(text, ordered)

    def _bind_native(self, statement: str, values: Sequence[Any]) -> bytes:
        try:
            return encode_statement(self.raw, statement, values, self._max_packet)
        except TooLarge:
            # An operator who raises the limit raises it for new connections.
            self.is_tainted = True
            raise
        except Exception as error:
            raise no_sql(error) from error

    async def _run(self, part: bytes, *, commits: bool = False) -> DriverResult:
        if self.may_write:
            return await super()._run(part, commits=commits)
        self.raise_if_lost()
        self._deferred = (Deferred(READ_ONLY),)
        return await super()._run(part, commits=True)

    async def _send(self, parts: Sequence[bytes], *, commits: bool = False) -> Reply:
        results: list[DriverResult] = []
        for packet in group_parts([*parts, COMMIT] if commits else parts, self._max_packet):
            reply = await self._exchange_parts(packet)
            results += reply.results
            if reply.fault:
                return Reply(results, reply.fault)
        return Reply(results)

    async def _exchange_parts(self, parts: Sequence[bytes]) -> Reply:
        """Send one packet with these parts."""
        stays_open = [part not in (COMMIT, ROLLBACK) for part in parts]
        packet = SEPARATOR.join(parts)
        return await self._exchange(partial(send_packet, self.raw, packet), stays_open)

    async def _exchange(
        self, send: Callable[[OnResult], Awaitable[object]], stays_open: Sequence[bool] = (True,)
    ) -> Reply:
        """Wait for the server's answer to one packet.

        After the transaction is lost every statement is refused: a deadlock rolls the fence back
        too. `stays_open`: whether the transaction must be open after each statement.
        """
        results: list[DriverResult] = []
        ended: list[StoreRefused] = []

        def receive(result: DriverResult, is_open: bool) -> None:
            if self._in_transaction and not is_open and stays_open[len(results)]:
                ended.append(StoreRefused(ENDED))
            self._in_transaction = is_open
            if not ended:
                results.append(result)

        self.sent_at = time.monotonic()
        try:
            await send(receive)
        except StoreRefused as refused:
            # Nothing was sent.
            self.is_tainted |= isinstance(refused, TooLarge)
            raise
        except Exception as error:
            fault = await self._record_error(error)
            fault.__cause__ = error
            return Reply(results, fault)
        except BaseException:
            # For example cancelled: the answer would be read as that of the next statement.
            self.abort()
            self._end = StoreFailed(NO_ANSWER).loggable()
            raise
        finally:
            self.sent_at = 0.0
        if ended:
            self._end = ended[0]
            return Reply(results, ended[0])
        return Reply(results)

    async def _record_error(self, error: Exception) -> StoreUnavailable | StoreRefused:
        """Return the error as the store's, and note whether the transaction is lost with it."""
        fault, (code, text) = translate_error(error, self._server()), parse_error(error)
        if code == ACCOUNT_LIMIT:
            # An operator who raises the limit raises it for new connections.
            self.is_tainted = True
        if not self.may_write and code == READ_ONLY_TRANSACTION:
            fault = StoreRefused(str(fault)).loggable(fault.logged)
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
