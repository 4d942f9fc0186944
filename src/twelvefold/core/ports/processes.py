"""The port of processes: which web processes and workers run, by their heartbeats."""

from typing import Literal, Protocol

from msgspec import Struct

ProcessKind = Literal["web", "worker"]


class Process(Struct, frozen=True):
    """A process that works on the database, as its last heartbeat described it.

    `runs`: how many runs it drives. Times are microseconds since 1970 by the server's clock, 0
    before the process is recorded. `age_s`: seconds since its last heartbeat.
    """

    id: str
    kind: ProcessKind
    release: str
    host: str
    pid: int
    runs: int = 0
    started_at_us: int = 0
    heartbeat_at_us: int = 0
    age_s: float = 0.0


class ProcessStore(Protocol):
    """Heartbeats of processes. Every method may raise StoreUnavailable."""

    async def record_heartbeat(self, process: Process) -> None:
        """Record that a process runs, with its number of runs; the first time with its start."""
        ...

    async def remove_process(self, id: str) -> None:
        """Remove a process that ends, and all that have been silent for a day."""
        ...

    async def processes(self) -> list[Process]:
        """Return the processes of the last day, the last to start first."""
        ...
