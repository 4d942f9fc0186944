"""The database of the settings: its schema, and the release recorded in it."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from twelvefold import __version__
from twelvefold.boot.secrets import database_password
from twelvefold.config import Settings
from twelvefold.core import Release, Schema, Store
from twelvefold.errors import SettingsError, StoreFailed, StoreRefused
from twelvefold.services import store as stores
from twelvefold.services.store import migrate as migrations
from twelvefold.services.store import sqlite_path
from twelvefold.services.store.migrations import VERSION_TABLE

if TYPE_CHECKING:
    from twelvefold.services.store.mysql.hosts import HostReport

__all__ = [
    "SCHEMA",
    "SERVES",
    "VERSION_TABLE",
    "check_database",
    "commit",
    "embedded_file",
    "journal_sql",
    "migrate_journal",
    "release_of",
    "report_hosts",
    "schema_problem",
    "this_release",
]
SCHEMA = migrations.HEAD
"""The revision of the journal's tables that this release needs."""
SERVES = migrations.SERVES
"""The oldest revision whose releases may work on a database at `SCHEMA`."""
_PACKAGE = Path(__file__).parents[1]


def embedded_file(settings: Settings) -> Path | None:
    """Return the file of the embedded database, or None if the database is a server."""
    if not settings.database_url.startswith("sqlite"):
        return None
    return Path(sqlite_path(settings.database_url)).absolute()


def database_name(settings: Settings) -> str:
    """Return the name of the database, or of the file of the embedded one."""
    if file := embedded_file(settings):
        return file.stem
    return unquote(urlsplit(settings.database_url).path.strip("/"))


async def check_database(store: Store) -> Schema | None:
    """Return the state of the database's schema.

    Raises SettingsError with all reasons why this release cannot work with the database, and
    StoreUnavailable if the database does not respond.
    """
    try:
        problems, schema = await store.check(), await store.schema()
    except (StoreRefused, StoreFailed) as error:
        raise SettingsError(f"DATABASE_URL: {error}") from error
    if (problem := schema_problem(schema)) is not None:
        problems.append(problem)
    if problems:
        raise SettingsError(*(f"DATABASE_URL: {problem}" for problem in problems))
    return schema


def schema_problem(schema: Schema | None) -> str | None:
    """Return why this release cannot work with the schema and what to do, or None if it can."""
    if schema is not None and schema.fits(SCHEMA):
        return None
    found = f"at {schema.level}" if schema else "missing"
    is_older = not schema or schema.level < SCHEMA
    action = "run `twelvefold migrate`" if is_older else "use the release that migrated it"
    return f"the schema is {found}, this release needs {SCHEMA}; {action}"


async def migrate_journal(settings: Settings) -> list[str]:
    """Apply the missing migrations of the journal and return them.

    Raises StoreUnavailable or StoreRefused.
    """
    return await migrations.migrate(settings.database_url, password=database_password(settings))


async def report_hosts(settings: Settings) -> "list[HostReport]":
    """Return the state of each host of a DATABASE_URL with several hosts; of one host, nothing."""
    return await stores.report_hosts(settings.database_url, database_password(settings))


def journal_sql(settings: Settings, since: str = "base", *, finish: bool = False) -> str:
    """Return SQL for a DBA: the migrations after a revision, and the record of this release.

    `since="base"` means all migrations. `finish`: no older release is deployed. Raises StoreRefused
    if there is no such revision.
    """
    script = migrations.offline_sql(settings.database_url, since=since)
    serves = SCHEMA if finish or since == "base" else SERVES
    return script + migrations.ledger_sql(
        settings.database_url, this_release(settings, serves=serves)
    )


def release_of(settings: Settings) -> str:
    """Return the release id that runs and log lines have."""
    return settings.release_id or __version__


def this_release(settings: Settings, level: str = SCHEMA, serves: str = SERVES) -> Release:
    """Return the record of this release, on its own schema or on a newer one."""
    return Release(release_of(settings), __version__, commit(), level, serves)


def commit() -> str:
    """Return the commit that the package was built from; "" for a working copy."""
    file = _PACKAGE / "COMMIT"
    return file.read_text().strip() if file.exists() else ""
