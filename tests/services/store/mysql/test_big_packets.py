"""Rows and statements of 16 MiB and more, which the protocol splits, and those above the limit."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from tests import servers
from tests.builders import asked, said
from tests.servers import PrivateMariaDB
from tests.services.store.builders import append, emptied, journal, leased, made, on_server
from twelvefold.core.ports import Append, Store
from twelvefold.errors import TooLarge
from twelvefold.services.store import open_store

pytestmark = pytest.mark.mysql
MIB = 1024 * 1024
SIZES = [16 * MIB - 1, 16 * MIB, 16 * MIB + 64 * 1024, 32 * MIB]
ROOM = 256 * MIB
INSERT = "INSERT INTO notes (id, body, raw) VALUES (:id, :body, :raw)"
COLUMNS = ["raw, id, body", "id, raw, body", "id, body, raw"]


@pytest.fixture(scope="module", params=["mariadb", pytest.param("mysql9", marks=pytest.mark.slow)])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A migrated database on a server whose settings a test may change."""
    if request.param == "mysql9":
        url, name = servers.mysql9(), f"big_{secrets.token_hex(6)}"
        asyncio.run(on_server(url, f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
        own = urlsplit(url)._replace(path=f"/{name}").geturl()
        asyncio.run(made(own))
        yield own
        asyncio.run(on_server(url, "SET GLOBAL max_allowed_packet = DEFAULT"))
        asyncio.run(on_server(url, f"DROP DATABASE {name}"))
        return
    with PrivateMariaDB(tmp_path_factory.mktemp("big")) as private:
        asyncio.run(made(private.url))
        yield private.url


async def with_room(server: str, size: int) -> Store:
    """A store whose connections may send this many bytes."""
    await on_server(server, f"SET GLOBAL max_allowed_packet = {size}")
    store = await open_store(server, pool_size=2)
    await emptied(store)
    return store


@pytest.fixture
async def store(server: str) -> AsyncIterator[Store]:
    store = await with_room(server, ROOM)
    yield store
    await emptied(store)
    await store.close()


def raw(size: int) -> bytes:
    """Bytes that show where they were cut."""
    return b"0123456789abcdef" * (size // 16) + b"x" * (size % 16)


@pytest.mark.parametrize("size", SIZES)
async def test_a_row_is_read_as_written_wherever_its_large_value_is(
    store: Store, size: int
) -> None:
    value = raw(size)
    async with store.write() as tx:
        for number in (1, 2, 3):
            big = value if number == 2 else b"small"
            assert await tx.execute(INSERT, id=number, body="b", raw=big) == 1
    expected = [
        {"id": 1, "body": "b", "raw": b"small"},
        {"id": 2, "body": "b", "raw": value},
        {"id": 3, "body": "b", "raw": b"small"},
    ]

    async with store.read() as db:
        for columns in COLUMNS:
            select = f"SELECT {columns} FROM notes ORDER BY id"
            assert await db.fetch_all(select) == expected
        assert await db.fetch_all(text(f"SELECT {COLUMNS[0]} FROM notes ORDER BY id")) == expected
        # Whoever lost its place would read what is left of the rows.
        assert await db.fetch_all("SELECT 7 AS seven") == [{"seven": 7}]
        db.raise_if_lost()


async def test_every_row_may_be_large(store: Store) -> None:
    value = raw(16 * MIB + 5)
    async with store.write() as tx:
        session = await tx.orm_session()
        await session.execute(text(INSERT), [{"id": n, "body": None, "raw": value} for n in (1, 2)])
        await session.commit()
        rows = (await session.execute(text("SELECT raw, id FROM notes ORDER BY id"))).all()

    assert [row.id for row in rows] == [1, 2]
    assert {row.raw for row in rows} == {value}


async def test_an_entry_of_the_journal_may_be_large(store: Store) -> None:
    lease, entry = await leased(store), said("x" * (17 * MIB))

    await append(store, lease, 1, entry)

    assert await journal(store, lease.run.thread) == [asked(), entry]


async def test_a_statement_above_the_limit_is_refused_before_it_is_sent(server: str) -> None:
    store = await with_room(server, 2 * MIB)
    lease, value = await leased(store), raw(2 * MIB)
    rows = [{"id": 1, "body": None, "raw": b""}, {"id": 2, "body": None, "raw": value}]

    async with store.append(Append(lease, 1, 1)) as tx:
        for statement in (INSERT, text(INSERT)):
            with pytest.raises(TooLarge, match=r"is 2\d{6} bytes, more .*packet \(now 2097152\)"):
                await tx.execute(statement, id=1, body="b", raw=value)
        session = await tx.orm_session()
        with pytest.raises(TooLarge):
            await session.execute(text(INSERT), rows)
        tx.raise_if_lost()
        await tx.record([said()])

    assert await journal(store, lease.run.thread) == [asked(), said()]
    await store.close()


async def test_the_limit_is_exact_to_the_byte(server: str) -> None:
    store = await with_room(server, 1 * MIB)
    head, tail = "SELECT LENGTH('", "') AS n"
    most = MIB - 2 - len(head + tail)

    async with store.read() as db:
        assert await db.fetch_one(f"{head}{'x' * most}{tail}") == {"n": most}
        with pytest.raises(TooLarge):
            await db.fetch_one(f"{head}{'x' * (most + 1)}{tail}")
        assert await db.fetch_one("SELECT 7 AS seven") == {"seven": 7}
    await store.close()


async def test_an_entry_that_exceeds_the_limit_leaves_the_run_as_it_was(server: str) -> None:
    store = await with_room(server, 1 * MIB)
    lease = await leased(store)

    with pytest.raises(TooLarge, match="raise max_allowed_packet"):
        await append(store, lease, 1, said("x" * MIB))

    assert await journal(store, lease.run.thread) == [asked()]
    await append(store, lease, 1, said())
    await store.close()


async def test_a_raised_packet_limit_applies_without_a_restart(server: str) -> None:
    store = await with_room(server, 1 * MIB)
    lease, entry = await leased(store), said("x" * MIB)
    with pytest.raises(TooLarge):
        await append(store, lease, 1, entry)

    await on_server(server, f"SET GLOBAL max_allowed_packet = {4 * MIB}")
    await append(store, lease, 1, entry)

    assert await journal(store, lease.run.thread) == [asked(), entry]
    await store.close()


async def test_a_result_above_the_limit_is_too_large(server: str) -> None:
    store = await with_room(server, 1 * MIB)

    with pytest.raises(TooLarge, match="max_allowed_packet"):
        async with store.write() as tx:
            # In strict mode a write fails where a read gets NULL and a warning.
            await tx.execute("INSERT INTO notes (id, body) VALUES (1, REPEAT('x', :n))", n=2 * MIB)
    await store.close()
