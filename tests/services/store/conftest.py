"""Stores on every database, for the tests of the port."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from tests import servers
from tests.certificates import Certificates, make_certificates
from tests.services.store.builders import SCHEMA, emptied, made, on_server
from tests.services.store.mysql.server_reads import Reads, freeze_statistics
from tests.simulation.store import SimulatedStore, simulated
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import offline_sql

MEMORY = "sqlite://"

SIMULATED = "sqlite+simulated://"
BACKENDS = [
    "sqlite",
    "memory",
    "simulated",
    pytest.param("mariadb", marks=pytest.mark.mysql),
    pytest.param("mysql9", marks=[pytest.mark.mysql, pytest.mark.slow]),
]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session", params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database for these tests; `store` migrates the one in memory."""
    match request.param:
        case "memory":
            yield MEMORY
        case "simulated":
            yield SIMULATED
        case "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('store')}/journal.db"
            asyncio.run(made(url))
            yield url
        case "mariadb":
            yield request.getfixturevalue("mariadb_url")
        case _:
            yield from _private(servers.mysql9())


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """A migrated database on the server of DATABASE_URL."""
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL; run `make test`, which starts one and sets it")
    yield from _private(server)


def _private(server: str) -> Iterator[str]:
    name = f"store_{secrets.token_hex(6)}"
    asyncio.run(on_server(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    try:
        url = urlsplit(server)._replace(path=f"/{name}").geturl()
        asyncio.run(made(url))
        yield url
    finally:
        asyncio.run(on_server(server, f"DROP DATABASE {name}"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A store with an empty journal and empty tables of a workflow."""
    if url == SIMULATED:
        empty = simulated(SCHEMA)
        await empty.run_script("DELETE FROM twelvefold_releases;")
        yield empty
        return
    store = await open_store(url, pool_size=25)
    if url == MEMORY:
        await store.run_script(offline_sql(MEMORY) + SCHEMA)
    else:
        await emptied(store)
    yield store
    await store.close()


@pytest.fixture
async def rival(url: str, store: Store) -> AsyncIterator[Store]:
    """The store of another process on the same database; in memory it is `store` itself."""
    if url == MEMORY:
        yield store
        return
    if isinstance(store, SimulatedStore):
        yield store.another()
        return
    rival = await open_store(url, pool_size=25)
    yield rival
    await rival.close()


@pytest.fixture
async def mariadb(mariadb_url: str) -> AsyncIterator[Store]:
    """A store on MariaDB, for deadlocks, lost connections and servers that stop."""
    store = await open_store(mariadb_url)
    await emptied(store)
    yield store
    await store.close()


@pytest.fixture(params=[False, True], ids=["statistics-of-empty-tables", "current-statistics"])
async def reads(
    mariadb: Store, mariadb_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[Reads]:
    """Counts what the database of `mariadb` reads for another store."""
    await freeze_statistics(mariadb)
    store = await open_store(mariadb_url)
    yield Reads(store, request.param)
    await store.close()
