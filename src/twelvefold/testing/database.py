"""Temporary databases with the tables of workflows: SQLite files, or databases on a server."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twelvefold.admin.migrate import MARK_SEEDED, SEEDED, migrate
from twelvefold.boot import embedded_file, open_services
from twelvefold.config import Settings
from twelvefold.core import Store, Workflow
from twelvefold.engine import Services, retry_unavailable
from twelvefold.errors import SettingsError, StoreFailed, StoreRefused
from twelvefold.services.store import open_store, sqlite_path

PREFIX = "tw_test_"
Workflows = Sequence[Workflow[Any]]
Seed = bool | Sequence[Mapping[str, Any]]
"""True: a workflow's own records; else the records that its seed is given; False: none."""
_TEMPLATES: dict[object, bytes] = {}
"""SQLite files with the tables of workflows, each made once in a process."""


@asynccontextmanager
async def temporary_database(
    workflows: Sequence[Workflow[Any]] = (), *, server: str = "", seed: Seed = False
) -> AsyncIterator[str]:
    """Create a database with the tables of the journal and of the workflows; drop it at the end.

    Yields its URL: a SQLite file, or a database beside that of the URL `server`, whose user may
    create databases. `seed` are records for the seeds of the workflows, True for their own. Raises
    SettingsError, and ValueError for the URL of another database.

    Example:
        import asyncio

        from twelvefold.testing import temporary_database

        async def main() -> None:
            async with temporary_database() as url:
                assert url.startswith("sqlite:///")

        asyncio.run(main())
    """
    opening = _server_database(server) if check_server(server) else _file()
    async with opening as url:
        await fill_database(url, workflows, seed=seed)
        yield url


def check_server(url: object) -> str:
    """Return the URL of a server, "" for SQLite files. Raises ValueError for another URL."""
    scheme = url.partition(":")[0].partition("+")[0] if isinstance(url, str) else None
    if scheme not in ("", "sqlite", "mysql", "mariadb"):
        # Without the rest of the URL, which may have a password.
        shown = type(url).__name__ if scheme is None else f"a URL with {scheme[:20]!r}"
        raise ValueError(
            f"database is {shown}; pass the URL of a MySQL or MariaDB server, or none for SQLite"
        )
    return str(url) if scheme in ("mysql", "mariadb") else ""


async def fill_database(url: str, workflows: Workflows, *, seed: Seed = False) -> None:
    """Create the tables of the journal and of the workflows in an empty database."""
    if not url.startswith("sqlite"):
        await _migrate(url, workflows, seed)
        return
    key = (*((one.name, one.schema, one.seed) for one in workflows), repr(seed))
    if template := _TEMPLATES.get(key):
        _write(url, template)
        return
    await _migrate(url, workflows, seed)
    _TEMPLATES[key] = Path(sqlite_path(url)).read_bytes()  # noqa: ASYNC240 - a small file


def _write(url: str, template: bytes) -> None:
    Path(sqlite_path(url)).write_bytes(template)


async def _migrate(url: str, workflows: Workflows, seed: Seed) -> None:
    settings = Settings(database_url=url, workflows=())
    async with open_services(settings, with_model=False) as opened:
        services: Services = replace(opened, workflows={one.name: one for one in workflows})
        await migrate(settings, services)
        if embedded_file(settings):
            # An app that opens the file then writes no records of its own.
            await services.store.run_script(SEEDED)
            async with services.store.write() as tx:
                for workflow in workflows:
                    await tx.execute(MARK_SEEDED, name=workflow.name)
        if seed:
            await _write_records(services.store, workflows, None if seed is True else seed)


async def _write_records(
    store: Store, workflows: Workflows, records: Sequence[Mapping[str, Any]] | None
) -> None:
    async with store.write() as tx:
        for workflow in workflows:
            if workflow.seed is not None:
                await workflow.seed(tx, records)


@asynccontextmanager
async def _file() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        yield f"sqlite:///{directory}/test.db"


@asynccontextmanager
async def _server_database(server: str) -> AsyncIterator[str]:
    url = await create_database(server)
    try:
        yield url
    finally:
        await asyncio.shield(drop_database(server, url))


async def create_database(server: str) -> str:
    """Create an empty database beside that of the URL and return its URL. Raises SettingsError."""
    name = f"{PREFIX}{secrets.token_hex(6)}"
    try:
        await _execute(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    except (StoreRefused, StoreFailed) as error:
        pattern = PREFIX.replace("_", r"\_")
        raise SettingsError(
            f"DATABASE_URL: tests need temporary databases and the user may not create them: "
            f"{error}; GRANT ALL ON `{pattern}%`.* to the user, or use another one"
        ) from error
    return urlsplit(server)._replace(path=f"/{name}").geturl()


async def drop_database(server: str, url: str) -> None:
    """Drop a database that `create_database` has created."""
    await _execute(server, f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]}")


async def _execute(server: str, statement: str) -> None:
    store: Store = await open_store(server, pool_size=1)
    try:
        await retry_unavailable(lambda: store.run_script(statement))
    finally:
        await store.close()
