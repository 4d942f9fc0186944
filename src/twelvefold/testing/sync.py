"""The app for tests that do not await."""

from collections.abc import Sequence
from typing import Any, Unpack

from twelvefold.app.sync import SyncApp
from twelvefold.core import Mail, Row, Workflow
from twelvefold.testing.app import TestApp, TestOptions
from twelvefold.testing.clock import FrozenClock
from twelvefold.testing.model import ScriptedModel


class SyncTestApp(SyncApp):
    """A `TestApp` without `await`, for plain test functions: a `SyncApp` on a temporary database.

    The options are those of `TestApp`; `app` is the `TestApp` that it is made of.

    Example:
        from examples.shopping import workflow
        from twelvefold.testing import SyncTestApp, call

        with SyncTestApp([workflow]) as app:
            app.model.replies(call("add_item", item="milk"), "Done.")
            run = app.run(workflow, "Milk, please", principal="ann")
            assert run.text == "Done."
            app.assert_rows(
                "select item, added_by from shopping", [{"item": "milk", "added_by": "ann"}]
            )
    """

    __test__ = False  # no class of tests

    def __init__(self, workflows: Sequence[Workflow[Any]], **options: Unpack[TestOptions]) -> None:
        super().__init__(workflows)
        self.app = TestApp(workflows, **options)
        self._make_app = lambda: self.app

    @property
    def model(self) -> ScriptedModel:
        """The scripted model."""
        return self.app.model

    @property
    def clock(self) -> FrozenClock:
        """The clock, which stands still."""
        return self.app.clock

    @property
    def mails(self) -> list[Mail]:
        """The mails that were delivered, oldest first; `deliver_mails` delivers them."""
        return self.app.mails

    def deliver_mails(self) -> list[Mail]:
        """Send the mails that are due, as `TestApp.deliver_mails` does."""
        return self._call(lambda _: self.app.deliver_mails())

    def export(self, conversation: str) -> list[str]:
        """Return the journal of a conversation, as `TestApp.export` does."""
        return self._call(lambda _: self.app.export(conversation))

    def fetch_all(self, statement: str, /, **values: Any) -> list[Row]:
        """Return all rows of a statement."""
        return self._call(lambda _: self.app.fetch_all(statement, **values))

    def fetch_one(self, statement: str, /, **values: Any) -> Row | None:
        """Return the first row of a statement; None if there is none."""
        return self._call(lambda _: self.app.fetch_one(statement, **values))

    def execute(self, statement: str, /, **values: Any) -> int:
        """Run a statement in a transaction of its own; return the number of rows it matched."""
        return self._call(lambda _: self.app.execute(statement, **values))

    def assert_rows(self, statement: str, expected: Sequence[Row], /, **values: Any) -> None:
        """Assert that a statement returns these rows, in this order."""
        self._call(lambda _: self.app.assert_rows(statement, expected, **values))
