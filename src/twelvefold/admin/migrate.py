"""Migrate a database to this release's schema: the journal's tables, then the workflows' tables.

On a server, `twelvefold migrate` does it. An embedded file is migrated by every command that opens
it.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from twelvefold.admin.threads import add_missing_questions, classify_all
from twelvefold.boot import (
    SCHEMA,
    SERVES,
    check_database,
    embedded_file,
    migrate_journal,
    this_release,
)
from twelvefold.config import Settings
from twelvefold.core import Schema, Store, Workflow
from twelvefold.engine import Services
from twelvefold.errors import SettingsError, StoreRefused
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
LOCK_POLL_S = 0.01
# Only in embedded files, so not a migration.
SEEDED = "CREATE TABLE IF NOT EXISTS twelvefold_seeded (workflow TEXT PRIMARY KEY);\n"
IS_SEEDED = "SELECT workflow FROM twelvefold_seeded WHERE workflow = :name"
MARK_SEEDED = "INSERT INTO twelvefold_seeded (workflow) VALUES (:name)"


async def migrate(settings: Settings, services: Services, *, finish: bool = False) -> list[str]:
    """Apply missing migrations and record this release.

    Returns the revisions and the workflows whose schema ran. If the schema is that of a newer
    release that still serves this one, as after a rollback, no migration is applied. `finish`
    states that no older release works on the database; so does a new database, and a file.
    """
    store = services.store
    before = await store.schema()
    if before and before.level > SCHEMA and before.fits(SCHEMA):
        applied, release = [], this_release(settings, before.level, before.serves)
    else:
        applied = await migrate_journal(settings)
        is_finished = finish or before is None or embedded_file(settings) is not None
        serves = SCHEMA if is_finished else _keep_serves(before)
        release = this_release(settings, serves=serves)
    for revision in applied:
        log.info("schema_migrated", revision=revision)
    if await store.add_release(release):
        log.info("release_put_in_place", version=release.version, commit=release.commit)
    await classify_all(store)
    await add_missing_questions(store)
    with_schema = [one for one in services.workflows.values() if one.schema]
    for workflow in with_schema:
        await _create_tables(services.store, workflow)
    return applied + [f"workflow {one.name}" for one in with_schema]


def _keep_serves(before: Schema | None) -> str:
    """Return the oldest level that the database still serves, which never becomes older."""
    return max(SERVES, before.serves) if before and before.is_recorded else SERVES


async def prepare(settings: Settings, services: Services) -> None:
    """Check the database. Raises SettingsError if this release cannot work with it.

    An embedded file is migrated first, and workflows new to it are seeded with their own records.
    """
    file = embedded_file(settings)
    if file is not None:
        await _prepare_file(settings, services, file)
    services.gate.note(await check_database(services.store))


async def _prepare_file(settings: Settings, services: Services, file: Path) -> None:
    if not file.parent.is_dir():
        raise SettingsError(f"DATABASE_URL: directory {file.parent} does not exist")
    async with _lock_directory(file.parent):
        # Read with the lock held: another process may have been migrating, or have died meanwhile.
        schema = await services.store.schema()
        if schema is not None and schema.level > SCHEMA:
            return
        if schema is None or schema.level < SCHEMA or not schema.is_recorded:
            await migrate(settings, services)
        for workflow in services.workflows.values():
            await _prepare_workflow(services.store, workflow)


async def _prepare_workflow(store: Store, workflow: Workflow) -> None:
    """Create the tables of a workflow and seed them once.

    The records commit together with a mark: the journal's revision does not show whether a workflow
    was seeded.
    """
    await store.run_script(SEEDED)
    await _create_tables(store, workflow)
    name = workflow.name
    async with store.read() as db:
        if workflow.seed is None or await db.fetch_one(IS_SEEDED, name=name):
            return
    async with store.write() as tx:
        await tx.execute(MARK_SEEDED, name=name)
        with _named_errors(workflow, "seed"):
            records = await workflow.seed(tx, None)
    log.info("workflow_seeded", workflow=name, records=records)


async def _create_tables(store: Store, workflow: Workflow) -> None:
    with _named_errors(workflow, "schema"):
        await store.run_script(workflow.schema)


@contextmanager
def _named_errors(workflow: Workflow, part: str) -> Iterator[None]:
    """Add the workflow's name to errors of its SQL."""
    try:
        yield
    except StoreRefused as error:
        raise type(error)(f"workflow {workflow.name}: {part}: {error}") from error


@asynccontextmanager
async def _lock_directory(directory: Path) -> AsyncIterator[None]:
    """Wait until no other process, and no other app of this one, prepares a file in the directory.

    Locks the directory, because opening and closing the file would release SQLite's own locks.
    Source: "How To Corrupt An SQLite Database File", section 2.2.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        while not _try_lock(descriptor):  # noqa: ASYNC110 - another process holds the lock
            await asyncio.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
