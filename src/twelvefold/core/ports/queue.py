"""The port of the queue: which runs wait, and for which workflow."""

from collections.abc import Collection, Mapping
from typing import Protocol

from twelvefold.core.ports.run_records import WaitingWork


class QueueStore(Protocol):
    """Queued runs and runs whose lease expired. Every method may raise StoreUnavailable."""

    async def queued_runs(
        self, *, workflows: Collection[str], limit: int, principal: str | None = None
    ) -> int:
        """Return how many runs of these workflows are queued; counts at most `limit`.

        `principal`: count only the runs of this one.
        """
        ...

    async def waiting_work(
        self,
        *,
        workflows: Collection[str],
        limit: int,
        after: str = "",
        without_keys: Collection[str] = (),
    ) -> WaitingWork:
        """Return runs of these workflows that any process may claim, and whether mail is due.

        Queued runs are those of the principals after `after`, at most `limit`, without those of
        the API keys `without_keys`. Runs whose lease
        expired are those of every principal, the first to expire, at most as many as one process
        may leave behind. One statement.
        """
        ...

    async def unserved_runs(self, *, workflows: Collection[str]) -> Mapping[str, int]:
        """Return the number of queued runs of each other workflow."""
        ...
