"""The port of the figures of a whole deployment: how many runs and messages there are."""

from collections.abc import Collection
from typing import Literal, Protocol

from msgspec import Struct

LiveStatus = Literal["queued", "running", "waiting"]
OutboxState = Literal["due", "deferred", "dead"]


class RunCount(Struct, frozen=True):
    """The runs of a workflow that have a status.

    `age_s`: how long the oldest queued run has waited since it was last queued; 0 without one.
    """

    workflow: str
    status: LiveStatus
    runs: int
    age_s: float = 0.0


class OutboxCount(Struct, frozen=True):
    """The messages in a state: "due" now, "deferred" after a failed attempt, or "dead".

    `age_s`: for how long the oldest of them has been due or dead; 0 without one.
    """

    state: OutboxState
    messages: int
    age_s: float = 0.0


class PoolCount(Struct, frozen=True):
    """The connections of one pool of this process: in use, idle, and the most that it may have."""

    pool: str
    in_use: int
    idle: int
    limit: int


class StatisticsStore(Protocol):
    """Counts rows through indexes, each up to a limit, which may raise StoreUnavailable.

    Also counts the connections of this process.
    """

    def pool_counts(self) -> list[PoolCount]:
        """Return the pools of connections; none for an embedded database."""
        ...

    async def run_counts(self, *, workflows: Collection[str], limit: int) -> list[RunCount]:
        """Return the runs that are not over, by workflow and status, also where there are none."""
        ...

    async def outbox_counts(self, *, limit: int) -> list[OutboxCount]:
        """Return the messages that were not sent, by state."""
        ...
