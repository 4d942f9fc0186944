"""What the engine is given: the attached services and the workflows, opened by `boot`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from twelvefold.core.budget import Limits
from twelvefold.core.ports import Ids, Lease, Model, Store
from twelvefold.core.workflow import Workflow
from twelvefold.engine.lease import Clock, HeldLease, Renewer
from twelvefold.engine.renewal import LeaseRenewer
from twelvefold.engine.shield import ExitLimit


@dataclass(frozen=True)
class Services:
    """One process's view of the world; `release` is written into every run that it starts.

    `monotonic` is the clock that leases are known by, in seconds. `renewer` keeps them.
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

    def hold(self, lease: Lease, sent_at: float) -> HeldLease:
        """A lease that this process has got on a request that was sent then, by `monotonic`."""
        return HeldLease(self.store, lease, self.limits.lease_s, sent_at, self.monotonic)
