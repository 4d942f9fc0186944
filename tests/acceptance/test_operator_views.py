"""Each statement of `/v1/admin` reads an index, on MariaDB and MySQL 9.

`tests.acceptance.million` measures the same views with a million runs.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests import servers
from tests.acceptance.million.fill import OPERATOR, fill
from tests.acceptance.million.measure import admin_views
from tests.services.store.builders import on_server
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.store import SQLStore
from twelvefold.web.app import create_app
from twelvefold.web.process import open_web

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(900)]
THREADS = 20_000
SMALL = {"api_keys", "b", "budgets", "processes", "k", "t", None}
"""Tables that have few rows, and aliases of such tables (`b` is budgets) and of derived ones."""
Statements = list[tuple[str, Mapping[str, Any]]]


@pytest.fixture(scope="module", params=["mariadb", "mysql9"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = servers.mysql9() if request.param == "mysql9" else os.environ["DATABASE_URL"]
    name = f"views_{secrets.token_hex(6)}"
    asyncio.run(on_server(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    try:
        asyncio.run(fill(url, THREADS))
        yield url
    finally:
        asyncio.run(on_server(server, f"DROP DATABASE {name}"))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The statements that were sent, with their values."""
    sent: Statements = []
    fetch = Connection.fetch

    async def recording(self: Connection, statement: str, values: Any, **others: Any) -> Any:
        if statement.startswith(("SELECT", "WITH")):  # no statement about the session
            sent.append((statement, values))
        return await fetch(self, statement, values, **others)

    monkeypatch.setattr(Connection, "fetch", recording)
    return sent


@pytest.fixture
async def client(url: str) -> AsyncIterator[tuple[httpx2.AsyncClient, SQLStore]]:
    settings = Settings(database_url=url)
    async with (
        open_services(settings, with_model=False) as services,
        open_web(services, settings) as web,
    ):
        transport = httpx2.ASGITransport(create_app(web), client=("127.0.0.1", 1))
        headers, url = {"authorization": f"Bearer {OPERATOR}"}, "http://local"
        async with httpx2.AsyncClient(transport=transport, headers=headers, base_url=url) as http:
            assert isinstance(services.store, SQLStore)
            yield http, services.store


async def explain(store: SQLStore, statement: str, values: Mapping[str, Any]) -> list[str]:
    """Return the tables that a statement reads without an index."""
    async with store._read_connection() as db:
        [version] = await db.fetch("SELECT VERSION() AS version", {})
        # MariaDB has no name for its table of a plan, MySQL 9 prints a tree without one.
        form = "" if "MariaDB" in version["version"] else "FORMAT=TRADITIONAL"
        rows = await db.fetch(f"EXPLAIN {form} {statement}", values)
    plans = [(row["table"], row["type"], row["key"], row["Extra"]) for row in rows]
    return [
        str(plan)
        for plan in plans
        if plan[1] == "ALL" and plan[0] not in SMALL and not plan[0].startswith("<")
    ]


async def test_each_view_reads_an_index(
    client: tuple[httpx2.AsyncClient, SQLStore], statements: Statements
) -> None:
    http, store = client
    scans: dict[str, list[str]] = {}
    viewed = 0
    async for name, path in admin_views(http):
        statements.clear()
        answer = await http.get(path)
        assert answer.status_code == 200, (path, answer.text)
        viewed += 1
        for statement, values in list(statements):
            if found := await explain(store, statement, values):
                scans[f"{name}: {statement[:80]}"] = found

    assert scans == {}
    assert viewed > 20
