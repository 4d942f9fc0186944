"""Changes to asyncmy that are not part of its public API, all in this module.

`pyproject.toml` bounds the version; `tests/services/store/mysql/test_driver.py` lists what breaks
without each change.
"""

from collections.abc import Mapping
from typing import Any

from asyncmy.charset import charset_by_name
from asyncmy.constants import SERVER_STATUS
from asyncmy.cursors import Cursor
from asyncmy.pool import Pool
from asyncmy.protocol import MysqlPacket

from twelvefold.errors import TooLarge

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

    Raises TooLarge for a statement of `max_packet` bytes or more (the session's limit, 0 if it is
    not known), because the server would close the connection. `is_sending` is set while bytes may
    be in flight: an error before that is in the statement or its values.
    """

    max_packet = 0
    is_sending = False

    async def _query(self, statement: str | bytes) -> object:
        data = statement if isinstance(statement, bytes) else self._encode(statement)
        if 0 < self.max_packet <= len(data) + COMMAND_BYTES:
            raise TooLarge(TOO_LARGE.format(len(data), self.max_packet)).loggable()
        self.is_sending = True
        result = await super()._query(data)  # type: ignore[misc]
        self.is_sending = False
        return result

    def _encode(self, statement: str) -> bytes:
        charset = charset_by_name(self.connection.character_set_name())
        # The driver puts bytes into the text with `surrogateescape`.
        return statement.encode(charset.encoding, "surrogateescape")

    def _escape_args(self, args: Any, conn: Any) -> object:
        """Escape values as the driver does, without blocking the event loop for long texts."""
        if not isinstance(args, tuple):
            return super()._escape_args(args, conn)  # type: ignore[misc]
        return tuple(_to_literal(value, conn) for value in args)

    async def _show_warnings(self, _: object) -> None:
        """Do nothing: in strict mode the server raises errors instead."""


def _to_literal(value: object, conn: Any) -> object:
    """Return a value as SQL.

    The driver translates a text with a quote, such as JSON, character by character: 80 ms for 4 MB,
    where this takes 5 ms. Only the backslash and the delimiter need to be escaped.
    """
    has_escapes = not conn.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES
    if type(value) is str and len(value) > LONG_TEXT and has_escapes:
        text = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text}'"
    return conn.literal(value)


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
