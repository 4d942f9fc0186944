"""The port of waits: what a waiting run waits for, and the events that are sent to runs."""

import hashlib
from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from msgspec import Struct, field

from twelvefold.core.ids import RunId
from twelvefold.core.ports.run_records import RunStatus


class SignalKey(NamedTuple):
    """The name of an event: each workflow and principal has its own keys."""

    workflow: str
    principal: str
    key: str

    @property
    def id(self) -> str:
        """The key of the event's row: a SHA-256, in hex."""
        parts = (part.encode() for part in self)
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        return hashlib.sha256(digests).hexdigest()


class SentSignal(NamedTuple):
    """An event that was sent. `payload` is JSON text, `at_us` the time by the server's clock."""

    payload: str
    sender: str
    at_us: int


class WaitState(Struct, frozen=True):
    """What a waiting run waits for, as the database has it.

    `wakes` counts the run's wake-ups; it was read before everything else. `now_us` is the server's
    time in microseconds since 1970. `signals` are the events that were sent, by id; `runs` the
    status of other runs, and `status` its own.
    """

    wakes: int
    now_us: int
    signals: Mapping[str, SentSignal] = field(default_factory=dict)
    runs: Mapping[RunId, RunStatus] = field(default_factory=dict)
    status: RunStatus = "waiting"


class WaitStore(Protocol):
    """Waits and events. Every method may raise StoreUnavailable (repeat it) or StoreRefused."""

    async def wait_state(
        self, run: RunId, signals: Collection[str] = (), runs: Collection[RunId] = ()
    ) -> WaitState:
        """Return what a run waits for: events by their ids, and other runs. Raises NotFound."""
        ...

    async def count_descendants(self, run: RunId) -> int:
        """Return how many runs this one and the runs below it have started."""
        ...

    async def signal(self, to: SignalKey, payload: str, sender: str) -> bool:
        """Send an event: store it, and wake the runs that wait for it.

        Returns False, without a change, if it was sent before.
        """
        ...
