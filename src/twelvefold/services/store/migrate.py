"""Migrations of the store's own tables with Alembic. They run only by an admin command.

Alembic and SQLAlchemy take half a second to import, so they are imported here only when used.
"""

import io
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

from twelvefold.core import Release
from twelvefold.errors import StoreRefused, StoreUnavailable, TwelvefoldError
from twelvefold.secret_file import SecretFile
from twelvefold.services.store.migrations import VERSION_TABLE
from twelvefold.services.store.sqlite import sqlite_path

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

HEAD = "0013"
"""The newest revision; a process refuses to work on a database at an older one."""
SERVES = "0003"
"""The oldest revision whose releases can work on a database at `HEAD`.

A revision only adds: it keeps all that the previous release reads, so that a release can be rolled
back while its runs are in progress. A later release removes what no release reads any more; only
that raises this.
"""
LOCK_S = 5
"""How long to wait for transactions that use a table before it is changed."""
LOCK_LOST = "another process has taken over the migration"


async def migrate(
    url: str, *, revision: str = "head", password: SecretFile | None = None
) -> list[str]:
    """Bring the database to a revision, up or down; "base" is before the first.

    `password` is that of a server, instead of the URL's. Returns the revisions that were applied or
    undone, in order. Raises StoreUnavailable or StoreRefused; it is safe to run it again after
    either.
    """
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    try:
        if _is_sqlite(url):
            return _migrate_sqlite(url, revision)
        return await _migrate_mysql(url, revision, password)
    except (CommandError, RevisionError) as error:
        raise StoreRefused(f"the migration failed: {error}") from error
    except DBAPIError as error:
        raise _translate_error(error.orig) from error
    except TwelvefoldError:
        raise
    except Exception as error:
        raise _translate_error(error) from error


def _migrate_sqlite(url: str, revision: str) -> list[str]:
    from sqlalchemy import URL, create_engine
    from sqlalchemy.pool import NullPool

    path = sqlite_path(url)
    if path == ":memory:":
        raise StoreRefused(
            "a database in memory belongs to its process: run the SQL of `offline_sql` in its store"
        )
    engine = create_engine(URL.create("sqlite", database=path), poolclass=NullPool)
    with engine.connect() as connection:
        return _run_revisions(connection, revision)


async def _migrate_mysql(url: str, revision: str, password: SecretFile | None) -> list[str]:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    from twelvefold.services.store.mysql import login
    from twelvefold.services.store.mysql.hosts import find_writable
    from twelvefold.services.store.mysql.migration_lock import RENEW, migration_lock
    from twelvefold.services.store.mysql.url import host_arguments

    arguments = await find_writable(host_arguments(url, password))

    async def connect() -> Any:
        return await login.connect(arguments)

    engine = create_async_engine("mysql+asyncmy://", async_creator=connect, poolclass=NullPool)
    async with engine.connect() as connection:
        if await connection.run_sync(_is_at, revision):
            return []
        # While a change of a table waits, all later reads of the table wait too.
        await connection.execute(text(f"SET SESSION lock_wait_timeout = {LOCK_S}"))
        async with migration_lock(arguments) as token:
            return await connection.run_sync(_run_revisions, revision, RENEW.format(token))


def _translate_error(error: BaseException | None) -> StoreUnavailable | StoreRefused:
    if isinstance(error, sqlite3.Error):
        from twelvefold.services.store.sqlite.errors import translate_error
    else:
        from twelvefold.services.store.mysql.errors import translate_error
    fault = translate_error(error or Exception("no reason was given"))
    return type(fault)(f"the migration failed: {fault}")


def offline_sql(url: str, *, since: str = "base") -> str:
    """Return the migrations after a revision as SQL for a DBA to run; "base" is before the first.

    Raises StoreRefused if the revision does not exist.
    """
    from alembic import command
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    out = io.StringIO()
    config = _make_config(out)
    config.attributes["dialect"] = "sqlite" if _is_sqlite(url) else "mysql"
    try:
        command.upgrade(config, f"{since}:head", sql=True)
    except (CommandError, RevisionError) as error:
        raise StoreRefused(f"cannot migrate from revision {since!r}: {error}") from error
    return out.getvalue()


def ledger_sql(url: str, release: Release) -> str:
    """Return the SQL that records a release, for a DBA to run after its migrations."""
    if _is_sqlite(url):
        from twelvefold.services.store.sqlite import WORDS
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
    return url.startswith("sqlite")


def _make_config(out: Any) -> "Config":
    from alembic.config import Config

    config = Config(stdout=out, output_buffer=out)
    config.set_main_option("script_location", "twelvefold.services.store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _is_at(connection: "Connection", revision: str) -> bool:
    """Return whether there is nothing to do; then no lock and no privilege is needed."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_make_config(io.StringIO()))
    current = _current_revision(connection)
    return current is not None and current == script.as_revision_number(revision)


def _current_revision(connection: "Connection") -> str | None:
    from alembic.runtime.migration import MigrationContext

    version_table = {"version_table": VERSION_TABLE}
    current = MigrationContext.configure(connection, opts=version_table).get_current_revision()
    connection.rollback()
    return current


def _run_revisions(connection: "Connection", revision: str, renew_lock: str = "") -> list[str]:
    """Run the revisions. `renew_lock` is run before each of them, and matches one row."""
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _make_config(io.StringIO())
    script = ScriptDirectory.from_config(config)
    before = _current_revision(connection)
    if before and before not in {one.revision for one in script.walk_revisions()}:
        raise StoreRefused(
            f"the database is at revision {before}, which this release does not know; "
            "run a newer one"
        )
    applied = _list_revisions(script, before, None)
    target = script.as_revision_number(revision)
    config.attributes["connection"] = connection
    config.attributes["before_next"] = partial(_check_lock, connection, renew_lock)
    _check_lock(connection, renew_lock)
    if before and (target is None or target in applied[1:]):
        command.downgrade(config, revision)
        moved = _list_revisions(script, before, target)
    else:
        command.upgrade(config, revision)
        moved = _list_revisions(script, target, before)[::-1]
    connection.commit()
    return moved


def _check_lock(connection: "Connection", renew_lock: str, **_: object) -> None:
    """Commit, so that the next revision begins with the lock. Raises StoreUnavailable."""
    from sqlalchemy import text

    if not renew_lock:
        return
    if connection.execute(text(renew_lock)).rowcount != 1:
        connection.rollback()  # InnoDB keeps the row locked, also where the update matched none
        raise StoreUnavailable(LOCK_LOST)
    connection.commit()


def _list_revisions(script: "ScriptDirectory", upper: Any, lower: Any) -> list[str]:
    """Return the revisions from `upper` down to `lower`, excluded; None is before the first."""
    if upper is None or upper == lower:
        return []
    return [one.revision for one in script.iterate_revisions(upper, lower or "base")]
