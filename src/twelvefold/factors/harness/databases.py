"""Databases for the checks alone: schemas beside that of DATABASE_URL, or files on SQLite.

Each is dropped at the end, however that comes, unless the process is killed.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from twelvefold.boot import embedded_file, migrate_journal, open_services
from twelvefold.config import Settings
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.errors import SettingsError, StoreFailed, StoreRefused
from twelvefold.factors.harness import workflow as clerk

NAME = "tw_factors_"
PATIENCE_S = 15.0
"""A server that is kept busy by the checks may not answer at once."""


class Scratch:
    """Makes databases; `close` drops them."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = replace(settings, workflows=(clerk.IMPORT_PATH,))
        self._directory = directory
        self._drops = AsyncExitStack()
        # Alembic keeps what it works on in a module.
        self._one_migrates = asyncio.Lock()

    @property
    def embedded(self) -> bool:
        return embedded_file(self._settings) is not None

    async def empty(self) -> str:
        """The URL of a new database without a table. Raises SettingsError where none can be had."""
        name = f"{NAME}{secrets.token_hex(6)}"
        if self.embedded:
            return f"sqlite:///{self._directory / name}.db"
        try:
            await self._made("DATABASE", name, "CHARACTER SET utf8mb4")
        except (StoreRefused, StoreFailed) as error:
            grant = f"GRANT ALL ON `{NAME.replace('_', chr(92) + '_')}%`.* to it"
            raise SettingsError(
                f"DATABASE_URL: the checks work in databases of their own, and its user may not "
                f"make them: {error}; {grant}, or name another user"
            ) from error
        return urlsplit(self._settings.database_url)._replace(path=f"/{name}").geturl()

    async def migrated(self) -> str:
        """The URL of a new database that is fit for the release and the clerk."""
        url = await self.empty()
        await self.migrate(url)
        return url

    async def migrate(self, url: str) -> None:
        """Bring a database to the release's schema."""
        async with self._one_migrates:
            await retry_unavailable(lambda: migrate_journal(url), PATIENCE_S)
        async with self.services(url) as services:
            await retry_unavailable(
                lambda: services.store.run_script(clerk.workflow.schema), PATIENCE_S
            )

    @asynccontextmanager
    async def services(self, url: str) -> AsyncIterator[Services]:
        """The services on one of the databases, without a model."""
        settings = replace(self._settings, database_url=url)
        async with open_services(settings, with_model=False) as services:
            yield services

    async def reader_and_writer(self, url: str) -> str:
        """The same database for a new user who may not change its tables."""
        user, password = f"tw_f_{secrets.token_hex(6)}", f"Tw-1{secrets.token_hex(12)}"
        await self._made("USER", f"'{user}'@'%'", f"IDENTIFIED BY '{password}'")
        parts = urlsplit(url)
        database = parts.path.lstrip("/")
        await self._run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO '{user}'@'%'")
        where = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{user}:{quote(password)}@{where}").geturl()

    async def close(self) -> None:
        await self._drops.aclose()

    async def _made(self, kind: str, name: str, how: str) -> None:
        """Make it; it is dropped in the end, even if this is cut off."""
        is_there = True
        try:
            await self._run(f"CREATE {kind} IF NOT EXISTS {name} {how}")
        except (StoreRefused, StoreFailed):
            is_there = False
            raise
        finally:
            if is_there:
                self._drops.push_async_callback(self._run, f"DROP {kind} IF EXISTS {name}")

    async def _run(self, statement: str) -> None:
        async with self.services(self._settings.database_url) as services:
            await retry_unavailable(lambda: services.store.run_script(statement), PATIENCE_S)
