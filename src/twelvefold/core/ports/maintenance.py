"""The port of maintenance: the schema, releases, retention and checks of the database."""

from dataclasses import dataclass, field
from typing import Protocol

from twelvefold.core.ports.usage import FindPrice, no_price


@dataclass(frozen=True, slots=True)
class Schema:
    """The state of a database's schema: `level` names the last migration that was applied.

    Releases from the level `serves` on can work on it. `is_recorded`: the ledger has a release of
    this level; without one `serves` is the level.
    """

    level: str
    serves: str
    is_recorded: bool = field(default=True, compare=False)

    def fits(self, level: str) -> bool:
        """Return whether a release made for this level can work with the schema."""
        return self.serves <= level <= self.level


@dataclass(frozen=True, slots=True)
class Release:
    """A deployed release; `serves` is the oldest schema level that it was deployed beside.

    `commit` is "" if it is not known. `at_us` is microseconds since 1970 by the server's clock, 0
    before the release is written.
    """

    id: str
    version: str
    commit: str
    level: str
    serves: str
    at_us: int = 0


class MaintenanceStore(Protocol):
    """Tasks of operators and deployments. Every method may raise StoreUnavailable."""

    async def prune(self, *, before_us: int, price: FindPrice = no_price) -> int:
        """Delete threads whose last run and entry are older, and hidden threads of any age.

        Returns how many threads it deleted. A thread stays while a run of it is not over, a fork of
        it exists, a process holds one of its runs, or mail of it waits. Deletes idempotency keys
        after a day, events after 30 days unless a run waits for them, and mail without a thread a
        day after it was sent or died. Deletes what was spent of budgets in periods that are older.
        Makes claimable those runs of earlier releases that have a cancel request and wait for a
        person. Runs are added to the sums of usage first, with these prices.
        """
        ...

    async def schema(self) -> Schema | None:
        """Return the state of the schema; None before the first migration."""
        ...

    async def add_release(self, release: Release) -> bool:
        """Record a release unless it is the last one recorded; return whether it is new."""
        ...

    async def releases(self, *, limit: int) -> list[Release]:
        """Return the recorded releases, newest first."""
        ...

    async def check(self) -> list[str]:
        """Return what makes the database unfit for the journal, each with the value to set."""
        ...

    async def run_script(self, script: str) -> None:
        """Run the statements of a script one by one, outside any transaction; `;` ends each."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
