"""What we change of the driver: each test fails when a release of it has none of that any more."""

import asyncmy.connection
from asyncmy.cursors import Cursor
from asyncmy.protocol import MysqlPacket

from twelvefold.services.store.mysql.driver import FULL_PACKET, QuietCursor, RowPacket, abort


def test_the_driver_has_what_is_overridden() -> None:
    # Without them statements are sent unchecked, warnings are logged, long texts block the event
    # loop, and big rows are lost.
    for name in ("_query", "_show_warnings", "_escape_args"):
        assert callable(getattr(Cursor, name))
        assert getattr(QuietCursor, name) is not getattr(Cursor, name)
    assert callable(asyncmy.connection.Connection.read_packet)
    assert callable(MysqlPacket.is_auth_switch_request)


def test_a_row_is_not_taken_for_the_end_of_the_rows() -> None:
    end, row = b"\xfe\0\0\2\0\0\0", b"\xfe" + b"\0" * FULL_PACKET

    assert MysqlPacket(row, "utf8").is_auth_switch_request()
    assert not RowPacket(row, "utf8").is_auth_switch_request()
    assert RowPacket(end, "utf8").is_auth_switch_request()
    assert not RowPacket(b"\x01a", "utf8").is_auth_switch_request()


def test_a_connection_is_cut_without_a_goodbye() -> None:
    done: list[str] = []

    class Transport:
        def abort(self) -> None:
            done.append("abort")

    class Raw:
        _transport = Transport()

        def close(self) -> None:
            done.append("close")

    abort(Raw())

    assert done == ["abort", "close"]
