"""Changes to asyncmy's private methods. A test fails if a release of asyncmy no longer has one."""

from typing import Any

import asyncmy
import asyncmy.connection
import pytest
from asyncmy.cursors import Cursor
from asyncmy.pool import Pool
from asyncmy.protocol import MysqlPacket

from tests.services.store.mysql.stub_server import StubServer
from twelvefold.services.store.mysql.driver import (
    FULL_PACKET,
    QuietCursor,
    RowPacket,
    abort,
    set_host,
)
from twelvefold.services.store.mysql.url import connect_arguments


@pytest.mark.parametrize(
    ("name", "breaks"),
    [
        ("_query", "a statement above max_allowed_packet is sent, and the connection is lost"),
        ("_show_warnings", "each warning costs a round trip, and logs data of the caller"),
        ("_escape_args", "a long text blocks the event loop"),
    ],
)
def test_the_cursor_has_each_method_that_is_overridden(name: str, breaks: str) -> None:
    assert callable(getattr(Cursor, name, None)), breaks
    assert getattr(QuietCursor, name) is not getattr(Cursor, name), breaks


def test_the_connection_reads_rows_through_methods_that_can_be_replaced() -> None:
    breaks = "rows that begin with 16 MiB or more are lost, and all that follow"

    assert callable(getattr(asyncmy.connection.Connection, "read_packet", None)), breaks
    assert callable(getattr(MysqlPacket, "is_auth_switch_request", None)), breaks


@pytest.mark.mysql
async def test_an_open_connection_has_the_transport_that_is_aborted(mariadb_url: str) -> None:
    raw: Any = await asyncmy.connect(**connect_arguments(mariadb_url))

    # Otherwise a connection over TLS to a server that hangs is closed after 30 s.
    assert callable(getattr(raw._transport, "abort", None))

    abort(raw)
    assert not raw.connected


async def test_a_pool_opens_its_next_connections_to_another_host() -> None:
    async with StubServer() as first, StubServer() as second:
        pool = Pool(0, 2, **connect_arguments(first.url))

        set_host(pool, connect_arguments(second.url))

        # Otherwise a store would stay on a server that takes no writes.
        await pool.acquire()
        assert (first.connected.is_set(), second.connected.is_set()) == (False, True)
        pool.terminate()
        await pool.wait_closed()


def test_a_large_row_is_not_parsed_as_the_end_of_the_rows() -> None:
    end, row = b"\xfe\0\0\2\0\0\0", b"\xfe" + b"\0" * FULL_PACKET

    assert MysqlPacket(row, "utf8").is_auth_switch_request()
    assert not RowPacket(row, "utf8").is_auth_switch_request()
    assert RowPacket(end, "utf8").is_auth_switch_request()
    assert not RowPacket(b"\x01a", "utf8").is_auth_switch_request()


def test_the_transport_is_aborted_before_the_connection_is_closed() -> None:
    calls: list[str] = []

    class Transport:
        def abort(self) -> None:
            calls.append("abort")

    class Raw:
        _transport = Transport()

        def close(self) -> None:
            calls.append("close")

    abort(Raw())

    assert calls == ["abort", "close"]
