"""Errors of real servers for wrong statements and reached limits, and their meaning."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from tests import servers
from tests.builders import asked, said
from tests.services.store.builders import emptied, journal, leased, on_server
from tests.services.store.conftest import _private
from twelvefold.core.ports import Append, Store
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store import open_store

pytestmark = pytest.mark.mysql
TABLES = """
CREATE TABLE shelves (id INT PRIMARY KEY);
CREATE TABLE goods (
  id INT PRIMARY KEY, name VARCHAR(3) NOT NULL, price SMALLINT CHECK (price > 0), day DATE,
  twice INT AS (price * 2) STORED, shelf INT, FOREIGN KEY (shelf) REFERENCES shelves (id)
);
CREATE TABLE parts (id INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10));
CREATE TRIGGER dear BEFORE UPDATE ON goods FOR EACH ROW
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too dear', MYSQL_ERRNO = 30001;
INSERT INTO goods (id, name, price) VALUES (1, 'pen', 1)
"""
OWN = [
    "SELEKT 1",
    "SELECT nothing FROM goods",
    "SELECT * FROM nowhere",
    "SELECT * FROM nowhere.goods",
    "SELECT nothing(1)",
    "SELECT id FROM goods g, goods h",
    "SELECT (SELECT 1, 2)",
    "SELECT (SELECT 1 UNION SELECT 2)",
    "SELECT JSON_EXTRACT('{', '$.a')",
    "SELECT id FROM goods WHERE name REGEXP '('",
    "SELECT 1 UNION SELECT 1, 2",
    "INSERT INTO goods (id, name) VALUES (1, 'pen')",
    "INSERT INTO goods (id, name) VALUES (2, NULL)",
    "INSERT INTO goods (id) VALUES (2)",
    "INSERT INTO goods (id, name) VALUES (2, 'pencil')",
    "INSERT INTO goods (id, name) VALUES ('two', 'pen')",
    "INSERT INTO goods (id, name, price) VALUES (2, 'pen', 0)",
    "INSERT INTO goods (id, name, price) VALUES (2, 'pen', 99999)",
    "INSERT INTO goods (id, name, day) VALUES (2, 'pen', '2026-02-31')",
    "INSERT INTO goods (id, name, twice) VALUES (2, 'pen', 7)",
    "INSERT INTO goods (id, name, shelf) VALUES (2, 'pen', 7)",
    "INSERT INTO goods (id, name) VALUES (2)",
    "INSERT INTO goods (id, id) VALUES (2, 2)",
    "INSERT INTO parts (id) VALUES (10)",
    "UPDATE goods SET name = 'ink'",
    "UPDATE goods SET price = 9223372036854775807 * 2",
    "DELETE FROM goods WHERE id = (SELECT MAX(id) FROM goods) AND nothing = 1",
]
ON_MARIADB_NULL = {"SELECT JSON_EXTRACT('{', '$.a')"}
"""MariaDB warns and returns NULL."""


@pytest.fixture(scope="module", params=["mariadb", pytest.param("mysql9", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database with the tables of these tests."""
    on = servers.mysql9() if request.param == "mysql9" else os.environ["DATABASE_URL"]
    for url in _private(on):
        asyncio.run(on_server(url, *TABLES.strip().split(";\n"), "COMMIT"))
        yield url


@pytest.fixture
async def store(server: str) -> AsyncIterator[Store]:
    store = await open_store(server, pool_size=2)
    await emptied(store)
    yield store
    await store.close()


@pytest.fixture
def user(server: str) -> Iterator[str]:
    """A name for an account, which is dropped also when the test fails.

    It differs each time: several test runs may share the server.
    """
    name = f"user_{secrets.token_hex(6)}"
    yield name
    asyncio.run(on_server(server, f"DROP USER IF EXISTS {name}@'%'"))


@pytest.mark.parametrize("statement", OWN)
async def test_a_wrong_statement_is_the_tool_s_fault_and_the_transaction_continues(
    store: Store, request: pytest.FixtureRequest, statement: str
) -> None:
    lease = await leased(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        if statement in ON_MARIADB_NULL and "mariadb" in request.node.name:
            await tx.fetch_all(statement)
        elif statement.startswith(("SELECT", "SELEKT")):
            with pytest.raises(StoreRefused):
                await tx.fetch_all(statement)
        else:
            with pytest.raises(StoreRefused):
                await tx.execute(statement)
        tx.raise_if_lost()
        await tx.record([said()])

    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_a_missing_privilege_is_not_the_tool_s_fault(
    store: Store, server: str, user: str
) -> None:
    url, database = as_user(server, user), urlsplit(server).path[1:]
    await on_server(
        server,
        f"CREATE USER {user}@'%' IDENTIFIED BY '{user}-Secret-1'",
        *(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.{table} TO {user}@'%'"
            for table in ("threads", "runs", "events")
        ),
    )
    lease, theirs = await leased(store), await open_store(url, pool_size=1)

    with pytest.raises(StoreFailed, match=f"denied to user '{user}'"):
        async with theirs.append(Append(lease, 1, 1)) as tx:
            await tx.fetch_all("SELECT * FROM goods")

    await theirs.close()


async def test_an_account_at_its_connection_limit_is_unavailable(
    store: Store, server: str, user: str
) -> None:
    url, database = as_user(server, user), urlsplit(server).path[1:]
    await on_server(
        server,
        f"CREATE USER {user}@'%' IDENTIFIED BY '{user}-Secret-1' WITH MAX_USER_CONNECTIONS 1",
        f"GRANT ALL ON {database}.* TO {user}@'%'",
    )
    theirs, lease = await open_store(url, pool_size=2), await leased(store)

    async with theirs.read() as db:
        await db.fetch_one("SELECT 1")
        with pytest.raises(StoreUnavailable, match=f"has reached a limit: .*{user}"):
            await theirs.renew(lease, 60.0)
        with pytest.raises(StoreUnavailable, match=f"has reached a limit: .*{user}"):
            async with theirs.append(Append(lease, 1, 1)):
                pass

    await theirs.close()


async def test_a_raised_account_limit_applies_without_a_restart(
    store: Store, server: str, user: str
) -> None:
    url, database = as_user(server, user), urlsplit(server).path[1:]
    await on_server(
        server,
        f"CREATE USER {user}@'%' IDENTIFIED BY '{user}-Secret-1' WITH MAX_UPDATES_PER_HOUR 3",
        f"GRANT ALL ON {database}.* TO {user}@'%'",
    )
    theirs, lease = await open_store(url, pool_size=1), await leased(store)
    for _ in range(3):
        await theirs.renew(lease, 60.0)
    with pytest.raises(StoreUnavailable, match=r"has reached a limit: .*max_updates"):
        await theirs.renew(lease, 60.0)

    # Connections that are open keep the old limit.
    await on_server(server, f"ALTER USER {user}@'%' WITH MAX_UPDATES_PER_HOUR 0")
    await theirs.renew(lease, 60.0)

    await theirs.close()


def as_user(server: str, name: str) -> str:
    parts = urlsplit(server)
    return parts._replace(netloc=f"{name}:{name}-Secret-1@{parts.hostname}:{parts.port}").geturl()
