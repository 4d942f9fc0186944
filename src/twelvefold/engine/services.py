"""The services and workflows that the engine works with, opened by `boot`."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from twelvefold.core.budget import Limits
from twelvefold.core.ports import Ids, Lease, Model, Store
from twelvefold.core.workflow import Workflow
from twelvefold.engine.lease import Clock, HeldLease, LeaseRenewer, Renewer
from twelvefold.engine.retry import DEFAULT_RETRY_POLICY, ExitLimit, RetryPolicy, retry_unavailable

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Timings:
    """Pauses and time limits inside the engine, in seconds. Tests shorten them.

    `release_s`: how long a process tries to give a run back; then its lease expires.
    `cancel_poll_s`: how often a process checks whether another one has ended a cancelled run.
    `delta_s`: how long text of a reply is collected before it is written; the first piece is
    written at once. `delta_retry_s`: the pause after a piece could not be written.
    `renewals_per_lease` is a count.
    """

    retry: RetryPolicy = DEFAULT_RETRY_POLICY
    release_s: float = 5.0
    cancel_poll_s: float = 0.05
    delta_s: float = 0.05
    delta_retry_s: float = 1.0
    renewals_per_lease: float = 3.0


@dataclass(frozen=True)
class Services:
    """The services of one process. `release` is written into every run that it starts.

    `monotonic` is the clock by which leases are known, in seconds; `renewer` renews them.
    `exit_limit` begins when the process stops.
    """

    store: Store
    model: Model
    workflows: Mapping[str, Workflow]
    ids: Ids
    limits: Limits
    release: str
    monotonic: Clock = time.monotonic
    renewer: Renewer = field(default_factory=LeaseRenewer)
    exit_limit: ExitLimit = field(default_factory=ExitLimit, compare=False)
    timings: Timings = field(default_factory=Timings)

    def hold(self, lease: Lease, sent_at: float) -> HeldLease:
        """Return a lease that a request granted which was sent at `sent_at`, by `monotonic`."""
        return HeldLease(
            self.store,
            lease,
            self.limits.lease_s,
            sent_at,
            self.monotonic,
            renewals=self.timings.renewals_per_lease,
            retry=self._retry_policy,
        )

    async def retry(
        self, work: Callable[[], Awaitable[Result]], timeout_s: float | None = None
    ) -> Result:
        """Retry `work` while the database is unavailable, as `retry_unavailable` does."""
        return await retry_unavailable(work, timeout_s, policy=self._retry_policy)

    @property
    def _retry_policy(self) -> RetryPolicy:
        return replace(self.timings.retry, failing_timeout_s=self.limits.retry_timeout_s)
