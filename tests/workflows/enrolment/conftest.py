"""A store with the academy's tables and catalogue, on SQLite and on MySQL."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncmy
import pytest

from twelvefold.core.ports import Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.workflows.enrolment.workflow import workflow

TABLES = (
    *("enrolments", "completed_courses", "students", "meetings", "sections", "prerequisites"),
    *("courses", "departments", "outbox"),
)


@pytest.fixture(scope="session", params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def empty_url(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[str]:
    """Create a migrated database for these tests."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('enrolment')}/academy.db"
        asyncio.run(_create_schema(url))
        yield url
        return
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")
    name = f"enrolment_{secrets.token_hex(6)}"
    asyncio.run(_on_server(server, f"create database {name} character set utf8mb4"))
    try:
        url = urlsplit(server)._replace(path=f"/{name}").geturl()
        asyncio.run(_create_schema(url))
        yield url
    finally:
        asyncio.run(_on_server(server, f"drop database {name}"))


async def _on_server(url: str, statement: str) -> None:
    connection = await asyncmy.connect(**connect_arguments(url))
    async with connection.cursor() as cursor:
        await cursor.execute(statement)
    await connection.ensure_closed()


async def _create_schema(url: str) -> None:
    await migrate(url)
    store = await open_store(url)
    # Twice, as for a second release.
    await store.run_script(workflow.schema)
    await store.run_script(workflow.schema)
    await store.close()


@pytest.fixture
async def empty_store(empty_url: str) -> AsyncIterator[Store]:
    """Return a store with the academy's empty tables."""
    store = await open_store(empty_url, pool_size=25)
    async with store.write() as tx:
        for table in TABLES:
            await tx.execute(f"delete from {table}")
    yield store
    await store.close()


@pytest.fixture
async def store(empty_store: Store) -> Store:
    """Return a store with the built-in catalogue."""
    assert workflow.seed is not None
    async with empty_store.write() as tx:
        await workflow.seed(tx, None)
    return empty_store


@pytest.fixture
def catalogue_file() -> Path:
    """Return a college's real catalogue. It is not part of the repository."""
    beside = Path(__file__).resolve().parents[3].parent / "shared"
    shared = Path(os.environ.get("TWELVEFOLD_SHARED") or beside)
    path = shared / "coursecatalog" / "stolaf-2023.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path}: TWELVEFOLD_SHARED names the folder that has coursecatalog/")
    return path
