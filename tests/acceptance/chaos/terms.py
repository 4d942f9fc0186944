"""The options of an arena: those of the server, the load, settings of the processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.acceptance.chaos.disk import SmallDisk
from tests.acceptance.chaos.plan import Variant
from tests.acceptance.chaos.shared import Cluster, SharedService

LEASE_S = 3.0


@dataclass(frozen=True, slots=True)
class Load:
    """How the runs arrive.

    They are written over `arrival_s`. A reply of the model takes `pace_s`, at least and at most.
    A process drives `max_runs` at once.
    """

    arrival_s: float
    pace_s: tuple[float, float]
    max_runs: int


IN_TURN = Load(27.0, (0.1, 0.6), 24)
"""Runs begin and end during the whole scene."""
AT_ONCE = Load(3.0, (1.0, 4.0), 150)
"""All runs are open during the fault: each takes about 20 s where there is none."""
SHORT = Load(3.0, (0.2, 1.0), 150)
"""As AT_ONCE, but the runs soon reach their end, where they send mail."""

QUEUED = Load(3.0, (0.5, 2.0), 40)
"""More runs than the processes drive, so that the others wait in the queue."""


@dataclass(frozen=True, slots=True)
class Terms:
    """`settings` are those of web and workers; `cluster` is used in place of a MariaDB.

    `broker` wakes the workers.
    """

    load: Load = IN_TURN
    server_options: tuple[str, ...] = ()
    server_settings: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    notes: int = 0
    block_s: float = 0.0
    through_proxies: bool = False
    variant_of: Callable[[int], Variant] = lambda number: "plain"
    disk: SmallDisk | None = None
    cluster: Cluster | None = None
    broker: SharedService | None = None
