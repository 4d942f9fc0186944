"""Migrations of the journal's own tables, by Alembic: an admin command, never implicit.

Alembic and SQLAlchemy take half a second to import, so only this command pays for them.
"""

import io
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twelvefold.core.ports import Release
from twelvefold.errors import StoreRefused, StoreUnavailable, TwelvefoldError
from twelvefold.services.store.migrations import VERSION_TABLE
from twelvefold.services.store.sqlite import sqlite_path

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

HEAD = "0005"
"""The newest revision; a process whose database is before it refuses to work there."""
SERVES = "0003"
"""The oldest revision whose releases can work on a database that is at `HEAD`.

A revision only adds: what the release before it reads stays as it is, so that this one can be
rolled back while its runs are in flight. What nobody reads any more is removed a release later,
and only that raises this.
"""
WAIT_S = 60
"""How long to wait for another process that migrates the same database."""
LOCK_S = 5
"""How long to wait for those that are using a table that is to be changed."""
LOCK = "SELECT GET_LOCK(CONCAT('twelvefold.', LEFT(SHA2(DATABASE(), 256), 32)), :wait_s)"
"""Held until the connection ends. The name of a lock has 64 characters at most."""


async def migrate(url: str, *, revision: str = "head") -> list[str]:
    """Bring the database to a revision, up or down; "base" is before the first.

    Returns the revisions that were applied or undone, in order. Raises StoreUnavailable or
    StoreRefused; to run it again after that is safe.
    """
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    moved = _moved_sqlite if _is_sqlite(url) else _moved_mysql
    try:
        return await moved(url, revision)
    except (CommandError, RevisionError) as error:
        raise StoreRefused(f"the migration failed: {error}") from error
    except DBAPIError as error:
        raise _fault_of(error.orig) from error
    except TwelvefoldError:
        raise
    except Exception as error:
        raise _fault_of(error) from error


async def _moved_sqlite(url: str, revision: str) -> list[str]:
    from sqlalchemy import URL, create_engine
    from sqlalchemy.pool import NullPool

    path = sqlite_path(url)
    if path == ":memory:":
        raise StoreRefused(
            "a database in memory is its own process's: have its store run `offline_sql`"
        )
    engine = create_engine(URL.create("sqlite", database=path), poolclass=NullPool)
    with engine.connect() as connection:
        return _moved(connection, revision)


async def _moved_mysql(url: str, revision: str) -> list[str]:
    import asyncmy
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    from twelvefold.services.store.mysql.url import connect_arguments

    async def connect() -> Any:
        return await asyncmy.connect(**connect_arguments(url))

    engine = create_async_engine("mysql+asyncmy://", async_creator=connect, poolclass=NullPool)
    async with engine.connect() as connection:
        # Whoever waits to change a table keeps everybody else from reading it meanwhile.
        await connection.execute(text(f"SET SESSION lock_wait_timeout = {LOCK_S}"))
        if not await connection.scalar(text(LOCK), {"wait_s": WAIT_S}):
            raise StoreUnavailable(f"another process still migrates after {WAIT_S} s")
        return await connection.run_sync(_moved, revision)


def _fault_of(error: BaseException | None) -> StoreUnavailable | StoreRefused:
    if isinstance(error, sqlite3.Error):
        from twelvefold.services.store.sqlite.connection import fault_of
    else:
        from twelvefold.services.store.mysql.errors import fault_of
    fault = fault_of(error or Exception("no reason was given"))
    return type(fault)(f"the migration failed: {fault}")


def offline_sql(url: str, *, since: str = "base") -> str:
    """The migrations as SQL for a DBA to run, from a revision (or nothing) to the newest.

    Raises StoreRefused if there is no such revision.
    """
    from alembic import command
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    out = io.StringIO()
    config = _config(out)
    config.attributes["dialect"] = "sqlite" if _is_sqlite(url) else "mysql"
    try:
        command.upgrade(config, f"{since}:head", sql=True)
    except (CommandError, RevisionError) as error:
        raise StoreRefused(f"there is no way from revision {since!r}: {error}") from error
    return out.getvalue()


def ledger_sql(url: str, release: Release) -> str:
    """What notes a release in the ledger, for a DBA to run behind its migrations."""
    if _is_sqlite(url):
        from twelvefold.services.store.sqlite.store import WORDS
    else:
        from twelvefold.services.store.mysql.store import WORDS
    texts = (release.id, release.version, release.commit, release.level, release.serves)
    quoted = ", ".join("'" + text.replace("\\", "").replace("'", "''") + "'" for text in texts)
    return (
        "INSERT INTO twelvefold_releases\n"
        f"SELECT COALESCE(MAX(number), 0) + 1, {quoted}, {WORDS['now_us']}\n"
        "  FROM twelvefold_releases;\n"
    )


def _is_sqlite(url: str) -> bool:
    return urlsplit(url).scheme.startswith("sqlite")


def _config(out: Any) -> "Config":
    from alembic.config import Config

    config = Config(stdout=out, output_buffer=out)
    config.set_main_option("script_location", "twelvefold.services.store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _moved(connection: "Connection", revision: str) -> list[str]:
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = _config(io.StringIO())
    script = ScriptDirectory.from_config(config)
    version_table = {"version_table": VERSION_TABLE}
    before = MigrationContext.configure(connection, opts=version_table).get_current_revision()
    connection.rollback()
    if before and before not in {one.revision for one in script.walk_revisions()}:
        raise StoreRefused(
            f"the database is at revision {before}, which this release does not know; "
            "run a newer one"
        )
    behind = _between(script, before, None)
    target = script.as_revision_number(revision)
    config.attributes["connection"] = connection
    if before and (target is None or target in behind[1:]):
        command.downgrade(config, revision)
        moved = _between(script, before, target)
    else:
        command.upgrade(config, revision)
        moved = _between(script, target, before)[::-1]
    connection.commit()
    return moved


def _between(script: "ScriptDirectory", upper: Any, lower: Any) -> list[str]:
    """The revisions from one down to, but not including, another; None is before the first."""
    if upper is None or upper == lower:
        return []
    return [one.revision for one in script.iterate_revisions(upper, lower or "base")]
