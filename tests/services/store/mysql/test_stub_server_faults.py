"""Errors of the store when a server or the driver fails at any point of a step."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from asyncmy.connection import Connection
from asyncmy.errors import OperationalError
from asyncmy.pool import Pool
from sqlalchemy import text

from tests.builders import said
from tests.services.store.builders import leased, new_thread
from tests.services.store.mysql.stub_server import Session, StubServer, error
from twelvefold.core.ids import LeaseToken, RunId
from twelvefold.core.ports import Append, Lease, Store
from twelvefold.errors import (
    DuplicateRow,
    ServiceFault,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
)
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.mysql import driver
from twelvefold.services.store.mysql.connections import Timeouts
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments

LEASE = Lease(RunId(new_thread(), 1), LeaseToken("t1"))
TOOL = "UPDATE seats SET taken = :taken"
PLACES = {
    "prepare": "SET SESSION time_zone",
    "look": "SHOW VARIABLES",
    "fence": "^UPDATE threads",
    "tool": "^UPDATE seats",
    "insert": "^INSERT INTO events",
    "settle": "^UPDATE runs SET status",
}
COMMIT = {"commit": "^COMMIT$"}


@pytest.fixture
async def server() -> AsyncIterator[StubServer]:
    async with StubServer() as server:
        yield server


@pytest.fixture
async def store(server: StubServer) -> AsyncIterator[Store]:
    store = await open_store(server.url, pool_size=1)
    yield store
    await store.close()


async def step(store: Store, statement: Any = TOOL) -> None:
    async with store.append(Append(LEASE, 1, 1, status="waiting")) as tx:
        await tx.execute(statement, taken=1)
        tx.raise_if_lost()
        await tx.record([said()])


async def fault_of(store: Store, work: Callable[[Store], Any] = step) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        await work(store)
    return caught.value


async def test_a_step_commits_on_the_stub_server(server: StubServer, store: Store) -> None:
    await step(store)

    said_to_it = "\n".join(server.statements)
    for place in PLACES.values():
        assert any(re.search(place, one) for one in server.statements), place
    assert said_to_it.endswith("COMMIT")


@pytest.mark.parametrize(("version", "count"), [("8.0.40-Vitess", 1), ("8.0.40", 0)])
async def test_a_transaction_on_vitess_is_limited_to_one_shard(version: str, count: int) -> None:
    async with StubServer(version) as server:
        store = await open_store(server.url, pool_size=1)
        await step(store)
        await step(store)
        await store.close()

    assert server.statements.count("SET transaction_mode = 'single'") == count


OWN = [(1064, "42000"), (1406, "22001"), (1062, "23000"), (1364, "HY000")]
TRANSIENT = [(1213, "40001"), (1205, "HY000"), (1226, "42000"), (1114, "HY000"), (1053, "08S01")]
LASTING = [(1142, "42000"), (1045, "28000"), (1105, "HY000"), (7777, "HY000")]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("number", "state"), [*OWN, *TRANSIENT, *LASTING])
async def test_an_error_is_the_statement_s_fault_only_in_a_tool_s_statement(
    server: StubServer, store: Store, place: str, number: int, state: str
) -> None:
    server.fails(PLACES[place], lambda *_: error(number, state))

    fault = await fault_of(store)

    if (number, state) in OWN and place == "tool":
        assert type(fault) is (DuplicateRow if number == 1062 else StoreRefused)
    elif (number, state) in TRANSIENT:
        assert type(fault) is StoreUnavailable
    else:
        assert type(fault) is StoreFailed
    server.heal()
    await step(store)


@pytest.mark.parametrize(("number", "state"), [*OWN, *TRANSIENT, *LASTING])
async def test_an_error_at_the_commit_is_the_database_s_fault(
    server: StubServer, store: Store, number: int, state: str
) -> None:
    await step(store)
    server.fails("^COMMIT", lambda *_: error(number, state))

    fault = await fault_of(store)

    assert type(fault) is (StoreUnavailable if (number, state) in TRANSIENT else StoreFailed)
    server.heal()
    await step(store)


@pytest.mark.parametrize(
    ("number", "state", "kind"),
    [
        (1040, "08004", StoreUnavailable),
        (1203, "42000", StoreUnavailable),
        (1226, "42000", StoreUnavailable),
        (1129, "HY000", StoreUnavailable),
        (1045, "28000", StoreFailed),
        (1049, "42000", StoreFailed),
        (1044, "42000", StoreFailed),
    ],
)
async def test_an_error_on_connect_is_the_database_s_fault(
    server: StubServer, store: Store, number: int, state: str, kind: type
) -> None:
    server.refuses_connections(error(number, state))

    for work in (step, lambda one: one.schema(), lambda one: one.renew(LEASE, 1.0)):
        assert type(await fault_of(store, work)) is kind

    server.heal()
    await step(store)


GARBAGE = {
    "it hangs up": None,
    "no packet that there is": b"\xfb",
    "an end that is none": b"\xfe",
    "a cut error": b"\xff",
    "columns that never come": b"\x05",
}


@pytest.mark.parametrize("place", [*PLACES, "commit"])
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_a_malformed_answer_loses_the_connection(
    server: StubServer, place: str, garbage: str
) -> None:
    timeouts = Timeouts(answer_s=0.05, check_interval_s=0.02)
    store = MySQLStore(connect_arguments(server.url), 1, timeouts=timeouts)
    if place == "commit":
        await until_answered(store)
    server.fails(PLACES.get(place, "^COMMIT"), lambda *_: GARBAGE[garbage])

    assert isinstance(await fault_of(store), StoreUnavailable)

    server.heal()
    await until_answered(store)
    await store.close()


async def until_answered(store: Store) -> None:
    """Repeat a step until it succeeds: a busy machine may take longer than `answer_s`."""
    while True:
        with suppress(StoreUnavailable):
            return await step(store)


FOREIGN = [
    RuntimeError("Transport does not expose socket instance"),
    AttributeError("'NoneType' object has no attribute 'write'"),
    struct.error("unpack requires a buffer of 2 bytes"),
    IndexError("index out of range"),
    AssertionError("Protocol error, expecting EOF"),
    ConnectionResetError("reset"),
    EOFError(),
]


def fail_in(broken: pytest.MonkeyPatch, pattern: str, fault: Exception) -> None:
    """Make the driver fail while a statement that matches is sent."""
    query: Any = Connection.query

    async def failing(self: Connection, packet: bytes) -> object:
        if any(re.search(pattern, one) for one in packet.decode().split("\n;")):
            raise fault
        return await query(self, packet)

    broken.setattr(Connection, "query", failing)


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("place", ["fence", "tool", "insert", "settle", "commit"])
async def test_any_error_of_the_driver_in_a_statement_loses_the_connection(
    store: Store, place: str, foreign: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        fail_in(broken, (PLACES | COMMIT)[place], foreign)
        fault = await fault_of(store)

    assert type(fault) is StoreUnavailable
    assert fault.__cause__ is foreign
    await step(store)


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    ("kind", "name"),
    [(Pool, "_acquire"), (Connection, "connect"), (Connection, "query")],
    ids=lambda one: str(getattr(one, "__name__", one)),
)
async def test_any_error_of_the_driver_outside_statements_is_a_lost_connection(
    store: Store, kind: type, name: str, foreign: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> object:
        raise foreign

    with monkeypatch.context() as broken:
        broken.setattr(kind, name, failing)
        for work in (step, lambda one: one.renew(LEASE, 1.0)):
            assert type(await fault_of(store, work)) is StoreUnavailable

    await step(store)


async def test_a_failed_rollback_does_not_hide_the_first_error(
    server: StubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in(monkeypatch, "^ROLLBACK$", RuntimeError("the driver stumbles"))
    server.fails(PLACES["tool"], lambda *_: error(1064, "42000"))

    assert type(await fault_of(store)) is StoreRefused


async def test_a_failed_ping_loses_the_transaction(
    server: StubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object, **__: object) -> None:
        raise RuntimeError("the driver stumbles")

    monkeypatch.setattr(Connection, "ping", failing)
    server.fails(PLACES["tool"], lambda *_: error(1064, "42000"))

    async def swallowing(store: Store) -> None:
        async with store.append(Append(LEASE, 1, 1)) as tx:
            with suppress(StoreRefused):
                await tx.execute(TOOL, taken=1)
            tx.raise_if_lost()

    assert type(await fault_of(store, swallowing)) is StoreUnavailable


@pytest.mark.mysql
@pytest.mark.parametrize("statement", [TOOL, text(TOOL)], ids=["text", "sqlalchemy"])
async def test_an_error_before_a_statement_is_sent_is_the_statement_s_fault(
    mariadb: Store, statement: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> object:
        raise TypeError("not all arguments converted")

    async with mariadb.append(Append(await leased(mariadb), 1, 1)) as tx:
        await tx.execute(statement, taken=1)
        with monkeypatch.context() as broken:
            broken.setattr(driver, "_to_literal", failing)
            with pytest.raises(StoreRefused, match="make no SQL: not all arguments"):
                await tx.execute(statement, taken=1)
        tx.raise_if_lost()
        await tx.record([said()])


async def test_text_that_the_charset_lacks_is_the_statement_s_fault(
    server: StubServer,
) -> None:
    store = await open_store(f"{server.url}?charset=latin1", pool_size=1)

    async with store.append(Append(LEASE, 1, 0)) as tx:
        with pytest.raises(StoreRefused, match="make no SQL"):
            await tx.execute("UPDATE seats SET taken = :name", name="\N{SNOWMAN}")
        tx.raise_if_lost()
    await store.close()


@pytest.mark.mysql
@pytest.mark.parametrize("kind", ["core", "session"])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (OperationalError(1142, "denied"), StoreFailed),
        (OperationalError(1213, "deadlock"), StoreUnavailable),
        (RuntimeError("Transport does not expose socket instance"), StoreUnavailable),
    ],
    ids=lambda one: str(one),
)
async def test_sqlalchemy_passes_on_errors_of_the_database(
    mariadb: Store, kind: str, fault: Exception, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await leased(mariadb)

    async def work(store: Store) -> None:
        async with store.append(Append(lease, 1, 1)) as tx:
            session = await tx.orm_session()
            with monkeypatch.context() as broken, suppress(StoreUnavailable):
                fail_in(broken, PLACES["tool"], fault)
                if kind == "core":
                    await tx.execute(text(TOOL), taken=1)
                else:
                    await session.execute(text(TOOL), {"taken": 1})
            tx.raise_if_lost()

    assert type(await fault_of(mariadb, work)) is expected


async def test_an_error_in_sqlalchemy_s_first_queries_is_never_the_tool_s_fault(
    server: StubServer, store: Store
) -> None:
    # The stub gives no rows, so that SQLAlchemy cannot tell what it is.
    assert type(await fault_of(store, lambda one: step(one, text(TOOL)))) is StoreFailed
    server.fails("^SELECT", lambda *_: error(1064, "42000"))
    assert type(await fault_of(store, lambda one: step(one, text(TOOL)))) is StoreFailed
    server.heal()
    server.fails("^SELECT", lambda *_: error(1213, "40001"))
    assert type(await fault_of(store, lambda one: step(one, text(TOOL)))) is StoreUnavailable


async def test_a_server_without_a_known_limit_gets_any_statement(
    server: StubServer, store: Store
) -> None:
    server.fails(PLACES["look"], lambda session, _: session.ok("COMMIT"))

    await step(store)


async def test_a_server_with_unreadable_variables_cannot_be_used(
    server: StubServer, store: Store
) -> None:
    def else_where(session: Session, _: str) -> bytes:
        session.rows(["nonsense"], [("max_allowed_packet",)])
        return b""

    server.fails(PLACES["look"], else_where)

    fault = await fault_of(store)

    assert type(fault) is StoreFailed
    assert "cannot be used: KeyError('Variable_name')" in str(fault)
    server.heal()
    await step(store)


async def test_the_error_of_a_too_large_packet_names_the_setting(
    server: StubServer, store: Store
) -> None:
    for place in ("tool", "insert"):
        server.fails(PLACES[place], lambda *_: error(1153, "08S01", "Got a packet bigger"))
        fault = await fault_of(store)
        assert type(fault) is TooLarge
        assert "raise max_allowed_packet" in str(fault)
        server.heal()


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda one: type(one).__name__)
async def test_errors_of_the_driver_in_a_migration_are_the_store_s(
    server: StubServer, foreign: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_: object) -> None:
        raise foreign

    monkeypatch.setattr(Connection, "connect", failing)

    with pytest.raises(StoreUnavailable, match="the migration failed"):
        await migrate(server.url)


async def test_a_store_closes_if_the_server_is_silent(
    server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(server.url, pool_size=2)
    await step(store)
    heard = asyncio.Event()

    def silent(*_: object) -> bytes:
        heard.set()
        return b""

    server.fails(PLACES["tool"], silent)
    hanging = asyncio.create_task(fault_of(store))
    await heard.wait()

    # No answer ever comes, so that it ends by itself or not at all.
    await store.close()

    assert isinstance(await hanging, StoreUnavailable)


async def test_a_store_closes_while_a_connection_is_made(server: StubServer) -> None:
    server.refuses_connections(b"")  # nor are they let in
    store = await open_store(server.url, pool_size=1)
    waiting = asyncio.create_task(step(store))
    await server.connected.wait()

    await store.close()

    assert not waiting.done()
    waiting.cancel()


async def test_a_store_closes_if_the_driver_fails(
    server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_: object) -> None:
        raise RuntimeError("the driver stumbles")

    store = await open_store(server.url, pool_size=1)
    await step(store)
    monkeypatch.setattr(Pool, "wait_closed", failing)

    await store.close()

    with pytest.raises(StoreRefused, match="the store is closed"):
        await step(store)
