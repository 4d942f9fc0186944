"""Bring a database to this release's schema: the journal's migrations, then the workflows' tables.

On a server this is a command of its own. The embedded file belongs to whoever runs `chat` or
`run`, so those bring it up to date themselves.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twelvefold.admin.classify import classify_all
from twelvefold.boot import (
    SCHEMA,
    check_database,
    embedded_file,
    migrate_journal,
    this_release,
)
from twelvefold.config import Settings
from twelvefold.core.ports import Store
from twelvefold.core.workflow import Workflow
from twelvefold.engine.services import Services
from twelvefold.errors import SettingsError, StoreRefused
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
# In embedded files alone, so it is no migration of the journal's.
SEEDED = "CREATE TABLE IF NOT EXISTS twelvefold_seeded (workflow TEXT PRIMARY KEY);\n"
IS_SEEDED = "SELECT workflow FROM twelvefold_seeded WHERE workflow = :name"
NOTE_SEEDED = "INSERT INTO twelvefold_seeded (workflow) VALUES (:name)"


async def migrate(settings: Settings, services: Services) -> list[str]:
    """Apply what is missing, and write down that this release is in place.

    Returns the journal's revisions and the workflows whose schema ran. On a schema of a newer
    release that serves this one too, as after a roll back, there is nothing to apply.
    """
    store = services.store
    newer = await store.schema()
    if newer is None or newer.level <= SCHEMA or not newer.fits(SCHEMA):
        newer = None
    applied = [] if newer else await migrate_journal(settings.database_url)
    for revision in applied:
        log.info("schema_migrated", revision=revision)
    if await store.add_release(release := this_release(settings, newer)):
        log.info("release_put_in_place", version=release.version, commit=release.commit)
    await classify_all(store)
    with_schema = [one for one in services.workflows.values() if one.schema]
    for workflow in with_schema:
        await _make_tables(services.store, workflow)
    return applied + [f"workflow {one.name}" for one in with_schema]


async def prepare(settings: Settings, services: Services) -> None:
    """Make sure of a database that this release can work on. Raises SettingsError if it is none.

    An embedded file is brought up to date; each workflow that is new to it gets its own records.
    """
    file = embedded_file(settings)
    if file is not None:
        await _prepare_file(settings, services, file)
    await check_database(services.store)


async def _prepare_file(settings: Settings, services: Services, file: Path) -> None:
    if not file.parent.is_dir():
        raise SettingsError(f"DATABASE_URL: there is no directory {file.parent}")
    with _alone_in(file.parent):
        # Only now: another process may be at it, or may have died half-way.
        schema = await services.store.schema()
        if schema is None or schema.level < SCHEMA:
            await migrate(settings, services)
        elif schema.level > SCHEMA:
            return
        for workflow in services.workflows.values():
            await _prepare_workflow(services.store, workflow)


async def _prepare_workflow(store: Store, workflow: Workflow) -> None:
    """Its tables, and once its own records, which commit together with the note that they did.

    The journal's version would not tell: it is there before the records, and other workflows
    come later.
    """
    await store.run_script(SEEDED)
    await _make_tables(store, workflow)
    name = workflow.name
    async with store.read() as db:
        if workflow.seed is None or await db.fetch_one(IS_SEEDED, name=name):
            return
    async with store.write() as tx:
        await tx.execute(NOTE_SEEDED, name=name)
        with _said_of(workflow, "seed"):
            records = await workflow.seed(tx, None)
    log.info("workflow_seeded", workflow=name, records=records)


async def _make_tables(store: Store, workflow: Workflow) -> None:
    with _said_of(workflow, "schema"):
        await store.run_script(workflow.schema)


@contextmanager
def _said_of(workflow: Workflow, part: str) -> Iterator[None]:
    """A refusal of the workflow's own SQL names the workflow, of which there may be many."""
    try:
        yield
    except StoreRefused as error:
        raise type(error)(f"workflow {workflow.name}: its {part}: {error}") from error


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Wait until no other process prepares a file there.

    The lock is on the directory: to open and close the file itself would end SQLite's own locks.
    Source: "How To Corrupt An SQLite Database File", section 2.2.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
