"""The gate: entries that an older release cannot read are written only when none is deployed.

`twelvefold migrate --finish` opens it: from then on the ledger of releases says that no older
release may work on the database. It is never closed again.
"""

from collections.abc import Awaitable, Callable

from twelvefold.core import Schema, Workflow
from twelvefold.engine.lease import Clock
from twelvefold.errors import MigrationUnfinished

LEVEL = "0006"
"""The first schema level whose releases read the entries of waits, children and typed output."""
RECHECK_S = 3.0
"""How long a closed gate is not looked at again."""


class Gate:
    """Whether runs may write entries that releases before `LEVEL` cannot read.

    `read_schema` returns the state of the database. An open gate is remembered for ever.
    `was_open`: it is known to be open, without a look at the database.
    """

    def __init__(
        self, read_schema: Callable[[], Awaitable[Schema | None]], monotonic: Clock
    ) -> None:
        self._read_schema = read_schema
        self._monotonic = monotonic
        self.was_open = False
        self._checked_at: float | None = None

    def note(self, schema: Schema | None) -> None:
        """Take the state of the database, which was read for another reason."""
        self.was_open = self.was_open or serves_only_new(schema)

    def follow(self, other: "Gate") -> None:
        """Take what the gate of other services of this process knows of the same database."""
        self.was_open = self.was_open or other.was_open

    async def is_open(self) -> bool:
        """Return whether it is open. Raises StoreUnavailable."""
        now = self._monotonic()
        is_fresh = self._checked_at is not None and now - self._checked_at < RECHECK_S
        if not self.was_open and not is_fresh:
            self.was_open = serves_only_new(await self._read_schema())
            self._checked_at = now
        return self.was_open

    async def if_open(self, value: str) -> str:
        """Return the value, for a field that older releases do not have; "" while it is closed."""
        return value if value and await self.is_open() else ""

    async def check(self, subject: str) -> None:
        """Raise MigrationUnfinished, which names what needs the gate, unless it is open."""
        if not await self.is_open():
            raise MigrationUnfinished(
                f"{subject} needs a database on which no older release works: when the last "
                "process of the older release has ended, run `twelvefold migrate --finish`"
            ).loggable()

    async def check_workflow(self, workflow: Workflow) -> None:
        """Raise MigrationUnfinished if the gate is closed, which runs of the workflow need."""
        await self.check(f"workflow {workflow.name}")


def serves_only_new(schema: Schema | None) -> bool:
    """Return whether the ledger of releases says that no release before `LEVEL` is deployed."""
    return schema is not None and schema.is_recorded and schema.serves >= LEVEL
