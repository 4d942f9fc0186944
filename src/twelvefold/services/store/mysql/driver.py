"""What we change of asyncmy 0.2, all in one place: it is no part of the driver's public API.

A test for each says what breaks without it.
"""

from typing import Any

from asyncmy.charset import charset_by_name
from asyncmy.constants import SERVER_STATUS
from asyncmy.cursors import Cursor
from asyncmy.protocol import MysqlPacket

from twelvefold.errors import TooLarge

COMMAND_BYTES = 1
"""What a packet holds before the statement."""
FULL_PACKET = 2**24 - 1
"""What is longer comes in several packets."""
LONG_TEXT = 4_096
"""From how many characters on a text is escaped here."""
TOO_LARGE = (
    "the statement is {} bytes, more than the server accepts; raise max_allowed_packet (now {})"
)


class QuietCursor(Cursor):
    """A cursor that asks for no warnings: a round trip each, and a log line with data in it.

    It refuses what the server would not take: `max_packet` is the session's, 0 if not known. The
    server would close the connection. `is_sending` while bytes may be under way: what fails before
    is wrong on our side.
    """

    max_packet = 0
    is_sending = False

    async def _query(self, statement: str | bytes) -> object:
        data = statement if isinstance(statement, bytes) else self._encoded(statement)
        if 0 < self.max_packet <= len(data) + COMMAND_BYTES:
            raise TooLarge(TOO_LARGE.format(len(data), self.max_packet)).loggable()
        self.is_sending = True
        found = await super()._query(data)  # type: ignore[misc]
        self.is_sending = False
        return found

    def _encoded(self, statement: str) -> bytes:
        charset = charset_by_name(self.connection.character_set_name())
        # The driver writes bytes into the text in this way.
        return statement.encode(charset.encoding, "surrogateescape")

    def _escape_args(self, args: Any, conn: Any) -> object:
        """As the driver does it, but without blocking the event loop for long texts."""
        if not isinstance(args, tuple):
            return super()._escape_args(args, conn)  # type: ignore[misc]
        return tuple(_literal(value, conn) for value in args)

    async def _show_warnings(self, _: object) -> None:
        """The server is in strict mode: what matters is an error."""


def _literal(value: object, conn: Any) -> object:
    """A value as SQL.

    A text with a quote, such as JSON, is translated by the driver character by character: 80 ms for
    4 MB, where this takes 5. Only the backslash and the delimiter have to be escaped.
    """
    has_escapes = not conn.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES
    if type(value) is str and len(value) > LONG_TEXT and has_escapes:
        text = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text}'"
    return conn.literal(value)


class RowPacket(MysqlPacket):
    """A packet that is not taken for the end of the rows because of its first byte.

    FE begins the last packet, and a row whose first value has 16 MiB or more. The driver looks at
    nothing else, and loses the row and all behind it.
    """

    def is_auth_switch_request(self) -> int:
        return int(len(self.get_all_data()) < FULL_PACKET and super().is_auth_switch_request())


def read_big_rows(raw: Any) -> None:
    """Have a connection of the driver read rows as `RowPacket`s."""
    read = raw.read_packet

    def read_packet(kind: type[MysqlPacket] = RowPacket) -> object:
        return read(kind)

    raw.read_packet = read_packet


def cut(raw: Any) -> None:
    """Close a connection of the driver at once, whatever is under way.

    `close()` waits under TLS for the server's close_notify, for 30 s where the server hangs.
    """
    if (transport := getattr(raw, "_transport", None)) is not None:
        transport.abort()
    raw.close()
