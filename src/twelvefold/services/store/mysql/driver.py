"""Changes to asyncmy that are not part of its public API, all in this module.

`pyproject.toml` bounds the version; `tests/services/store/mysql/test_driver.py` lists what breaks
without each change.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from asyncmy.charset import charset_by_name
from asyncmy.constants import SERVER_STATUS
from asyncmy.cursors import Cursor
from asyncmy.pool import Pool
from asyncmy.protocol import MysqlPacket

from twelvefold.errors import StoreRefused, TooLarge
from twelvefold.services.store.connection import DriverResult

OnResult = Callable[[DriverResult, bool], None]
"""Called with each result of a packet, and whether a transaction is open after it."""
JOINED_BYTES = 1024 * 1024
"""The largest packet of several statements: copying more costs more than a round trip."""
SEPARATOR = b"\n;"
"""Ends a statement also behind a `-- comment` or `# comment`."""
COMMAND_BYTES = 1
"""The bytes of a packet before the statement."""
FULL_PACKET = 2**24 - 1
"""A longer payload comes in several packets."""
LONG_TEXT = 4_096
"""Characters from which on a text is escaped here instead of by the driver."""
TOO_LARGE = (
    "the statement is {} bytes, more than the server accepts; raise max_allowed_packet (now {})"
)


class QuietCursor(Cursor):
    """A cursor that does not fetch warnings: each costs a round trip and logs data.

    It runs one statement for many rows; all others go without a cursor. Raises TooLarge as
    `encode_statement` does. `is_sending` is set while bytes may be in flight: an error before that
    is in the statement or its values.
    """

    max_packet = 0
    is_sending = False

    async def _query(self, statement: str | bytes) -> object:
        data = statement if isinstance(statement, bytes) else _encode(self.connection, statement)
        _check_size(data, self.max_packet)
        self.is_sending = True
        result = await super()._query(data)  # type: ignore[misc]
        self.is_sending = False
        return result

    def _escape_args(self, args: Any, conn: Any) -> object:
        """Escape values as the driver does, without blocking the event loop for long texts."""
        if not isinstance(args, tuple):
            return super()._escape_args(args, conn)  # type: ignore[misc]
        return tuple(_to_literal(value, conn) for value in args)

    async def _show_warnings(self, _: object) -> None:
        """Do nothing: in strict mode the server raises errors instead."""


def encode_statement(raw: Any, statement: str, values: Sequence[Any], max_packet: int) -> bytes:
    """Return a statement with its values as it is sent.

    Raises TooLarge for `max_packet` bytes or more (the session's limit, 0 if it is not known),
    because the server would close the connection.
    """
    data = _encode(raw, statement % tuple([_to_literal(value, raw) for value in values]))
    _check_size(data, max_packet)
    return data


def no_sql(error: Exception) -> StoreRefused:
    """Return the error of a statement that its values do not fit."""
    return StoreRefused(f"the statement and its values make no SQL: {error}")


def _encode(raw: Any, statement: str) -> bytes:
    # The driver puts bytes into the text with `surrogateescape`.
    return statement.encode(_encoding(raw.character_set_name()), "surrogateescape")


@lru_cache(maxsize=8)
def _encoding(charset: str) -> str:
    return str(charset_by_name(charset).encoding)


def _check_size(data: bytes, max_packet: int) -> None:
    if 0 < max_packet <= len(data) + COMMAND_BYTES:
        raise TooLarge(TOO_LARGE.format(len(data), max_packet)).loggable()


def _to_literal(value: object, conn: Any) -> object:
    """Return a value as SQL.

    The driver translates a text with a quote, such as JSON, character by character: 80 ms for 4 MB,
    where this takes 5 ms. Only the backslash and the delimiter need to be escaped.
    """
    if type(value) is int:
        return value
    has_escapes = not conn.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES
    if type(value) is str and len(value) > LONG_TEXT and has_escapes:
        text = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text}'"
    return conn.literal(value)


def group_parts(parts: Sequence[bytes], max_packet: int) -> list[list[bytes]]:
    """Return the statements in groups that fit into one packet each, in order."""
    limit = min(JOINED_BYTES, max_packet - COMMAND_BYTES - 1) if max_packet else JOINED_BYTES
    groups: list[list[bytes]] = [[]]
    size = 0
    for part in parts:
        size += len(part) + len(SEPARATOR)
        if groups[-1] and size > limit:
            groups.append([])
            size = len(part) + len(SEPARATOR)
        groups[-1].append(part)
    return groups


async def send_packet(raw: Any, packet: bytes, receive: OnResult) -> None:
    """Send statements joined by SEPARATOR and read all results. The first error ends the packet."""
    await raw.query(packet)
    _receive(raw, receive)
    while raw._result.has_next:
        await raw.next_result()
        _receive(raw, receive)
    raw._result = None


def _receive(raw: Any, receive: OnResult) -> None:
    result = raw._result
    # The driver ignores a status of 0: no transaction, and autocommit off.
    raw.server_status = result.server_status
    rows = DriverResult(
        result.rows or (), result.description, result.affected_rows, result.insert_id
    )
    receive(rows, raw.get_transaction_status())


async def send_many(
    cursor: Any, statement: str, rows: Sequence[tuple[Any, ...]], receive: OnResult
) -> None:
    """Run a statement once for each row of values; several rows may be one statement.

    Raises StoreRefused for a statement that was not sent.
    """
    try:
        await cursor.executemany(statement, rows)
    except TooLarge:
        raise
    except Exception as error:
        if cursor.is_sending:
            raise
        raise no_sql(error) from error
    result = DriverResult(
        await cursor.fetchall(), cursor.description, cursor.rowcount, cursor.lastrowid
    )
    receive(result, cursor.connection.get_transaction_status())


class RowPacket(MysqlPacket):
    """A packet whose first byte alone does not mark it as the end of the rows.

    The byte FE begins the last packet, but also a row whose first value has 16 MiB or more. The
    driver checks nothing else, and loses that row and all that follow.
    """

    def is_auth_switch_request(self) -> int:
        return int(len(self.get_all_data()) < FULL_PACKET and super().is_auth_switch_request())


def read_big_rows(raw: Any) -> None:
    """Make a connection of the driver read rows as `RowPacket`s."""
    read = raw.read_packet

    def read_packet(kind: type[MysqlPacket] = RowPacket) -> object:
        return read(kind)

    raw.read_packet = read_packet


def set_host(pool: Pool, host: Mapping[str, Any]) -> None:
    """Make a pool open its next connections with these arguments."""
    pool._conn_kwargs.update(host)  # type: ignore[attr-defined] # not in its stub


def abort(raw: Any) -> None:
    """Close a connection of the driver at once, also while a statement runs.

    Under TLS `close()` alone waits for the server's close_notify, for 30 s if the server hangs.
    """
    if (transport := getattr(raw, "_transport", None)) is not None:
        transport.abort()
    raw.close()
