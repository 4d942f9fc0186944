"""Samples of memory, descriptors and database connections of web and the workers."""

import asyncio
import csv
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tests.acceptance.chaos.arena import ACCOUNT, Arena

Quantity = Literal["memory_mib", "descriptors", "connections"]
QUANTITIES: Mapping[Quantity, float] = {"memory_mib": 8.0, "descriptors": 4.0, "connections": 2.0}
"""How much each may grow in the second half and still count as flat, in addition to 5 %."""
INTERVAL_S = 1.0
COMPLETED = "select count(*) from runs where status = 'completed'"
CONNECTIONS = (
    "select host from information_schema.processlist where user = %s and host like '%%:%%'"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of one process. `runs` is how many were completed by then."""

    at_s: float
    runs: int
    process: str
    memory_mib: float
    descriptors: int
    connections: int


async def sample(arena: Arena, into: list[Sample]) -> None:
    """Sample each process each second, until cancelled."""
    began = time.monotonic()
    while True:
        runs = await arena.admin.number(COMPLETED)
        ports = {
            int(row["host"].rpartition(":")[2])
            for row in await arena.admin.rows(CONNECTIONS, ACCOUNT)
        }
        at_s = time.monotonic() - began
        for name, pid in processes(arena).items():
            held = len(ports & _local_ports(pid))
            into.append(Sample(at_s, runs, name, _memory_mib(pid), _descriptors(pid), held))
        await asyncio.sleep(INTERVAL_S)


def processes(arena: Arena) -> dict[str, int]:
    assert arena.web is not None
    return {"web": arena.web.pid, **{one.name: one.process.pid for one in arena.workers}}


def _memory_mib(pid: int) -> float:
    """The resident set. Source: proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _local_ports(pid: int) -> set[int]:
    """The local TCP ports of a process: the server names each connection by one of them."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()))
        except OSError:
            continue  # closed since
    ports = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[9]}]" in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


@dataclass(frozen=True, slots=True)
class Growth:
    """The median of a quantity around the middle of the time, and at its end."""

    process: str
    quantity: Quantity
    middle: float
    end: float

    @property
    def is_flat(self) -> bool:
        return self.end <= self.middle * 1.05 + QUANTITIES[self.quantity]


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Compare the third sixth of each process's samples with the last sixth.

    Use grows while pools and caches fill; from the middle on it must not.
    """
    found = []
    for process in dict.fromkeys(one.process for one in samples):
        own = [one for one in samples if one.process == process]
        sixth = max(1, len(own) // 6)
        for quantity in QUANTITIES:
            values = [float(getattr(one, quantity)) for one in own]
            middle = statistics.median(values[2 * sixth : 3 * sixth] or values)
            found.append(Growth(process, quantity, middle, statistics.median(values[-sixth:])))
    return found


def write_samples(samples: Sequence[Sample], to: Path) -> None:
    with to.open("w", newline="") as file:
        rows = csv.DictWriter(file, list(asdict(samples[0])))
        rows.writeheader()
        rows.writerows(asdict(one) for one in samples)


def read_samples(path: Path) -> list[Sample]:
    with path.open(newline="") as file:
        return [
            Sample(
                float(row["at_s"]),
                int(row["runs"]),
                row["process"],
                float(row["memory_mib"]),
                int(row["descriptors"]),
                int(row["connections"]),
            )
            for row in csv.DictReader(file)
        ]
