"""The app for tests that do not await: the same methods, each run to its end."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from twelvefold.app.requests import Input
from twelvefold.app.run import Run
from twelvefold.core import Mail, Row, Settlement, Workflow
from twelvefold.testing.app import TestApp
from twelvefold.testing.clock import FrozenClock
from twelvefold.testing.model import ScriptedModel

Result = TypeVar("Result")


class SyncTestApp:
    """A `TestApp` without `await`, for plain test functions. It runs in the test's own thread.

    `app` is the `TestApp` that it is made of.

    Example:
        from examples.shopping import workflow
        from twelvefold.testing import SyncTestApp, call

        with SyncTestApp([workflow]) as app:
            app.model.replies(call("add_item", item="milk"), "Done.")
            run = app.run(workflow, "Milk, please", principal="ann")
            assert run.text == "Done."
            app.assert_rows("select item, added_by from shopping",
                            [{"item": "milk", "added_by": "ann"}])
    """

    __test__ = False  # no class of tests

    def __init__(self, workflows: Sequence[Workflow], **options: Any) -> None:
        """The options are those of `TestApp`."""
        self.app = TestApp(workflows, **options)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        try:
            self._wait(self.app.open())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._wait(self.app.close())
        finally:
            self._runner.close()

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
        """The mails that were delivered, oldest first."""
        return self.app.mails

    def run(
        self,
        workflow: str | Workflow,
        input: Input,
        *,
        principal: str = "local",
        conversation: str = "",
        previous: str = "",
        key: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Run[Any]:
        """As `App.run`."""
        return self._wait(
            self.app.run(
                workflow,
                input,
                principal=principal,
                conversation=conversation,
                previous=previous,
                key=key,
                metadata=metadata,
            )
        )

    def start(self, workflow: str | Workflow, input: Input, **options: Any) -> Run[Any]:
        """As `App.start`."""
        return self._wait(self.app.start(workflow, input, **options))

    def get(self, run: str, **options: Any) -> Run[Any]:
        """As `App.get`."""
        return self._wait(self.app.get(run, **options))

    def resume(self, run: str, **options: Any) -> Run[Any]:
        """As `App.resume`."""
        return self._wait(self.app.resume(run, **options))

    def approve(self, run: str, **options: Any) -> Run[Any]:
        """As `App.approve`."""
        return self._wait(self.app.approve(run, **options))

    def settle(self, run: str, outcome: Settlement, **options: Any) -> Run[Any]:
        """As `App.settle`."""
        return self._wait(self.app.settle(run, outcome, **options))

    def cancel(self, run: str, **options: Any) -> Run[Any]:
        """As `App.cancel`."""
        return self._wait(self.app.cancel(run, **options))

    def deliver_mails(self) -> list[Mail]:
        """As `TestApp.deliver_mails`."""
        return self._wait(self.app.deliver_mails())

    def export(self, conversation: str) -> list[str]:
        """As `TestApp.export`."""
        return self._wait(self.app.export(conversation))

    def fetch_all(self, statement: str, /, **values: Any) -> list[Row]:
        """As `TestApp.fetch_all`."""
        return self._wait(self.app.fetch_all(statement, **values))

    def fetch_one(self, statement: str, /, **values: Any) -> Row | None:
        """As `TestApp.fetch_one`."""
        return self._wait(self.app.fetch_one(statement, **values))

    def execute(self, statement: str, /, **values: Any) -> int:
        """As `TestApp.execute`."""
        return self._wait(self.app.execute(statement, **values))

    def assert_rows(self, statement: str, expected: Sequence[Row], /, **values: Any) -> None:
        """As `TestApp.assert_rows`."""
        self._wait(self.app.assert_rows(statement, expected, **values))

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)
