"""An app for tests: on a temporary database, with a scripted model and a frozen clock."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from twelvefold.app.app import App
from twelvefold.app.opening import workflows_by_name
from twelvefold.app.session import Session
from twelvefold.config import Settings
from twelvefold.core import Mail, Model, Row, Workflow, parse_thread_id
from twelvefold.engine.export import export_lines
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.testing.assertions import assert_rows
from twelvefold.testing.clock import FrozenClock
from twelvefold.testing.database import Seed, temporary_database
from twelvefold.testing.model import ScriptedModel, models_for
from twelvefold.worker.outbox import OutboxSender

if TYPE_CHECKING:
    from sqlalchemy import Executable

POLL_S = 0.01


class TestOptions(TypedDict, total=False):
    """The options of `TestApp`."""

    database: str
    seed: Seed
    settings: Settings
    model: Model
    models: Mapping[str, Model]
    clock: FrozenClock
    resources: Mapping[type, object]


class TestApp(App):
    """An `App` on a temporary database, which ends with it.

    `model` has the replies, `clock` the time, `mails` the mails that were delivered. `database` is
    the URL of a MySQL or MariaDB server on which the database is created; without it the database
    is a SQLite file. `seed` are records for the seeds of the workflows, True for their own; without
    it the tables are empty. `settings` are those of the app, except for the database. `model`
    replaces the scripted model. `models` are those of MODELS by name; without them each one that a
    workflow names is the scripted model, too. `resources` replace those of the workflows, by type.

    Example:
        import asyncio

        from twelvefold.testing import TestApp, call
        from examples.shopping import workflow

        async def main() -> None:
            async with TestApp([workflow]) as app:
                app.model.replies(call("add_item", item="milk"), "Done.")
                run = await app.run(workflow, "Milk, please", principal="ann")
                assert run.status == "completed"
                await app.assert_rows("select item from shopping", [{"item": "milk"}])

        asyncio.run(main())
    """

    __test__ = False  # no class of tests

    def __init__(
        self,
        workflows: Sequence[Workflow[Any]],
        *,
        database: str = "",
        seed: Seed = False,
        settings: Settings | None = None,
        model: Model | None = None,
        models: Mapping[str, Model] | None = None,
        clock: FrozenClock | None = None,
        resources: Mapping[type, object] | None = None,
    ) -> None:
        self.model = ScriptedModel()
        self.clock = clock or FrozenClock()
        self._mailer = MemoryMailer()
        self._server = database
        self._seed = seed
        self._base = settings or Settings(workflows=())
        model = model or self.model
        workflows = [*workflows_by_name(workflows).values()]
        named = {**models_for(workflows, model), **(models or {})}
        super().__init__(workflows, model=model, models=named, resources=resources)

    @asynccontextmanager
    async def _open_session(self) -> AsyncIterator[Session]:
        workflows = [*self._workflows.values()]
        async with temporary_database(workflows, server=self._server, seed=self._seed) as url:
            self._settings = replace(self._base, database_url=url)
            async with super()._open_session() as session:
                self.clock.attach(session.services.store)
                yield session

    @property
    def mails(self) -> list[Mail]:
        """The mails that were delivered, oldest first; `deliver_mails` delivers them."""
        return self._mailer.sent

    async def deliver_mails(self) -> list[Mail]:
        """Send the mails that are due, as a worker does, to `mails`; return the new ones."""
        before, stop = len(self.mails), asyncio.Event()
        store = self.session.services.store
        sender = OutboxSender(store, self._mailer, POLL_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(sender.run(stop))
            while await store.due_messages(1):  # noqa: ASYNC110 - the sender sets no event
                await asyncio.sleep(POLL_S)
            stop.set()
        return self.mails[before:]

    async def export(self, conversation: str) -> list[str]:
        """Return the journal of a conversation as lines, which `cassette` replays."""
        record = await self.session.services.store.load(parse_thread_id(conversation))
        return [*export_lines(record.entries)]

    async def fetch_all(self, statement: "str | Executable", /, **values: Any) -> list[Row]:
        """Return all rows of a statement, as `ReadOnly.fetch_all` does."""
        async with self.session.services.store.read() as db:
            return await db.fetch_all(statement, **values)

    async def fetch_one(self, statement: "str | Executable", /, **values: Any) -> Row | None:
        """Return the first row of a statement; None if there is none."""
        async with self.session.services.store.read() as db:
            return await db.fetch_one(statement, **values)

    async def execute(self, statement: "str | Executable", /, **values: Any) -> int:
        """Run a statement in a transaction of its own; return the number of rows it matched."""
        async with self.session.services.store.write() as tx:
            return await tx.execute(statement, **values)

    async def assert_rows(self, statement: str, expected: Sequence[Row], /, **values: Any) -> None:
        """Assert that a statement returns these rows, in this order."""
        assert_rows(await self.fetch_all(statement, **values), expected)
