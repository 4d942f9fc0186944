"""Temporary databases: schemas on the server of DATABASE_URL, or files for SQLite."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from twelvefold.boot import embedded_file, migrate_journal, open_services, with_password
from twelvefold.config import Settings
from twelvefold.engine import Services, retry_unavailable
from twelvefold.errors import SettingsError, StoreFailed, StoreRefused
from twelvefold.factors.harness import workflow

PREFIX = "tw_factors_"
RETRY_TIMEOUT_S = 60.0
"""The checks keep the server busy, so a statement may need another attempt."""


class TemporaryDatabases:
    """Creates databases; `close` drops them. They remain if the process is killed."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        # The processes of the checks get DATABASE_URL alone.
        settings = with_password(settings)
        self._settings = replace(settings, workflows=(workflow.IMPORT_PATH,))
        self._directory = directory
        self._drops = AsyncExitStack()
        # Alembic keeps the migration context in a module global.
        self._migration_lock = asyncio.Lock()

    @property
    def is_embedded(self) -> bool:
        return embedded_file(self._settings) is not None

    async def create_empty(self) -> str:
        """Create a database without tables and return its URL.

        Raises SettingsError if the user of DATABASE_URL may not create databases.
        """
        name = f"{PREFIX}{secrets.token_hex(6)}"
        if self.is_embedded:
            return f"sqlite:///{self._directory / name}.db"
        try:
            await self._create("DATABASE", name, "CHARACTER SET utf8mb4")
        except (StoreRefused, StoreFailed) as error:
            pattern = PREFIX.replace("_", r"\_")
            raise SettingsError(
                f"DATABASE_URL: the checks need temporary databases and the user may not create "
                f"them: {error}; GRANT ALL ON `{pattern}%`.* to the user, or use another one"
            ) from error
        return urlsplit(self._settings.database_url)._replace(path=f"/{name}").geturl()

    async def create_migrated(self) -> str:
        """Create a database with the tables of the release and of the workflow; return its URL."""
        url = await self.create_empty()
        migrated = replace(self._settings, database_url=url)
        async with self._migration_lock:
            await retry_unavailable(lambda: migrate_journal(migrated), RETRY_TIMEOUT_S)
        async with self.open_services(url) as services:
            schema = workflow.workflow.schema
            await retry_unavailable(lambda: services.store.run_script(schema), RETRY_TIMEOUT_S)
        return url

    @asynccontextmanager
    async def open_services(self, url: str) -> AsyncIterator[Services]:
        """Open the services on one of the databases, without a model."""
        settings = replace(self._settings, database_url=url)
        async with open_services(settings, with_model=False) as services:
            yield services

    async def create_user_without_ddl(self, url: str) -> str:
        """Create a user that may only read and write rows; return the URL with this user."""
        user, password = f"tw_f_{secrets.token_hex(6)}", f"Tw-1{secrets.token_hex(12)}"
        await self._create("USER", f"'{user}'@'%'", f"IDENTIFIED BY '{password}'")
        parts = urlsplit(url)
        database = parts.path.lstrip("/")
        await self._execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO '{user}'@'%'")
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{user}:{quote(password)}@{host}").geturl()

    async def change_password(self, user: str, password: str) -> None:
        """Change the password of a user that these databases have."""
        await self._execute(f"ALTER USER '{user}'@'%' IDENTIFIED BY '{password}'")

    async def close(self) -> None:
        await self._drops.aclose()

    async def _create(self, kind: str, name: str, options: str) -> None:
        """Create an object and register its DROP, even if the CREATE is cancelled midway."""
        may_exist = True
        try:
            await self._execute(f"CREATE {kind} IF NOT EXISTS {name} {options}")
        except (StoreRefused, StoreFailed):
            may_exist = False
            raise
        finally:
            if may_exist:
                self._drops.push_async_callback(self._execute, f"DROP {kind} IF EXISTS {name}")

    async def _execute(self, statement: str) -> None:
        async with self.open_services(self._settings.database_url) as services:
            await retry_unavailable(lambda: services.store.run_script(statement), RETRY_TIMEOUT_S)
